"""Who runs this process, and where their own files are: one answer for the ledger, receipts, keys and SSH.

The kernel knows the user; the environment says whatever somebody has put there. So records name the
kernel's user, and what login sessions and sudo say of the person behind it is kept apart, as a claim.
"""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from airgap.errors import UsageError
from airgap.hiding import hide

LOGIN_UID = Path("/proc/self/loginuid")
"""Set once when somebody logs in and kept through su and sudo (pam_loginuid(8)); root can set it."""

_NOT_SET = 0xFFFFFFFF
"""The login's user of services and of most containers."""
_UIDS = ("SUDO_UID", "PKEXEC_UID")
_NAMES = ("SUDO_USER", "DOAS_USER")
_MAX_NAME = 256


def user_name(uid: int | None = None) -> str:
    """The name of a user (None: of the one that the kernel runs this process as), or `uid 1234` where the
    user database has no name, as for the arbitrary user IDs of containers.
    """
    uid = os.getuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid {uid}"


def required_name(hint: str) -> str:
    """The name of this user; raises `UsageError` where it has none, with the `hint` how to do without."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError as error:
        raise UsageError(
            "this user has no name in the user database", subject=user_name(), hint=hint
        ) from error


def claimed_user(environ: Mapping[str, str] = os.environ, login: Path | None = None) -> str | None:
    """The person who became this user by su, sudo, doas or pkexec, as far as something says so; None where
    nothing does, or it is the user itself.

    A claim: everybody sets their own environment, and root sets `login` (else `LOGIN_UID`) too.
    """
    found = _login_uid(LOGIN_UID if login is None else login)
    uids = (uid for uid in (found, *(_uid(environ.get(key, "")) for key in _UIDS)) if uid < _NOT_SET)
    names = (text for key in _NAMES if (text := environ.get(key, "")))
    name = next((user_name(uid) for uid in uids), next(names, None))
    return None if name is None or name == user_name() else hide(name[:_MAX_NAME])


def home_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The user's own folder: `HOME`, else that of the user database; None where there is neither."""
    if home := environ.get("HOME"):
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir or os.sep)
    except KeyError:
        return None


def required_home(what: str, hint: str) -> Path:
    """`home_folder`; raises `UsageError`, which says for `what` it is needed and how to do without."""
    home = home_folder()
    if home is None:
        raise UsageError(
            "this user has no home folder", subject=user_name(), want=f"HOME, for {what}", hint=hint
        )
    return home


def _login_uid(path: Path) -> int:
    try:
        return _uid(path.read_text("ascii").strip("\0\n "))
    except (OSError, UnicodeDecodeError):
        return _NOT_SET


def _uid(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else _NOT_SET
