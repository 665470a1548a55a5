import io
import os
from pathlib import Path

import pytest

from airgap.bundle.bundle_tar import TarFolder
from airgap.bundle.files import FileSlice, Folder, FoundFile
from airgap.bundle.tar_entries import END_OF_ARCHIVE, header, padding
from airgap.bundle.volumes import open_bundle
from airgap.errors import (
    FormatError,
    IncompleteError,
    MediaError,
    MissingContentError,
    SizeMismatchError,
    UnlistedContentError,
)
from tests.support.images import noise

RAW = noise(3000, 1)
FILES = {"top": b"top", "a/one": RAW, "a/b/two": b""}
FOLDERS = ("a", "a/b")


def entry(name: str, raw: bytes = b"", kind: bytes = b"0", target: bytes = b"") -> bytes:
    block = bytearray(header(name, len(raw)))
    block[156:157] = kind
    block[157 : 157 + len(target)] = target
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + raw + padding(len(raw))


def tar_of(files: dict[str, bytes], *more: bytes, end: bytes = END_OF_ARCHIVE) -> bytes:
    return b"".join([*(entry(name, raw) for name, raw in files.items()), *more, end])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.tar"
    path.write_bytes(tar_of(FILES, entry("a", kind=b"5")))
    return path


def test_reading(path):
    with TarFolder(path) as found:
        assert {name: found.read(name, 5000) for name in FILES} == FILES
        assert found.has("a/one")
        assert not found.has("x")
        assert set(found.files(FOLDERS)) == {FoundFile(name, len(raw)) for name, raw in FILES.items()}
        found.close()


def test_two_at_a_time_and_from_the_middle(path):
    with TarFolder(path) as found:
        first, second = found.open("a/one"), found.open("a/one")
        assert first.read(1000) == RAW[:1000]
        assert second.read() == RAW
        assert first.read() == RAW[1000:]
        first.seek(2990)
        assert first.read() == RAW[2990:]
        first.seek(9999)
        assert first.read() == b""


def test_missing(path):
    with TarFolder(path) as found, pytest.raises(MissingContentError, match=r"missing file: .*tar/x"):
        found.open("x")


def test_limit(path):
    with TarFolder(path) as found, pytest.raises(SizeMismatchError, match="at most 2,999 bytes"):
        found.read("a/one", 2999)


@pytest.mark.parametrize(
    "odd",
    [
        entry("link", kind=b"2", target=b"top"),
        entry("link", kind=b"1", target=b"top"),
        entry("docs/x"),
        entry("docs", kind=b"5"),
        entry("a/b/c/d"),
        entry("a/b/c", kind=b"5"),
    ],
    ids=["symbolic link", "hard link", "file elsewhere", "folder", "deep file", "deep folder"],
)
def test_what_does_not_belong_there(tmp_path, odd):
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of(FILES, odd))
    with TarFolder(path) as found, pytest.raises(UnlistedContentError, match="not a file of a bundle"):
        list(found.files(FOLDERS))


def test_a_link_is_not_opened(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of(FILES, entry("link", kind=b"2", target=b"top")))
    with TarFolder(path) as found, pytest.raises(UnlistedContentError, match="not a regular file"):
        found.open("link")


@pytest.mark.parametrize(
    "raw",
    [
        b"not a tar",
        tar_of(FILES)[:2000],
        tar_of(FILES)[:-1100],
        tar_of(FILES, entry("top")),
        tar_of(FILES, entry("./top")),
        tar_of(FILES, entry("../x")),
        tar_of(FILES, entry("/x")),
        tar_of(FILES, entry("pipe", kind=b"6")),
        tar_of(FILES, entry("device", kind=b"3")),
        tar_of(FILES) + b"more",
    ],
    ids=["no tar", "cut", "cut data", "twice", "twice, spelt otherwise", "outside", "absolute", "pipe", "device", "more"],
)  # fmt: skip
def test_refused(tmp_path, raw):
    path = tmp_path / "x.tar"
    path.write_bytes(raw)
    with pytest.raises(IncompleteError, match="not the whole tar of a bundle") as caught:
        TarFolder(path)
    assert isinstance(caught.value.__cause__, FormatError)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: None, MediaError),
        (Path.mkdir, UnlistedContentError),
        (os.mkfifo, UnlistedContentError),
        (lambda path: path.symlink_to("/dev/null"), MediaError),
    ],
    ids=["nothing", "folder", "pipe", "link"],
)
def test_no_file(tmp_path, make, error):
    make(tmp_path / "x")
    with pytest.raises(error):
        TarFolder(tmp_path / "x")


def test_a_medium_that_fails(path, monkeypatch):
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with TarFolder(path) as found:
        monkeypatch.setattr(os, "preadv", fail)
        with pytest.raises(MediaError, match=r"cannot read: .*bundle\.tar/top, got Input/output error"):
            found.read("top", 9)


def test_open_bundle(path):
    with open_bundle(path) as found:
        assert isinstance(found, TarFolder)
    with open_bundle(path.parent) as found:
        assert isinstance(found, Folder)
    with pytest.raises(MissingContentError, match="no such folder"):
        open_bundle(path.parent / "x")


class TestSlice:
    @pytest.fixture
    def fd(self, path):
        fd = os.open(path, os.O_RDONLY)
        yield fd
        os.close(fd)

    def test_progress(self, fd):
        seen = []
        with FileSlice(fd, "x", 512, 3, seen.append) as stream:
            assert stream.readable()
            assert stream.read() == b"top"
        assert sum(seen) == 3

    def test_skip(self, fd):
        stream = FileSlice(fd, "x", 512, 3)
        stream.skip(2)
        assert stream.read() == b"p"
        with pytest.raises(FormatError, match="truncated archive: x"):
            stream.skip(1)

    def test_seeks_from_the_start_only(self, fd):
        stream = FileSlice(fd, "x", 512, 3)
        assert stream.seek(1) == 1
        with pytest.raises(io.UnsupportedOperation):
            stream.seek(0, os.SEEK_END)
