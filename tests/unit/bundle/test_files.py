import errno
import os
import socket
from pathlib import Path

import pytest

from airgap.bundle.files import (
    FileStream,
    Folder,
    FoundFile,
    closing_file,
    make_folder,
    media_errors,
    write_all,
    write_file,
    write_stream,
)
from airgap.durable import sync_folder
from airgap.errors import (
    MediaError,
    MissingContentError,
    NoSpaceError,
    SizeMismatchError,
    UnlistedContentError,
)


def failing(number: int):
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def failing_close(monkeypatch, number: int = errno.EIO) -> list[int]:
    """Closes, and says that it went wrong; the descriptors that were closed."""
    closed: list[int] = []
    real = os.close

    def close(fd: int) -> None:
        real(fd)
        closed.append(fd)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "close", close)
    return closed


def synced(monkeypatch) -> list[Path]:
    """What fsync was asked for, in order."""
    found: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda fd: found.append(Path(f"/proc/self/fd/{fd}").readlink()))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "bundle"
    (path / "a" / "b").mkdir(parents=True)
    (path / "top").write_bytes(b"top")
    (path / "a" / "one").write_bytes(b"1")
    (path / "a" / "b" / "two").write_bytes(b"22")
    return path


FOLDERS = ("a", "a/b")


class TestMediaErrors:
    @pytest.mark.parametrize(
        ("number", "error", "hint"),
        [
            (errno.ENOSPC, NoSpaceError, "free some space"),
            (errno.EDQUOT, NoSpaceError, "free some space"),
            (errno.EFBIG, NoSpaceError, "the file system or `ulimit -f` limits the file size"),
            (errno.EIO, MediaError, ""),
            (errno.EROFS, MediaError, ""),
        ],
    )
    def test_kinds(self, number, error, hint):
        with pytest.raises(error) as caught, media_errors("cannot write", "x"):
            failing(number)()
        assert str(caught.value) == f"cannot write: x, got {os.strerror(number)}"
        assert (caught.value.hint or "").startswith(hint)
        assert isinstance(caught.value.__cause__, OSError)

    def test_an_error_without_a_number(self):
        with pytest.raises(MediaError, match="got odd"), media_errors("cannot write", "x"):
            raise OSError("odd")

    def test_others_pass(self):
        with pytest.raises(ZeroDivisionError), media_errors("cannot write", "x"):
            raise ZeroDivisionError


class TestWriting:
    def test_whole(self, tmp_path):
        path = tmp_path / "new" / "file"
        write_file(path, b"data", mode=0o600)
        assert path.read_bytes() == b"data"
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(path.parent.iterdir()) == [path]

    def test_replaces(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"longer than before")
        (tmp_path / "file.part").write_bytes(b"left over")
        write_file(path, b"data")
        assert path.read_bytes() == b"data"
        assert list(tmp_path.iterdir()) == [path]

    def test_the_same_is_left_alone(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"data")
        before = path.stat()
        write_file(path, b"data")
        assert path.stat().st_ino == before.st_ino

    def test_a_link_is_replaced_not_followed(self, tmp_path):
        path, other = tmp_path / "file", tmp_path / "other"
        other.write_bytes(b"data")
        path.symlink_to(other)
        write_file(path, b"data")
        assert not path.is_symlink()
        (tmp_path / "next.part").symlink_to(other)
        write_file(tmp_path / "next", b"new")
        assert other.read_bytes() == b"data"

    def test_a_failed_write_leaves_the_old(self, tmp_path, monkeypatch):
        path = tmp_path / "file"
        path.write_bytes(b"old")
        monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
        with pytest.raises(NoSpaceError, match="cannot write"):
            write_file(path, b"new")
        assert path.read_bytes() == b"old"

    @pytest.mark.parametrize(
        "write", [write_file, lambda path, data: write_stream(path, [data])], ids=["file", "stream"]
    )
    def test_a_write_that_fails_when_it_is_closed(self, tmp_path, monkeypatch, write):
        path = tmp_path / "file"
        path.write_bytes(b"old")
        with monkeypatch.context() as patch:
            failing_close(patch, errno.ENOSPC)
            with pytest.raises(NoSpaceError, match=f"cannot write: {path}"):
                write(path, b"new")
        assert path.read_bytes() == b"old"
        write(path, b"new")
        assert [each.name for each in tmp_path.iterdir()] == ["file"]
        assert path.read_bytes() == b"new"

    def test_an_earlier_error_counts_more(self, tmp_path, monkeypatch):
        fd = os.open(tmp_path, os.O_RDONLY)
        closed = failing_close(monkeypatch)
        with pytest.raises(ZeroDivisionError), closing_file(fd, "x"):
            raise ZeroDivisionError
        assert closed == [fd]

    def test_the_same_again_is_made_durable_and_leaves_nothing_over(self, tmp_path, monkeypatch):
        path = tmp_path / "file"
        path.write_bytes(b"data")
        (tmp_path / "file.part").write_bytes(b"left over")
        found = synced(monkeypatch)
        write_file(path, b"data")
        assert found == [tmp_path], "the name may not be durable yet"
        assert list(tmp_path.iterdir()) == [path]

    def test_new_folders_are_durable(self, tmp_path, monkeypatch):
        found = synced(monkeypatch)
        make_folder(tmp_path / "a" / "b")
        assert found == [tmp_path, tmp_path / "a"]
        make_folder(tmp_path / "a" / "b")
        assert len(found) == 2

    def test_a_file_for_a_folder(self, tmp_path):
        (tmp_path / "a").touch()
        with pytest.raises(FileExistsError):
            make_folder(tmp_path / "a")
        with pytest.raises(NotADirectoryError):
            make_folder(tmp_path / "a" / "b")

    def test_folder_in_the_way(self, tmp_path):
        (tmp_path / "file").mkdir()
        with pytest.raises(MediaError, match="cannot write"):
            write_file(tmp_path / "file", b"x")

    def test_short_writes_are_gone_on_with(self, monkeypatch):
        out = bytearray()

        def write(_: int, view: memoryview) -> int:
            out.extend(view[:3])
            return min(3, len(view))

        monkeypatch.setattr(os, "write", write)
        write_all(1, b"0123456789")
        assert out == b"0123456789"

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
    def test_folders_that_cannot_be_synced_are_let_be(self, tmp_path, monkeypatch, number):
        monkeypatch.setattr(os, "fsync", failing(number))
        sync_folder(tmp_path)

    def test_folders_that_fail_to_sync_are_not(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "fsync", failing(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            sync_folder(tmp_path)


class TestFolder:
    def test_reading(self, folder):
        with Folder(folder) as found:
            assert found.read("a/b/two", 2) == b"22"
            with found.open("top") as stream:
                assert stream.size == 3
                stream.seek(1)
                buffer = bytearray(9)
                assert stream.readinto(memoryview(buffer)) == 2
                stream.close()
            assert found.has("a/b")
            assert found.has("a/one")
            assert not found.has("a/x")
            assert not found.has("x/y/z")
            assert set(found.files(FOLDERS)) == {
                FoundFile("top", 3),
                FoundFile("a/one", 1),
                FoundFile("a/b/two", 2),
            }
            found.close()

    def test_limit(self, folder):
        with (
            Folder(folder) as found,
            pytest.raises(SizeMismatchError, match=r"too large: .*top, want at most 2 bytes"),
        ):
            found.read("top", 2)

    @pytest.mark.parametrize("name", ["x", "a/x", "x/y"])
    def test_missing(self, folder, name):
        with Folder(folder) as found, pytest.raises(MissingContentError, match=f"missing file: .*{name}"):
            found.open(name)

    @pytest.mark.parametrize("make", [lambda p: None, lambda p: p.write_bytes(b"")])
    def test_no_folder(self, tmp_path, make):
        make(tmp_path / "x")
        with pytest.raises(MissingContentError, match="no such folder"):
            Folder(tmp_path / "x")

    def test_folder_that_cannot_be_opened(self, folder, monkeypatch):
        monkeypatch.setattr(os, "open", failing(errno.EIO))
        with pytest.raises(MediaError, match="cannot open"):
            Folder(folder)

    @pytest.mark.parametrize(
        "make",
        [
            lambda path, other: path.symlink_to(other),
            lambda path, other: path.hardlink_to(other),
            lambda path, _: path.symlink_to("/nowhere"),
            lambda path, _: path.mkdir(),
            lambda path, _: os.mkfifo(path),
            lambda path, _: listen(path),
        ],
        ids=["symbolic link", "hard link", "link to nowhere", "folder", "pipe", "socket"],
    )
    def test_what_is_no_file(self, folder, make):
        other = folder.parent / "other"
        other.write_bytes(b"x")
        make(folder / "a" / "odd", other)
        with Folder(folder) as found:
            with pytest.raises(UnlistedContentError, match=r"not a regular file.*a/odd"):
                found.open("a/odd")
            with pytest.raises(UnlistedContentError, match=r"(not a regular|folder that).*a/odd"):
                list(found.files(FOLDERS))
            assert found.has("a/odd")

    def test_link_on_the_way(self, folder):
        (folder / "a").rename(folder.parent / "a")
        (folder / "a").symlink_to(folder.parent / "a")
        with Folder(folder) as found:
            for read in (found.open, found.has):
                with pytest.raises(UnlistedContentError, match="not a regular file"):
                    read("a/one")
            with pytest.raises(UnlistedContentError):
                list(found.files(FOLDERS))

    def test_file_on_the_way(self, folder):
        with Folder(folder) as found, pytest.raises(UnlistedContentError):
            found.open("top/x")

    @pytest.mark.parametrize("known", [(), ("a",), ("b", "a/b")])
    def test_folders_that_do_not_belong_there(self, folder, known):
        with Folder(folder) as found, pytest.raises(UnlistedContentError, match="folder that the statement"):
            list(found.files(known))

    def test_an_empty_folder_counts(self, folder):
        (folder / "a" / "c").mkdir()
        with Folder(folder) as found, pytest.raises(UnlistedContentError, match="a/c"):
            list(found.files(FOLDERS))

    @pytest.mark.parametrize(
        ("call", "act"),
        [
            ("scandir", lambda found: list(found.files(FOLDERS))),
            ("stat", lambda found: found.has("top")),
            ("open", lambda found: found.open("top")),
            ("open", lambda found: found.open("a/one")),
            ("readv", lambda found: found.read("top", 9)),
        ],
    )
    def test_media_that_fail(self, folder, monkeypatch, call, act):
        with Folder(folder) as found, monkeypatch.context() as patch:
            patch.setattr(os, call, failing(errno.EIO))
            with pytest.raises(MediaError, match=r"cannot read: .*bundle.*, got Input/output error"):
                act(found)

    def test_what_replaces_the_folder_later_is_not_read(self, folder):
        with Folder(folder) as found:
            folder.rename(folder.parent / "moved")
            folder.mkdir()
            assert found.read("top", 9) == b"top"


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        there = os.open(path.parent, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{there}/{path.name}")
        os.close(there)


class TestClosing:
    """Each descriptor is closed once, whatever close(2) says: another thread may have its number by then."""

    @pytest.mark.parametrize("name", ["top", "a/one", "a/b/two"])
    def test_reading(self, folder, monkeypatch, name):
        with Folder(folder) as files:
            closed = failing_close(monkeypatch)
            with pytest.raises(MediaError, match=f"cannot read: {folder}/{name}"):
                files.read(name, 99)
            monkeypatch.undo()
        for fd in closed:
            with pytest.raises(OSError, match="Bad file"):
                os.fstat(fd)
        assert len(closed) == len(set(closed))

    def test_listing(self, folder, monkeypatch):
        with Folder(folder) as files:
            failing_close(monkeypatch)
            with pytest.raises(MediaError, match=f"cannot read: {folder}/a"):
                list(files.files(FOLDERS))
            monkeypatch.undo()

    def test_a_folder(self, folder, monkeypatch):
        files = Folder(folder)
        closed = failing_close(monkeypatch)
        with pytest.raises(MediaError, match=f"cannot read: {folder}"):
            files.close()
        files.close()
        monkeypatch.undo()
        assert len(closed) == 1

    def test_a_file_whose_size_cannot_be_told(self, folder, monkeypatch):
        fd = os.open(folder / "top", os.O_RDONLY)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fstat", failing(errno.EIO))
            with pytest.raises(MediaError, match="cannot read: top"):
                FileStream(fd, "top")
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)


@pytest.mark.parametrize("make", [os.mkfifo, lambda part: part.symlink_to(part.parent / "other")])
def test_a_stream_waits_for_no_pipe_and_follows_no_link(tmp_path, make):
    (tmp_path / "other").write_bytes(b"kept")
    make(tmp_path / "x.tar.part")
    write_stream(tmp_path / "x.tar", [b"one", b"two"])
    assert (tmp_path / "x.tar").read_bytes() == b"onetwo"
    assert (tmp_path / "other").read_bytes() == b"kept"
