"""Locks the folders of a bundle while it is written, and checks that they are real folders.

A medium from elsewhere may have links instead of folders, which would make airgap write or remove other files
of this machine. The check for links runs once, before the first change: it does not protect against a medium
that creates links while it is written.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from airgap.bundle.files import BUNDLE_FOLDERS, closing_file, make_folder, media_errors
from airgap.durable import NO_LOCKS
from airgap.errors import AirgapError, MediaError, UnlistedContentError, UsageError


@contextlib.contextmanager
def claimed(folders: Sequence[Path], below: Collection[str] = BUNDLE_FOLDERS) -> Iterator[None]:
    """Make the folders of a bundle, and lock them against other processes; folders that are empty at the end
    are removed. `below` are the names of the folders in each of them.

    Raises `UsageError` if another process has the lock, and `UnlistedContentError` for a link instead of a
    folder. If the medium was removed, raises `MediaError` instead of the block's own error. If the process
    ends, so does the lock.
    """
    with contextlib.ExitStack() as stack:
        for folder in folders:
            stack.enter_context(_claimed(folder, below))
        yield


@contextlib.contextmanager
def _claimed(folder: Path, below: Collection[str]) -> Iterator[None]:
    with media_errors("cannot create", folder):
        make_folder(folder)
    for path in (folder, *(folder / name for name in below)):
        _refuse_other_than_folder(path)
    with media_errors("cannot lock", folder):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        lock(fd, folder)
        yield
    except AirgapError as error:
        if _device_at(folder) == os.fstat(fd).st_dev:
            raise
        # Remove only empty folders: another medium may be mounted now.
        for path in (*(folder / name for name in sorted(below, reverse=True)), folder):
            with contextlib.suppress(OSError):
                path.rmdir()
        raise MediaError(
            "the medium was removed",
            subject=folder.parent,
            got=str(error),
            hint="plug it in again, mount it at the same place, and run the same command again",
        ) from error
    finally:
        with contextlib.suppress(OSError):  # nothing was written through it
            os.close(fd)
        with contextlib.suppress(OSError):
            folder.rmdir()


def _device_at(folder: Path) -> int | None:
    """Return the device of the nearest existing folder; None if it cannot be read."""
    for path in (folder, *folder.parents):
        try:
            return path.stat().st_dev
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other thread or process holds this folder; a missing folder is made."""
    with media_errors("cannot write", folder):
        make_folder(folder)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with closing_file(fd, folder):
        with media_errors("cannot lock", folder):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield


def lock(fd: int, path: Path, busy: UsageError | None = None, *, required: bool = False) -> None:
    """Lock an open file or folder until it is closed.

    Raises:
        UsageError: Another process has the lock. `busy` is raised instead, if it is given.
        MediaError: The file system has no locks, and the lock is `required`; otherwise nothing is locked.
    """
    with media_errors("cannot lock", path):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy or UsageError(
                "another airgap process is writing there",
                subject=path,
                hint="wait until it has finished, then run this command again",
            ) from error
        except OSError as error:
            if required or error.errno not in NO_LOCKS:
                raise


def _refuse_other_than_folder(path: Path) -> None:
    with media_errors("cannot read", path):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
    if not stat.S_ISDIR(mode):
        raise UnlistedContentError(
            "not a folder",
            subject=path,
            got="a link" if stat.S_ISLNK(mode) else "another kind of file",
            hint="airgap does not write bundles in this form: inspect the medium before you write to it",
        )
