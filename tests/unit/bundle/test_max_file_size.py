import errno
import os
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest

from airgap.bundle import max_file_size as limits
from airgap.bundle.max_file_size import FAT32_MAX_FILE_BYTES, largest_file
from airgap.errors import MediaError, NoSpaceError
from tests.support.systems import System

GIB = 1 << 30


@pytest.fixture
def system(tmp_path):
    system = System(tmp_path)
    yield system
    assert list(system.place.iterdir()) == []


def mounted(system: System, kind: str) -> Path:
    system.mount("0:99", system.place, kind, "x")
    return system.place


def seeks(monkeypatch, limit: int, number: int) -> None:
    """No position above `limit`."""
    real = os.lseek

    def lseek(fd, size, whence):
        return raises(number) if size > limit else real(fd, size, whence)

    monkeypatch.setattr(os, "lseek", lseek)


def extends(monkeypatch, limit: int, number: int | None) -> list[int]:
    """No file above `limit`, as far as `ftruncate` says; without a number, it only drops the upper 32 bits.

    Gives the lengths that were asked for. Nothing of that length is made: no disk here need hold it.
    """
    sizes, asked = {}, []
    real = os.fstat

    def ftruncate(fd, size):
        asked.append(size)
        if size > limit and number:
            raises(number)
        sizes[fd] = size & 0xFFFF_FFFF if number is None else size

    def fstat(fd):
        return SimpleNamespace(st_size=sizes[fd]) if fd in sizes else real(fd)

    monkeypatch.setattr(os, "ftruncate", ftruncate)
    monkeypatch.setattr(os, "fstat", fstat)
    return asked


def raises(number: int):
    raise OSError(number, os.strerror(number))


class TestKnown:
    @pytest.mark.parametrize("kind", ["vfat", "msdos", "fuse.fusefat"])
    def test_fat(self, system, kind):
        place = mounted(system, kind)
        assert largest_file(place, FAT32_MAX_FILE_BYTES + 1, system.roots) == FAT32_MAX_FILE_BYTES
        assert largest_file(place, FAT32_MAX_FILE_BYTES, system.roots) is None

    def test_fat_behind_a_program(self, system):
        system.device("8:17", "pci/sdb1")
        system.udev("8:17", ID_FS_TYPE="vfat")
        system.mount("8:17", system.place, "fuseblk", "/dev/sdb1")
        assert largest_file(system.place, 5 * GIB, system.roots) == FAT32_MAX_FILE_BYTES

    @pytest.mark.parametrize("kind", ["fuseblk", "fuse.exfat", "fuseblk.exfat-fuse", "fuse.ntfs-3g"])
    def test_not_tried_where_it_would_write_zeros(self, system, monkeypatch, kind):
        asked = extends(monkeypatch, 0, errno.EFBIG)
        assert largest_file(mounted(system, kind), 100 * GIB, system.roots) is None
        assert asked == []

    def test_what_this_process_may_write(self, system, monkeypatch):
        place = mounted(system, "ext4")
        monkeypatch.setattr(resource, "getrlimit", lambda _: (3 * GIB, resource.RLIM_INFINITY))
        assert largest_file(place, 3 * GIB, system.roots) is None
        assert largest_file(place, 3 * GIB + 1, system.roots) == 3 * GIB

    def test_the_lesser_of_two(self, system, monkeypatch):
        place = mounted(system, "vfat")
        monkeypatch.setattr(resource, "getrlimit", lambda _: (5 * GIB, 6 * GIB))
        assert largest_file(place, 6 * GIB, system.roots) == FAT32_MAX_FILE_BYTES


class TestAsked:
    def test_it_fits(self, tmp_path):
        assert largest_file(tmp_path, 5) is None
        assert largest_file(tmp_path, 0) is None

    @pytest.mark.parametrize("limit", [2 * GIB - 1, FAT32_MAX_FILE_BYTES, 17_592_186_040_320, 0])
    def test_the_kernel_says_how_far(self, system, monkeypatch, limit):
        place = mounted(system, "odd")
        seeks(monkeypatch, limit, errno.EINVAL)
        assert largest_file(place, limit + 1, system.roots) == limit
        assert largest_file(place, limit, system.roots) is None

    @pytest.mark.parametrize("number", [errno.EFBIG, errno.EINVAL, errno.EOVERFLOW])
    @pytest.mark.parametrize("limit", [2 * GIB - 1, FAT32_MAX_FILE_BYTES])
    def test_a_program_is_tried(self, system, monkeypatch, limit, number):
        place = mounted(system, "fuse.odd")
        extends(monkeypatch, limit, number)
        assert largest_file(place, limit + 1, system.roots) == limit
        assert largest_file(place, limit, system.roots) is None

    def test_a_program_that_refuses_any_length(self, system, monkeypatch):
        place = mounted(system, "fuse.odd")
        asked = extends(monkeypatch, 0, errno.EINVAL)
        assert largest_file(place, 5 * GIB, system.roots) is None
        assert asked == [5 * GIB, 4 * GIB - 1, 2 * GIB - 1]

    def test_a_program_that_takes_the_lower_bits(self, system, monkeypatch):
        place = mounted(system, "fuse.odd")
        extends(monkeypatch, 0, None)
        assert largest_file(place, 5 * GIB, system.roots) == FAT32_MAX_FILE_BYTES

    @pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.ENOSPC, errno.EIO])
    def test_a_program_that_will_not_say(self, system, monkeypatch, number):
        asked = extends(monkeypatch, 0, number)
        assert largest_file(mounted(system, "fuse.odd"), 5 * GIB, system.roots) is None
        assert asked == [5 * GIB]

    def test_a_kernel_file_system_is_not_extended(self, system, monkeypatch):
        asked = extends(monkeypatch, 0, errno.EFBIG)
        assert largest_file(mounted(system, "ext4"), 5 * GIB, system.roots) is None
        assert asked == []


class TestProbe:
    def test_a_left_over_one_is_replaced(self, system):
        (system.place / limits.PROBE).symlink_to("/etc/passwd")
        assert largest_file(mounted(system, "ext4"), 5, system.roots) is None

    @pytest.mark.parametrize(("number", "kind"), [(errno.EIO, MediaError), (errno.ENOSPC, NoSpaceError)])
    def test_it_goes_away_after_an_error(self, system, monkeypatch, number, kind):
        seeks(monkeypatch, 0, number)
        with pytest.raises(kind, match="cannot write"):
            largest_file(mounted(system, "ext4"), 5, system.roots)

    def test_no_such_folder(self, tmp_path):
        with pytest.raises(MediaError, match="cannot write"):
            largest_file(tmp_path / "none", 5)
