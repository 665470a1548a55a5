"""Reads back what was written, bypassing the cache, to check what the medium itself holds.

Everything is read after the last write, in the order of the writes. A medium with a false capacity overwrites
its beginning with its end, so a check of each file right after writing would succeed.
"""

import contextlib
import errno
import hashlib
import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from airgap.bundle.devices import Device
from airgap.bundle.files import closing_file, media_errors
from airgap.bundle.medium import Medium
from airgap.errors import (
    DigestMismatchError,
    IntegrityError,
    MissingContentError,
    SizeMismatchError,
    UnlistedContentError,
)
from airgap.oci.digest import Advance, Hasher
from airgap.values import dataclass
from airgap.workers import errors_of, run_all

BUFFER = 4 << 20
_ALIGNMENT = 4096
_SAMPLES = 256
_ATTEMPTS = 3
"""How often cached pages are dropped: the kernel does not drop a page that is in use at that moment."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Linux only; elsewhere all reads use the cache, and are reported as cached
_DIRECT = getattr(os, "O_DIRECT", 0)
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written, and its expected content."""

    path: Path
    sha256: str
    """The SHA-256 in hex."""
    size: int
    offset: int | None = None
    """Its offset in a larger file, such as a tar; None for a separate file."""

    @classmethod
    def of(cls, path: Path, raw: bytes) -> Self:
        """Describe a small file."""
        return cls(path, hashlib.sha256(raw).hexdigest(), len(raw))


@dataclass(frozen=True, slots=True)
class ReadBack:
    """The result of reading back."""

    files: int
    bytes: int
    cached: bool
    """Some bytes may have come from a cache, so airgap must not claim that the medium itself was read."""
    wrong: tuple[IntegrityError, ...]
    """The errors of all files that differ from what was written, in order."""


def read_back(files: Sequence[Written], medium: Medium, advance: Advance, jobs: int = 1) -> ReadBack:
    """Read all `files`, which are on `medium`, and compare them with what was written.

    No file may be written at the same time. `jobs` above 1 only helps with fast disks. Raises `MediaError`
    for files that cannot be read. Caches inside the device are not detected: unplug it and verify again.
    """
    for file in files:
        _drop_file_cache(file)
    names = {folder: _names(folder) for folder in dict.fromkeys(file.path.parent for file in files)}
    device = medium.device
    if device and not medium.is_direct:
        _drop_device_cache(device)
    before = device.bytes_read if device else None
    resident = [False] * len(files)

    def check(number: int) -> None:
        file = files[number]
        resident[number] = _check(file, advance)
        if file.path.name not in names[file.path.parent]:
            raise MissingContentError(
                "the medium stores the file under another name",
                subject=file.path,
                hint="use another file system",
            )

    wrong = errors_of(IntegrityError, run_all(check, range(len(files)), jobs))
    total = sum(file.size for file in files)
    direct = medium.is_direct or _has_read(medium, before, total)
    return ReadBack(len(files), total, any(resident) or not direct, tuple(wrong))


def _names(folder: Path) -> frozenset[str]:
    """Return the names on the medium: some file systems open a file under names that they do not list."""
    with media_errors("cannot read back", folder):
        try:
            return frozenset(path.name for path in folder.iterdir())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingContentError("the medium has lost a folder", subject=folder) from error


def _check(file: Written, advance: Advance) -> bool:
    """Read and compare a file; return whether some of it may have been in the cache."""
    sha256 = hashlib.sha256()
    with media_errors("cannot read back", file.path):
        try:
            with _opened(file.path, _DIRECT) as fd:
                _hash(fd, file, sha256, advance)
                resident = not _DIRECT
        except OSError as error:
            if error.errno != errno.EINVAL or not _DIRECT:
                raise
            # without support, opening the file or its first read fails
            sha256 = hashlib.sha256()
            with _opened(file.path) as fd:
                resident = _is_resident(fd, file.size)
                _hash(fd, file, sha256, advance)
    if sha256.hexdigest() != file.sha256:
        raise DigestMismatchError(
            "the medium does not hold what was written",
            subject=file.path,
            want=f"sha256:{file.sha256}",
            got=f"sha256:{sha256.hexdigest()}",
        )
    return resident


def _hash(fd: int, file: Written, sha256: Hasher, advance: Advance) -> None:
    file_size = os.fstat(fd).st_size
    begin = file.offset or 0
    size = file_size if file.offset is None else min(max(file_size - begin, 0), file.size)
    done = 0
    buffer_size = min(BUFFER, file.size + 2 * _ALIGNMENT - file.size % _ALIGNMENT)
    with mmap.mmap(-1, buffer_size) as buffer, memoryview(buffer) as view:
        while size == file.size and done < size:
            # a read may begin and end anywhere, but direct reads begin at whole blocks
            ahead = (begin + done) % _ALIGNMENT
            count = os.preadv(fd, [buffer], begin + done - ahead)
            with view[ahead : min(count, ahead + size - done)] as data:
                if not data:
                    size = done
                sha256.update(data)
                done += len(data)
                advance(len(data))
    if size != file.size:
        raise SizeMismatchError(
            "the medium does not hold what was written",
            subject=file.path,
            want=f"{file.size:,} bytes",
            got=f"{size:,}",
        )


@contextlib.contextmanager
def _opened(path: Path, flags: int = 0) -> Iterator[int]:
    try:
        fd = os.open(path, _READ | flags)
    except FileNotFoundError as error:
        raise MissingContentError("the medium has lost a file", subject=path) from error
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UnlistedContentError("not a regular file", subject=path) from error
    with closing_file(fd, path, "cannot read back"):
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise UnlistedContentError("not a regular file", subject=path)
        yield fd


def _drop_file_cache(file: Written) -> None:
    """Make the kernel write the cached pages of a file, and then drop them."""
    with (
        media_errors("cannot write", file.path),
        contextlib.suppress(IntegrityError),
        _opened(file.path) as fd,
    ):
        os.fsync(fd)
        _drop_pages(fd)


def _drop_device_cache(device: Device) -> None:
    """Drop the cached pages of a whole device, because FUSE programs read it through the cache.

    Only root may do so; for other users, later reads count as cached.
    """
    with contextlib.suppress(OSError):
        fd = os.open(device.roots.dev / device.name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _drop_pages(fd)
        finally:
            os.close(fd)


def _drop_pages(fd: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _has_read(medium: Medium, before: int | None, size: int) -> bool:
    """Return whether the device counts as many read bytes as the FUSE program delivered."""
    device = medium.device
    after = device.bytes_read if device else None
    if device is None or before is None or after is None or any(disk.is_cached for disk in device.disks()):
        return False
    return after - before >= size


def _is_resident(fd: int, size: int) -> bool:
    """Return whether the cache holds any of some sampled pages of a file, or does not report it."""
    if not _NOWAIT:
        return True
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # reading a page must not load its neighbours
    for _ in range(_ATTEMPTS):
        if not _has_pages(fd, size):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            return False
        _drop_pages(fd)
    return True


def _has_pages(fd: int, size: int) -> bool:
    page = bytearray(1)
    for offset in range(0, size, max(size // _SAMPLES, _ALIGNMENT)):
        try:
            os.preadv(fd, [page], offset, _NOWAIT)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                continue
            if error.errno != errno.EOPNOTSUPP:
                raise
        return True
    return False
