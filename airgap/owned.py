"""Reads the files of AIRGAP_HOME, and checks their owners and modes.

As ssh does with its own files, airgap refuses a file that another user owns or can write. Keys, trust roots,
marks and the ledger decide what is trusted; a user who can change them could decide it instead.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path

from airgap.errors import AirgapError, FormatError, MediaError, TrustError

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_NO_MODES = (
    "; mount a file system without owners and modes (FAT) with `-o uid=…,umask=077`; run a "
    "container as the owner"
)


def read_owned(path: Path, limit: int) -> bytes:
    """Return the content of a file of AIRGAP_HOME, of at most `limit` bytes.

    Raises `TrustError` for a link, for anything else that is not a regular file, and as `refuse_shared`
    does; `FormatError` for a larger file; `MediaError` when the file is absent or the disk fails.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _other_kind(path, "a regular file") from error
        raise MediaError.of(error, "cannot read", path) from error
    try:
        refuse_shared(os.fstat(fd), path)
        with os.fdopen(fd, "rb", closefd=False) as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise MediaError.of(error, "cannot read", path) from error
    finally:
        with contextlib.suppress(OSError):  # nothing was written
            os.close(fd)
    if len(raw) > limit:
        raise FormatError("too large", subject=path, want=f"at most {limit:,} bytes")
    return raw


def refuse_shared(status: os.stat_result, path: Path, raises: type[AirgapError] = TrustError) -> None:
    """Raise for a file that is not a regular file, that another user owns, or that others can write."""
    if not stat.S_ISREG(status.st_mode):
        raise _other_kind(path, "a regular file", raises)
    refuse_owner(status, path, raises)
    if status.st_mode & _OTHERS:
        _refuse_mode(status, path, raises, 0o644)


def refuse_shared_folder(path: Path, *, home: bool) -> None:
    """Raise `TrustError` for a folder of AIRGAP_HOME, or for the `home` itself, that others own or can write.

    The home may be a link, its folders must not. A folder that the group can write is accepted below a home
    that the group cannot enter, because a umask of 002 makes such folders.
    """
    try:
        status = path.stat() if home else path.lstat()
        closed = home or not path.parent.stat().st_mode & stat.S_IXGRP
    except FileNotFoundError:
        return
    except OSError as error:
        raise MediaError.of(error, "cannot read", path) from error
    if not stat.S_ISDIR(status.st_mode):
        raise _other_kind(path, "a folder")
    refuse_owner(status, path)
    others = _OTHERS if home or not closed else stat.S_IWOTH
    if status.st_mode & others:
        _refuse_mode(status, path, TrustError, 0o700)


def refuse_owner(status: os.stat_result, path: Path, raises: type[AirgapError] = TrustError) -> None:
    """Raise for a file or folder that belongs neither to root nor to this user, nor to the user who became
    root with sudo: root then works in that user's home.
    """
    trusted = {0, os.geteuid()}
    claimed = os.environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and claimed.isascii() and claimed.isdigit():
        trusted.add(int(claimed))
    if status.st_uid not in trusted:
        want = f"owner {' or '.join(f'uid {uid}' for uid in sorted(trusted))}"
        hint = f"another user could have written it: inspect it, then correct it with `chown`{_NO_MODES}"
        raise raises(
            "belongs to another user", subject=path, want=want, got=f"uid {status.st_uid}", hint=hint
        )


def _refuse_mode(status: os.stat_result, path: Path, raises: type[AirgapError], max_mode: int) -> None:
    mode = stat.S_IMODE(status.st_mode)
    raise raises(
        "writable by other users", subject=path, want=f"mode {max_mode:04o}", got=f"mode {mode:04o}",
        hint=f"chmod {max_mode:o} {path}, but inspect its content first{_NO_MODES}",
    )  # fmt: skip


def _other_kind(path: Path, want: str, raises: type[AirgapError] = TrustError) -> AirgapError:
    got = "a link" if path.is_symlink() else "another kind of file"
    hint = "airgap did not write it like this: restore it from a backup, or see `airgap audit settle --help`"
    return raises(f"not {want}", subject=path, want=want, got=got, hint=hint)
