import errno
import hashlib
import os
from pathlib import Path

import pytest

from airgap.bundle import read_back as readback
from airgap.bundle.devices import Device
from airgap.bundle.medium import Medium
from airgap.bundle.read_back import ReadBack, Written, read_back
from airgap.errors import (
    DigestMismatchError,
    MediaError,
    MissingContentError,
    SizeMismatchError,
    UnlistedContentError,
)
from tests.support.systems import System

UNKNOWN = Medium(Path("/"))
BLOCK = 4096


@pytest.fixture
def system(tmp_path):
    return System(tmp_path / "system")


@pytest.fixture
def disk(system):
    """A medium that is read without a cache between, as far as we know."""
    return _medium(system, "sdb", "vfat")


def _medium(system: System, name: str, kind: str, files=None) -> Medium:
    system.device("8:16", f"pci/{name}", {"stat": "1 2 0 4", **(files or {})})
    return Medium(system.place, file_system=kind, device=Device.find(system.roots, "8:16"))


def write(path: Path, data: bytes) -> Written:
    path.write_bytes(data)
    return Written(path, hashlib.sha256(data).hexdigest(), len(data))


def read(files, medium=UNKNOWN, jobs=1) -> ReadBack:
    return read_back(files, medium, lambda _: None, jobs)


def patch_open(monkeypatch, number):
    real = os.open

    def opens(path, flags, *rest, **names):
        if flags & os.O_DIRECT:
            raise OSError(number, os.strerror(number))
        return real(path, flags, *rest, **names)

    monkeypatch.setattr(os, "open", opens)


def patch_preadv(monkeypatch, answer):
    """`answer(flags)` may raise, or give the number of bytes to read at most."""
    real = os.preadv

    def preadv(fd, buffers, offset, flags=0):
        with memoryview(buffers[0]) as view, view[: answer(flags)] as part:
            return real(fd, [part], offset)

    monkeypatch.setattr(os, "preadv", preadv)


def raises(number):
    raise OSError(number, os.strerror(number))


class TestContent:
    @pytest.mark.parametrize("jobs", [1, 3])
    def test_all_right(self, tmp_path, monkeypatch, jobs):
        monkeypatch.setattr(readback, "BUFFER", 2 * BLOCK)
        edges = (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 9 * BLOCK + 7)
        files = [write(tmp_path / str(size), os.urandom(size)) for size in edges]
        done = []
        result = read_back(files, UNKNOWN, done.append, jobs)
        assert (result.files, result.bytes, result.wrong) == (len(edges), sum(edges), ())
        assert sum(done) == sum(edges)

    def test_none(self):
        assert read([]).wrong == ()

    def test_every_wrong_file_is_named_in_order(self, tmp_path):
        files = [write(tmp_path / name, name.encode() * BLOCK) for name in "abcdefgh"]
        with (tmp_path / "b").open("r+b") as file:
            file.seek(17)
            file.write(b"X")
        os.truncate(tmp_path / "c", BLOCK - 1)
        os.truncate(tmp_path / "d", BLOCK + 1)
        for name in "efgh":
            (tmp_path / name).unlink()
        (tmp_path / "f").symlink_to("a")
        (tmp_path / "g").mkdir()
        os.mkfifo(tmp_path / "h")
        wrong = read(files, jobs=2).wrong
        assert [(type(error), error.subject) for error in wrong] == [
            (DigestMismatchError, tmp_path / "b"),
            (SizeMismatchError, tmp_path / "c"),
            (SizeMismatchError, tmp_path / "d"),
            (MissingContentError, tmp_path / "e"),
            (UnlistedContentError, tmp_path / "f"),
            (UnlistedContentError, tmp_path / "g"),
            (UnlistedContentError, tmp_path / "h"),
        ]
        assert "want 4,096 bytes, got 4,095" in str(wrong[1])

    def test_a_medium_that_gives_files_other_names(self, tmp_path, monkeypatch):
        """It finds a file under the name that was asked for, and lists it under another."""
        files = [write(tmp_path / name, b"x") for name in ("index.json", "manifest.json")]
        real = Path.iterdir
        monkeypatch.setattr(
            Path, "iterdir", lambda path: (path / each.name.replace("fest", "~1") for each in real(path))
        )
        [wrong] = read(files).wrong
        assert (type(wrong), wrong.subject) == (MissingContentError, tmp_path / "manifest.json")
        assert str(wrong).startswith("the medium stores the file under another name")

    def test_a_folder_that_is_lost(self, tmp_path):
        (tmp_path / "a").mkdir()
        file = write(tmp_path / "a" / "b", b"x")
        (tmp_path / "a" / "b").unlink()
        (tmp_path / "a").rmdir()
        with pytest.raises(MissingContentError, match="the medium has lost a folder"):
            read([file])

    @pytest.mark.parametrize("most", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK - 5])
    def test_short_reads(self, tmp_path, monkeypatch, most):
        file = write(tmp_path / "a", os.urandom(7 * BLOCK + 9))
        patch_open(monkeypatch, errno.EINVAL)
        sizes = iter([most])
        patch_preadv(monkeypatch, lambda flags: None if flags else next(sizes, None))
        assert read([file]).wrong == ()

    def test_a_file_that_shrinks_meanwhile(self, tmp_path, monkeypatch):
        file = write(tmp_path / "a", bytes(3 * BLOCK))
        patch_open(monkeypatch, errno.EINVAL)
        patch_preadv(monkeypatch, lambda flags: 0)
        (error,) = read([file]).wrong
        assert str(error).endswith("want 12,288 bytes, got 0")

    def test_a_bad_sector(self, tmp_path, monkeypatch):
        file = write(tmp_path / "a", b"data")
        patch_preadv(monkeypatch, lambda flags: raises(errno.EIO))
        with pytest.raises(MediaError, match=f"cannot read back: {tmp_path}/a"):
            read([file])


class TestCached:
    def test_a_disk(self, tmp_path, disk):
        assert not read([write(tmp_path / "a", b"data")], disk).cached

    @pytest.mark.parametrize("kind", ["tmpfs", "nfs4", "fuse.sshfs", ""])
    def test_no_device_is_known(self, tmp_path, kind):
        assert read([write(tmp_path / "a", b"data")], Medium(Path("/"), file_system=kind)).cached

    @pytest.mark.parametrize(("direct", "cached"), [("0", True), ("1", False)])
    def test_a_file_as_a_device(self, tmp_path, system, direct, cached):
        loop = _medium(system, "loop0", "ext4", {"loop/dio": direct})
        assert read([write(tmp_path / "a", b"data")], loop).cached is cached

    @pytest.mark.parametrize(
        ("sectors", "cached"), [("100", False), ("99", True), ("0", True), ("x", True)], ids=str
    )
    def test_a_program_is_believed_when_the_device_was_read(self, tmp_path, system, sectors, cached):
        stick = _medium(system, "sdb", "fuseblk")
        file = write(tmp_path / "a", bytes(100 * 512))
        stat = (system.roots.sys / "dev/block/8:16").resolve() / "stat"
        result = read_back([file], stick, lambda _: stat.write_text(f"1 2 {sectors} 4\n"))
        assert result.cached is cached

    def test_a_program_over_a_cached_device(self, tmp_path, system):
        stick = _medium(system, "loop0", "fuseblk", {"loop/dio": "0"})
        file = write(tmp_path / "a", b"data")
        stat = (system.roots.sys / "dev/block/8:16").resolve() / "stat"
        assert read_back([file], stick, lambda _: stat.write_text("1 2 999 4\n")).cached


class TestWithoutDirectReads:
    """Where the file system refuses O_DIRECT, the cache is asked what it holds."""

    @pytest.mark.parametrize(
        ("number", "cached"), [(errno.EAGAIN, False), (None, True), (errno.EOPNOTSUPP, True)]
    )
    def test_the_cache_is_asked(self, tmp_path, disk, monkeypatch, number, cached):
        file = write(tmp_path / "a", os.urandom(5 * BLOCK))
        patch_open(monkeypatch, errno.EINVAL)
        patch_preadv(monkeypatch, lambda flags: raises(number) if flags and number else None)
        result = read([file], disk)
        assert (result.cached, result.wrong) == (cached, ())

    @pytest.mark.parametrize(("times", "cached"), [(2, False), (3, True)])
    def test_one_page_that_stays_is_enough(self, tmp_path, disk, monkeypatch, times, cached):
        file = write(tmp_path / "a", os.urandom(5 * BLOCK))
        patch_open(monkeypatch, errno.EINVAL)
        asked = iter([errno.EAGAIN, errno.EAGAIN, 0] * times + [errno.EAGAIN] * 5)
        patch_preadv(
            monkeypatch, lambda flags: raises(number) if flags and (number := next(asked, 0)) else None
        )
        assert read([file], disk).cached is cached

    def test_refused_at_the_first_read(self, tmp_path, disk, monkeypatch):
        file = write(tmp_path / "a", os.urandom(5 * BLOCK))
        first = iter([errno.EINVAL])

        def answer(flags):
            if number := next(first, 0):
                raises(number)
            if flags:
                raises(errno.EAGAIN)

        patch_preadv(monkeypatch, answer)
        result = read([file], disk)
        assert (result.cached, result.wrong) == (False, ())

    def test_another_error_is_one(self, tmp_path, disk, monkeypatch):
        file = write(tmp_path / "a", b"data")
        patch_open(monkeypatch, errno.EIO)
        with pytest.raises(MediaError, match="cannot read back"):
            read([file], disk)

    def test_a_system_without_such_reads(self, tmp_path, disk, monkeypatch):
        file = write(tmp_path / "a", b"data")
        monkeypatch.setattr(readback, "_DIRECT", 0)
        assert read([file], disk).cached
