"""The files of AIRGAP_HOME: whose they are, who else may change them, and how they are read.

As ssh does with its own files: a file that somebody else owns or may write is not used. Keys, trust roots,
marks and the ledger decide what is trusted; whoever can change them decides instead.
"""

import errno
import os
import stat
from pathlib import Path

from airgap.errors import AirgapError, FormatError, MediaError, TrustError

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_NO_MODES = (
    "; a file system without owners and modes (FAT) is mounted with `-o uid=…,umask=077`, and a "
    "container runs as the owner"
)


def read_owned(path: Path, limit: int) -> bytes:
    """The whole of one of our own files, of at most `limit` bytes.

    Raises `TrustError` for a link, for anything else that is not a regular file, and as `refuse_shared`
    does; `FormatError` for a larger one; `MediaError` when the disk fails, also for a file that is absent.
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
        os.close(fd)
    if len(raw) > limit:
        raise FormatError("too large", subject=path, want=f"at most {limit:,} bytes")
    return raw


def refuse_shared(found: os.stat_result, path: Path, raises: type[AirgapError] = TrustError) -> None:
    """Raise for a file that is not a regular one, that another user owns, or that others can write."""
    if not stat.S_ISREG(found.st_mode):
        raise _other_kind(path, "a regular file", raises)
    refuse_owner(found, path, raises)
    if found.st_mode & _OTHERS:
        _refuse_mode(found, path, raises, 0o644)


def refuse_shared_folder(path: Path, *, home: bool) -> None:
    """Raise `TrustError` for a folder of AIRGAP_HOME, or for the `home` itself, that others own or can write.

    The home may be a link, its folders may not. A folder that the group can write is let pass below a home
    that the group cannot enter: a umask of 002 makes such folders.
    """
    try:
        found = path.stat() if home else path.lstat()
        closed = home or not path.parent.stat().st_mode & stat.S_IXGRP
    except FileNotFoundError:
        return
    except OSError as error:
        raise MediaError.of(error, "cannot read", path) from error
    if not stat.S_ISDIR(found.st_mode):
        raise _other_kind(path, "a folder")
    refuse_owner(found, path)
    others = _OTHERS if home or not closed else stat.S_IWOTH
    if found.st_mode & others:
        _refuse_mode(found, path, TrustError, 0o700)


def refuse_owner(found: os.stat_result, path: Path, raises: type[AirgapError] = TrustError) -> None:
    """Raise for a file or folder that belongs neither to root nor to this user, nor to whoever became root
    by sudo: root works in that person's home then.
    """
    trusted = {0, os.geteuid()}
    claimed = os.environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and claimed.isascii() and claimed.isdigit():
        trusted.add(int(claimed))
    if found.st_uid not in trusted:
        want = f"owner {' or '.join(f'uid {uid}' for uid in sorted(trusted))}"
        hint = f"look at it first: somebody else could have written it; `chown` gives it back{_NO_MODES}"
        raise raises("belongs to another user", subject=path, want=want, got=f"uid {found.st_uid}", hint=hint)


def _refuse_mode(found: os.stat_result, path: Path, raises: type[AirgapError], most: int) -> None:
    mode = stat.S_IMODE(found.st_mode)
    raise raises(
        "open to other users", subject=path, want=f"mode {most:04o}", got=f"mode {mode:04o}",
        hint=f"chmod {most:o} {path}, after a look at what is in it{_NO_MODES}",
    )  # fmt: skip


def _other_kind(path: Path, want: str, raises: type[AirgapError] = TrustError) -> AirgapError:
    got = "a link" if path.is_symlink() else "something else"
    hint = "it is not as airgap left it: put it back from a backup, or see `airgap audit settle --help`"
    return raises(f"not {want}", subject=path, want=want, got=got, hint=hint)
