"""Durable content, names and locks, and file systems that do not support them."""

import contextlib
import errno
import os
from pathlib import Path

_NOTHING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
"""Errors of fsync on a folder where it is not supported: CIFS, 9p, vboxsf and some FUSE file systems."""

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EINVAL})
"""Errors of flock(2) where not supported: NFS without its lock service, CIFS, some FUSE file systems."""

_WRITE_BACK_BYTES = 16 << 20
"""Bytes that are written to the medium together."""

LOCKS_HINT = (
    "this file system does not support locks (NFS without its lock service, some CIFS mounts): use a "
    "folder on a local disk (AIRGAP_HOME names the one for airgap's own files)"
)


def exists(path: Path, *, follow: bool = True) -> bool:
    """Return whether `path` exists. With `follow=False` a symbolic link exists even if its target does not.
    Raises `OSError` when the system cannot answer.

    From Python 3.14 on, `Path.exists` returns False then: on a failing disk, the ledger and the marks would
    seem to be absent.
    """
    try:
        path.stat(follow_symlinks=follow)
    except OSError as error:
        if error.errno not in _NOTHING:
            raise
        return False
    return True


class WriteBack:
    """Lets the kernel begin to write a file to its medium while more is written to it, so that `fsync` at the
    end has little left to do. It makes nothing durable, and errors are left to that `fsync`.
    """

    def __init__(self, fd: int, position: int) -> None:
        """`position` is the offset in the open file `fd` of the first byte that will be added."""
        self._fd = fd
        self._start = self._end = position

    def add(self, size: int) -> None:
        """Count `size` bytes that were written next."""
        self._end += size
        if self._end - self._start >= _WRITE_BACK_BYTES:
            if hasattr(os, "posix_fadvise"):
                # Linux begins to write what is not on the medium yet, and drops what is
                with contextlib.suppress(OSError):
                    os.posix_fadvise(self._fd, self._start, self._end - self._start, os.POSIX_FADV_DONTNEED)
            self._start = self._end


def sync_names(fd: int) -> None:
    """Make the names in an open folder durable, if its file system supports that. Raises `OSError`."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def sync_folder(path: Path) -> None:
    """Do the same as `sync_names` for the folder at `path`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_names(fd)
    finally:
        os.close(fd)
