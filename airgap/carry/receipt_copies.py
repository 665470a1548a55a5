"""Copies a receipt onto the medium that its bundle came on, so that it goes home with the medium.

The medium is not trusted: no link is followed below the folder that holds the bundle, and no file of another
content is replaced. A copy that cannot be written never fails the load.
"""

import itertools
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from airgap.bundle.files import closing_file, media_errors, write_all
from airgap.bundle.locks import lock
from airgap.bundle.volumes import BundleLocation, paths_of
from airgap.durable import exists, sync_names
from airgap.errors import AirgapError, MediaError, UsageError
from airgap.limits import MAX_RECEIPT_FOLDER_NAMES
from airgap.oci.digest import Digest
from airgap.values import dataclass

RECEIPTS_FOLDER = "receipts"
"""The folder beside a bundle; no part of it (FORMAT.md §10)."""
RECEIPT_SUFFIX = ".receipt.json"

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class ReceiptCopy:
    """A copy of a receipt, or why there is none."""

    path: Path
    """The file, or the folder in which it could not be written."""
    error: AirgapError | None = None


CopyReceipt = Callable[[str, bytes], tuple[ReceiptCopy, ...]]
"""Copies a receipt, given its file name and its bytes."""


def copy_beside(location: BundleLocation, name: str, raw: bytes) -> tuple[ReceiptCopy, ...]:
    """Copy a receipt into the folder `receipts` beside each path of a bundle that is still there."""
    parents: dict[Path, Path] = {}
    for path in map(Path, map(os.path.abspath, paths_of(location))):
        with suppress(OSError):
            if exists(path):
                parents.setdefault(path.parent, path)
    return tuple(_copy_beside(path, name, raw) for path in parents.values())


def _copy_beside(path: Path, name: str, raw: bytes) -> ReceiptCopy:
    folder = path.parent / RECEIPTS_FOLDER
    try:
        with media_errors("cannot write", folder):
            _refuse_other_medium(path)
            with _opened(path.parent) as parent, _made(parent, folder) as fd:
                return ReceiptCopy(folder / _write(fd, folder, name, raw))
    except AirgapError as error:
        return ReceiptCopy(folder, error)


def copy_into(folder: Path, name: str, raw: bytes) -> tuple[ReceiptCopy, ...]:
    """Copy a receipt into a folder that a person has named."""
    try:
        with media_errors("cannot write", folder), _opened(folder) as fd:
            return (ReceiptCopy(folder / _write(fd, folder, name, raw)),)
    except AirgapError as error:
        return (ReceiptCopy(folder, error),)


def check_folder(folder: Path) -> None:
    """Raise `UsageError` unless `folder` is a folder in which this user may write."""
    if not folder.is_dir():
        raise UsageError("not a folder", subject=folder, hint="make it first, or name another one")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError("the folder cannot be written", subject=folder, hint="name another one")


def _refuse_other_medium(path: Path) -> None:
    """Raise `MediaError` if the bundle is a whole medium: what is beside it is on another one."""
    if path.stat().st_dev != path.parent.stat().st_dev:
        raise MediaError(
            "the bundle fills its whole medium", subject=path,
            hint="--receipt-to DIR copies the receipt to another folder",
        )  # fmt: skip


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    with closing_file(os.open(folder, _OPEN), folder) as fd:
        yield fd


@contextmanager
def _made(parent: int, folder: Path) -> Iterator[int]:
    """Open the folder below `parent`, which is made if it is missing; a link is not followed."""
    with suppress(FileExistsError):
        os.mkdir(folder.name, dir_fd=parent)
        sync_names(parent)
    try:
        fd = os.open(folder.name, _OPEN | os.O_NOFOLLOW, dir_fd=parent)
    except NotADirectoryError as error:
        raise MediaError("not a folder", subject=folder) from error
    with closing_file(fd, folder):
        _remove_abandoned(fd, folder)
        yield fd


def _remove_abandoned(folder_fd: int, folder: Path) -> None:
    """Remove the unfinished files of processes that were killed, unless another process is writing here."""
    try:
        lock(folder_fd, folder)
    except UsageError:
        return
    with os.scandir(folder_fd) as entries:
        names = [entry.name for entry in itertools.islice(entries, MAX_RECEIPT_FOLDER_NAMES)]
    for name in names:
        if name.endswith(f"{RECEIPT_SUFFIX}.part"):
            with suppress(OSError):
                os.unlink(name, dir_fd=folder_fd)


def _write(folder_fd: int, folder: Path, name: str, raw: bytes) -> str:
    """Write the file whole or not at all, durably, and return its name: a longer one if another file has
    that name.
    """
    if _has(folder_fd, name):
        if _holds(folder_fd, name, raw):
            return name
        name = f"{name.removesuffix(RECEIPT_SUFFIX)}-{Digest.of(raw).hex[:8]}{RECEIPT_SUFFIX}"
    part = f"{name}.part"
    with suppress(FileNotFoundError):
        os.unlink(part, dir_fd=folder_fd)
    try:
        with closing_file(os.open(part, _CREATE, 0o644, dir_fd=folder_fd), folder / name) as fd:
            write_all(fd, raw)
            os.fsync(fd)
        os.replace(part, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        sync_names(folder_fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(part, dir_fd=folder_fd)
        raise
    return name


def _has(folder_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _holds(folder_fd: int, name: str, raw: bytes) -> bool:
    """Return whether the name is a regular file with these bytes."""
    try:
        fd = os.open(name, _READ, dir_fd=folder_fd)
    except OSError:
        return False
    with closing_file(fd, name, "cannot read"):
        return stat.S_ISREG(os.fstat(fd).st_mode) and os.pread(fd, len(raw) + 1, 0) == raw
