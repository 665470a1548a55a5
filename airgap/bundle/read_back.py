"""Reading back what was written, past the cache: what the medium holds, not what the kernel remembers.

The whole is read after the last write and in the order of the writes: a medium that pretends to be larger
than it is writes its end over its beginning, and each file would pass right after it was written.
"""

import contextlib
import errno
import hashlib
import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from airgap.workers import run_all

BUFFER = 4 << 20
_ALIGNMENT = 4096
_SAMPLES = 256
_ATTEMPTS = 3
"""The kernel does not drop a page that something else holds for a moment."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Linux only; elsewhere everything is read through the cache, and said to be
_DIRECT = getattr(os, "O_DIRECT", 0)
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written: what must be found in it."""

    path: Path
    sha256: str
    """In hex."""
    size: int
    offset: int | None = None
    """Where it begins in a file that holds more, such as a tar; None for a file of its own."""

    @classmethod
    def of(cls, path: Path, raw: bytes) -> Self:
        """A small file."""
        return cls(path, hashlib.sha256(raw).hexdigest(), len(raw))


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What reading back found."""

    files: int
    bytes: int
    cached: bool
    """Some of it may have come out of a cache: it must not be claimed that the medium itself was read."""
    wrong: tuple[IntegrityError, ...]
    """Every file that is not as it was written, in order."""


def read_back(files: Sequence[Written], medium: Medium, advance: Advance, jobs: int = 1) -> ReadBack:
    """Read all `files`, which lie on `medium`, and compare.

    Nothing may be written meanwhile. `jobs` above 1 helps fast disks only. Raises `MediaError` for what
    cannot be read at all. It does not see caches inside the device: for those, unplug it and verify again.
    """
    for file in files:
        _forget(file)
    names = {folder: _names(folder) for folder in dict.fromkeys(file.path.parent for file in files)}
    device = medium.device
    if device and not medium.is_direct:
        _forget_device(device)
    before = device.bytes_read if device else None
    resident = [False] * len(files)

    def check(number: int) -> None:
        file = files[number]
        resident[number] = _check(file, advance)
        if file.path.name not in names[file.path.parent]:
            raise MissingContentError(
                "the medium gives the file another name", subject=file.path, hint="use another file system"
            )

    errors = run_all(check, range(len(files)), jobs)
    wrong = [error for error in errors if isinstance(error, IntegrityError)]
    for error in errors:
        if error is not None and error not in wrong:
            raise error
    total = sum(file.size for file in files)
    direct = medium.is_direct or _has_read(medium, before, total)
    return ReadBack(len(files), total, any(resident) or not direct, tuple(wrong))


def _names(folder: Path) -> frozenset[str]:
    """As the medium lists them: some file systems find a file also under names that they do not give it."""
    with media_errors("cannot read back", folder):
        try:
            return frozenset(path.name for path in folder.iterdir())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingContentError("the medium has lost a folder", subject=folder) from error


def _check(file: Written, advance: Advance) -> bool:
    """Read a file to its end and compare; whether some of it may have been in the cache."""
    sha256 = hashlib.sha256()
    with media_errors("cannot read back", file.path):
        try:
            with _opened(file.path, _DIRECT) as fd:
                _hash(fd, file, sha256, advance)
                resident = not _DIRECT
        except OSError as error:
            if error.errno != errno.EINVAL or not _DIRECT:
                raise
            # a file system that cannot do it says so when the file is opened, or when it is first read
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
    found = os.fstat(fd).st_size
    begin = file.offset or 0
    size = found if file.offset is None else min(max(found - begin, 0), file.size)
    done = 0
    room = min(BUFFER, file.size + 2 * _ALIGNMENT - file.size % _ALIGNMENT)
    with mmap.mmap(-1, room) as buffer, memoryview(buffer) as view:
        while size == file.size and done < size:
            # a read may begin and end anywhere, but direct reads begin at whole blocks
            ahead = (begin + done) % _ALIGNMENT
            got = os.preadv(fd, [buffer], begin + done - ahead)
            with view[ahead : min(got, ahead + size - done)] as data:
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


def _forget(file: Written) -> None:
    """Have the kernel write what it still holds of a file, and then drop it."""
    with (
        media_errors("cannot write", file.path),
        contextlib.suppress(IntegrityError),
        _opened(file.path) as fd,
    ):
        os.fsync(fd)
        _drop(fd)


def _forget_device(device: Device) -> None:
    """The same for all of a device: a program that presents it (FUSE) reads it through the cache.

    Only root may; without, what is read afterwards counts as cached.
    """
    with contextlib.suppress(OSError):
        fd = os.open(device.roots.dev / device.name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _drop(fd)
        finally:
            os.close(fd)


def _drop(fd: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _has_read(medium: Medium, before: int | None, size: int) -> bool:
    """Whether the device itself counts as many bytes as were read from the program that presents it."""
    device = medium.device
    after = device.bytes_read if device else None
    if device is None or before is None or after is None or any(disk.is_cached for disk in device.disks()):
        return False
    return after - before >= size


def _is_resident(fd: int, size: int) -> bool:
    """Whether the cache holds any of some pages of a file, or will not say."""
    if not _NOWAIT:
        return True
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # a page that is asked for must not bring its neighbours
    for _ in range(_ATTEMPTS):
        if not _has_pages(fd, size):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            return False
        _drop(fd)
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
