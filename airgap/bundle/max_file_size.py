"""Finds the largest file that a medium can hold, before gigabytes are written. Whether a bundle is cut for
that reason is decided in `folders`.
"""

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

from airgap.bundle.devices import SystemFolders
from airgap.bundle.files import closing_file, media_errors
from airgap.bundle.medium import Medium

FAT32_MAX_FILE_BYTES = (1 << 32) - 1
"""The largest file on FAT12, FAT16 and FAT32, in bytes."""
PROBE = "airgap-probe.part"

_FAT = ("vfat", "msdos", "fat", "fuse.fusefat")
_LARGE = ("exfat", "ntfs", "fuseblk")
"""FUSE file systems without a relevant limit. They are not tested, because exfat-fuse extends a file by
writing gigabytes of zeros. A plain `fuseblk` is exfat-fuse or NTFS.
"""
_CANDIDATES = ((1 << 32) - 1, (1 << 31) - 1)
"""The usual limits of FUSE programs. If a file of each of these sizes fails, the error has another cause."""
_TOO_LARGE = (errno.EFBIG, errno.EINVAL, errno.EOVERFLOW)


def largest_file(folder: Path, want: int, roots: SystemFolders | None = None) -> int | None:
    """Return the largest size of a file in `folder` in bytes, or None if `want` bytes are possible.

    Free space and quotas are not considered. The folder must exist; a file `airgap-probe.part` may be made
    in it, and is removed again. Raises `MediaError` or `NoSpaceError` if that fails.
    """
    medium = Medium.of(folder, roots) if roots else Medium.of(folder)
    limits = [limit for limit in (_known(medium), _allowed()) if limit is not None and limit < want]
    if not limits and (limit := _tried(folder, want, medium)) is not None:
        limits.append(limit)
    return min(limits, default=None)


def _known(medium: Medium) -> int | None:
    """Return the limit of the file system, as mounted or as on the device; None if there is none."""
    return FAT32_MAX_FILE_BYTES if medium.file_system in _FAT or medium.format in _FAT else None


def _allowed() -> int | None:
    """Return the limit of this process (`ulimit -f`)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if soft == resource.RLIM_INFINITY else soft


def _tried(folder: Path, want: int, medium: Medium) -> int | None:
    probe = folder / PROBE
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with media_errors("cannot write", probe):
        probe.unlink(missing_ok=True)
        try:
            return _try(probe, flags, want, medium)
        finally:
            probe.unlink(missing_ok=True)


def _try(probe: Path, flags: int, want: int, medium: Medium) -> int | None:
    with closing_file(os.open(probe, flags, 0o600), probe) as fd:
        if not _can_seek(fd, want):
            return _largest(lambda size: _can_seek(fd, size))
        if _is_program(medium) and not _can_extend(fd, want):
            return next((size for size in _CANDIDATES if size < want and _can_extend(fd, size)), None)
    return None


def _is_program(medium: Medium) -> bool:
    """Return whether the limit must be tested, because the kernel does not know the limits of FUSE."""
    names = f"{medium.file_system} {medium.format}"
    return medium.file_system.startswith("fuse") and not any(name in names for name in _LARGE)


def _can_seek(fd: int, size: int) -> bool:
    """Return whether the kernel accepts `size` as a position: its own file systems know their limits."""
    try:
        os.lseek(fd, size, os.SEEK_SET)
    except OSError as error:
        if error.errno in _TOO_LARGE:
            return False
        raise
    return True


def _can_extend(fd: int, size: int) -> bool:
    """Return whether a file can be extended to `size` without writing; True if that is unknown."""
    try:
        os.ftruncate(fd, size)
        fits = os.fstat(fd).st_size == size  # some take the lower 32 bits
        os.ftruncate(fd, 0)
    except OSError as error:
        return error.errno not in _TOO_LARGE
    return fits


def _largest(fits: Callable[[int], bool]) -> int:
    """Return the largest 63-bit number for which `fits` is true, if it is true for all smaller ones too."""
    largest = 0
    for bit in reversed(range(63)):
        if fits(largest | 1 << bit):
            largest |= 1 << bit
    return largest
