"""Real file systems: what they say of themselves, how large a file they take, and reading back past caches."""

import errno
import hashlib
import mmap
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from airgap.bundle import max_file_size
from airgap.bundle.max_file_size import FAT32_MAX_FILE_BYTES, largest_file
from airgap.bundle.medium import Medium, refuse_unfit
from airgap.bundle.read_back import ReadBack, Written, read_back
from airgap.errors import DigestMismatchError, MediaError, NoSpaceError, SizeMismatchError
from tests.support.media import MIB, Disk, exfat_stick, ext4_disk, fat_stick, require_media, tmpfs
from tests.support.parts import run

Maker = Callable[[Path], AbstractContextManager[Disk]]
MAKERS: dict[str, Maker] = {"fat": fat_stick, "exfat": exfat_stick, "ext4": ext4_disk, "tmpfs": tmpfs}
WRITABLE_LATER = 40 * MIB
"""Fits on all of them."""


@pytest.fixture(autouse=True)
def _media() -> None:
    require_media()


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def disk(kind: str, tmp_path: Path) -> Iterator[Disk]:
    with MAKERS[kind](tmp_path / "media") as disk:
        yield disk


def fill(disk: Disk) -> list[Written]:
    """Files of many sizes, written as a bundle is: each synced."""
    folder = disk.mount_point / "bundle"
    folder.mkdir()
    files = []
    for size in (0, 1, 511, 4096, 4097, 1_000_003, 5 * MIB + 17):
        data = os.urandom(size)
        path = folder / str(size)
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        files.append(Written(path, hashlib.sha256(data).hexdigest(), size))
    return files


def harm(disk: Disk, file: Written) -> None:
    """Below the file system, one byte in the middle of a file."""
    with file.path.open("rb") as stream:
        stream.seek(file.size // 2)
        disk.harm(stream.read(32), at=7)


def again(disk: Disk, files: list[Written]) -> ReadBack:
    return read_back(files, Medium.of(disk.mount_point), lambda _: None)


class TestMedium:
    def test_what_it_is(self, kind: str, disk: Disk) -> None:
        medium = Medium.of(disk.mount_point / "not" / "yet")
        names = {"fat": "fuse.fusefat", "exfat": "fuseblk"}
        assert medium.mount_point == disk.mount_point
        assert medium.file_system == names.get(kind, kind)
        assert medium.source == (disk.device or {"fat": "fusefat"}.get(kind, "tmpfs"))
        assert 60 * MIB < medium.size <= 64 * MIB
        assert WRITABLE_LATER < medium.free <= medium.size
        assert (medium.system, medium.read_only, medium.removable) == (False, False, False)
        refuse_unfit(medium, disk.mount_point / "not" / "yet", WRITABLE_LATER)

    def test_too_small(self, disk: Disk) -> None:
        with pytest.raises(NoSpaceError, match=f"does not fit: {disk.mount_point}"):
            refuse_unfit(Medium.of(disk.mount_point), disk.mount_point, 64 * MIB)

    def test_a_stick_that_is_not_mounted(self, kind: str, tmp_path: Path) -> None:
        place = tmp_path / "media"
        path = place / "mounted" / "bundle"
        with MAKERS[kind](place):
            refuse_unfit(Medium.of(path), path, 1, places=[place])
        with pytest.raises(MediaError, match="no medium is mounted there"):
            refuse_unfit(Medium.of(path), path, 1, places=[place])

    @pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
    def test_read_only(self, disk: Disk) -> None:
        run("mount", "-o", "remount,ro", disk.mount_point)
        with pytest.raises(MediaError, match="the medium is read-only"):
            refuse_unfit(Medium.of(disk.mount_point), disk.mount_point, 1)

    def test_this_system(self) -> None:
        assert Medium.of(Path("/")).system


class TestLimits:
    def test_a_file_that_fits(self, disk: Disk) -> None:
        assert largest_file(disk.mount_point, FAT32_MAX_FILE_BYTES) is None

    def test_a_large_file(self, kind: str, disk: Disk) -> None:
        before = sorted(disk.mount_point.iterdir())
        limit = FAT32_MAX_FILE_BYTES if kind == "fat" else None
        assert largest_file(disk.mount_point, FAT32_MAX_FILE_BYTES + 1) == limit
        assert sorted(disk.mount_point.iterdir()) == before

    @pytest.mark.parametrize("kind", ["fat"])
    def test_a_program_that_nobody_knows(self, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
        """fusefat says that it made a file of 4 GiB, and made an empty one."""
        monkeypatch.setattr(max_file_size, "_FAT", ())
        assert largest_file(disk.mount_point, FAT32_MAX_FILE_BYTES + 1) == FAT32_MAX_FILE_BYTES
        assert not (disk.mount_point / max_file_size.PROBE).exists()

    @pytest.mark.parametrize("kind", ["ext4"])
    def test_the_kernel_means_what_it_says(self, disk: Disk) -> None:
        limit = largest_file(disk.mount_point, 1 << 60)
        assert limit is not None
        with (disk.mount_point / "x").open("wb") as file:
            file.truncate(limit)
            with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
                file.truncate(limit + 1)

    def test_what_a_process_may_write(self, disk: Disk) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
        try:
            assert largest_file(disk.mount_point, MIB) is None
            assert largest_file(disk.mount_point, MIB + 1) == MIB
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestReadBack:
    def test_all_right(self, kind: str, disk: Disk) -> None:
        files = fill(disk)
        result = again(disk, files)
        assert (result.files, result.bytes) == (len(files), sum(file.size for file in files))
        assert result.wrong == ()
        assert result.cached == (kind in {"fat", "tmpfs"})

    @pytest.mark.parametrize("kind", ["fat", "exfat", "ext4"])
    def test_a_byte_that_turned_over(self, disk: Disk) -> None:
        files = fill(disk)
        harm(disk, files[-1])
        wrong = again(disk, files).wrong
        assert [(type(error), error.subject) for error in wrong] == [(DigestMismatchError, files[-1].path)]

    @pytest.mark.parametrize("kind", ["exfat", "ext4", "tmpfs"])  # fusefat cannot shorten a file
    def test_a_file_that_was_cut(self, disk: Disk) -> None:
        files = fill(disk)
        files[-2].path.write_bytes(b"short")
        assert [type(error) for error in again(disk, files).wrong] == [SizeMismatchError]

    @pytest.mark.parametrize("maker", [exfat_stick, ext4_disk])
    def test_a_file_as_a_device_is_no_medium(
        self, maker: Callable[..., AbstractContextManager[Disk]], tmp_path: Path
    ) -> None:
        with maker(tmp_path, direct=False) as disk:
            assert again(disk, fill(disk)).cached


class TestCaches:
    """What is claimed is true: where a cache answers, harm below goes unseen, and it is said to be cached."""

    @pytest.mark.parametrize("kind", ["exfat"])
    def test_a_program_reads_its_device_through_the_cache(
        self, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = fill(disk)
        harm(disk, files[-1])
        with monkeypatch.context() as patch:
            patch.setattr(
                "airgap.bundle.read_back._drop_device_cache", lambda _: None
            )  # as for anyone but root
            result = again(disk, files)
        assert (result.cached, result.wrong) == (True, ())
        result = again(disk, files)
        assert (result.cached, len(result.wrong)) == (False, 1)

    @pytest.mark.parametrize("kind", ["ext4"])
    @pytest.mark.parametrize("held", [False, True])
    def test_the_cache_is_asked_where_there_are_no_direct_reads(
        self, disk: Disk, monkeypatch: pytest.MonkeyPatch, held: bool
    ) -> None:
        files = fill(disk)
        real = os.open

        def without_direct(path: object, flags: int, *rest: object, **names: object) -> int:
            if flags & os.O_DIRECT:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return real(path, flags, *rest, **names)

        monkeypatch.setattr(os, "open", without_direct)
        with files[-1].path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
            if held:
                assert len(bytes(pages)) == files[-1].size  # a mapped page is not dropped
            harm(disk, files[-1])
            result = again(disk, files)
        assert (result.cached, len(result.wrong)) == ((True, 0) if held else (False, 1))
