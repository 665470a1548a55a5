"""What a file system may not be able to do: to make names durable, and to keep locks."""

import errno
import os
from pathlib import Path

_NOTHING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
"""From fsync of a folder: CIFS, 9p, vboxsf and some file systems of programs (FUSE) know none."""

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EINVAL})
"""From flock(2): NFS without its lock service, CIFS, and file systems of programs."""

LOCKS_HINT = (
    "the file system there keeps no locks, as NFS without its lock service and some CIFS mounts: use a "
    "folder on a local disk (AIRGAP_HOME names the one for airgap's own files)"
)


def exists(path: Path, *, follow: bool = True) -> bool:
    """Whether there is anything at `path`; links are followed, unless a link itself is something too. Raises
    `OSError` when the system cannot tell.

    `Path.exists` answers no then, from Python 3.14 on: a disk that fails would have no ledger and no marks.
    """
    try:
        path.stat(follow_symlinks=follow)
    except OSError as error:
        if error.errno not in _NOTHING:
            raise
        return False
    return True


def sync_names(fd: int) -> None:
    """Make the names in an open folder durable, where its file system can. Raises `OSError`."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def sync_folder(path: Path) -> None:
    """As `sync_names`, of the folder at `path`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_names(fd)
    finally:
        os.close(fd)
