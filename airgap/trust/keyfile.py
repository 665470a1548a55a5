"""Reads and writes private key files: refused if other users can read them, written whole or not at all."""

import os
import stat
from pathlib import Path

from airgap.durable import sync_folder
from airgap.errors import KeyFileError, MediaError, disk_failed
from airgap.limits import MAX_KEY_FILE_BYTES
from airgap.owned import refuse_owner

_OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


def read_private(path: Path) -> bytes:
    """Return the bytes of the key file at `path`.

    Raises `KeyFileError` for anything but a regular file (also for a link, so that the file that was checked
    is the file that is read), for a file that another user owns or that group or others can read or write,
    and for a file above `MAX_KEY_FILE_BYTES`; `MediaError` when the disk fails.
    """
    try:
        # O_NONBLOCK: open must not wait if the path is a pipe; a pipe is refused below
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check(os.fstat(descriptor), path)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                raw = file.read(MAX_KEY_FILE_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        if disk_failed(error):
            raise MediaError.of(error, "cannot read the key file", path) from error
        got = "a symbolic link" if path.is_symlink() else error.strerror
        raise KeyFileError("cannot read the key file", subject=path, got=got) from error
    if len(raw) > MAX_KEY_FILE_BYTES:
        raise KeyFileError("key file too large", subject=path, want=f"at most {MAX_KEY_FILE_BYTES:,} bytes")
    return raw


def _check(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError("not a key file", subject=path, want="a regular file")
    refuse_owner(status, path, KeyFileError)
    if status.st_mode & _OTHERS:
        raise KeyFileError(
            "other users can access the key file", subject=path, want="mode 0600",
            got=f"mode {stat.S_IMODE(status.st_mode):04o}", hint=f"chmod 600 {path}",
        )  # fmt: skip


def write_private(path: Path, raw: bytes) -> None:
    """Create `path` with mode 0600 and make it durable; after an error no file is left.

    Raises `KeyFileError` if `path` exists, because a key is never overwritten; `MediaError` when the disk
    fails.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise KeyFileError(
            "a key is never overwritten", subject=path, hint="choose another name, or move the old key away"
        ) from error
    except OSError as error:
        raise MediaError.of(error, "cannot create the key file", path) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(descriptor)
        sync_folder(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise MediaError.of(error, "cannot write the key file", path) from error
