"""The folders of a bundle while it is written: real ones, and ours alone.

A medium that comes from elsewhere may have links prepared in the place of folders, which would lead what is
written, and what is removed, to other files of this machine. They are looked for once, before the first
change: a medium that grows links while it is written is not defended against.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from airgap.bundle.contents import FOLDERS
from airgap.bundle.files import closing_file, make_folder, media_errors
from airgap.durable import NO_LOCKS
from airgap.errors import AirgapError, MediaError, UnlistedContentError, UsageError


@contextlib.contextmanager
def claimed(folders: Sequence[Path], below: Collection[str] = FOLDERS) -> Iterator[None]:
    """Make the folders of a bundle, and keep other processes from writing to them; those that are still
    empty in the end go away again. `below`: the folders in each of them.

    Raises `UsageError` when one is at it, and `UnlistedContentError` for a link in the place of a folder;
    `MediaError`, instead of what went wrong inside, when the medium is not there any more. A process
    that dies lets go.
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
        # Only what is empty: another medium may be there by now.
        for path in (*(folder / name for name in sorted(below, reverse=True)), folder):
            with contextlib.suppress(OSError):
                path.rmdir()
        raise MediaError(
            "the medium is gone",
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
    """The device of the nearest folder that exists; None where that cannot be asked."""
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
    """Wait until no other thread or process is in here with this folder; it is made where it is missing."""
    with media_errors("cannot write", folder):
        make_folder(folder)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with closing_file(fd, folder):
        with media_errors("cannot lock", folder):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield


def lock(fd: int, path: Path) -> None:
    """Lock an open file or folder as long as it is open. File systems without locks are let be."""
    with media_errors("cannot lock", path):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                "another airgap is writing there",
                subject=path,
                hint="wait until it has ended, then run this command again",
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise


def _refuse_other_than_folder(path: Path) -> None:
    with media_errors("cannot look at", path):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
    if not stat.S_ISDIR(mode):
        raise UnlistedContentError(
            "not a folder",
            subject=path,
            got="a link" if stat.S_ISLNK(mode) else "something else",
            hint="this is not as airgap left it: look at the medium before anything is written to it",
        )
