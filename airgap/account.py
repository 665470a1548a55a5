"""The user of this process, their home folder, and AIRGAP_HOME, for the ledger, receipts, keys and SSH.

Only the kernel knows the user for certain; anyone can set the environment. Records therefore name the user
that the kernel reports. What login sessions and sudo report about the person behind it is recorded
separately, as a claim.
"""

import os
import pwd
import sys
from collections.abc import Mapping
from pathlib import Path

from airgap.errors import UsageError
from airgap.hiding import LOGIN_HINT, has_secret, hide

LOGIN_UID = Path("/proc/self/loginuid")
"""Set once at login and kept through su and sudo (pam_loginuid(8)); root can change it."""

_NOT_SET = 0xFFFFFFFF
"""The login user ID of services and of most containers."""
_UIDS = ("SUDO_UID", "PKEXEC_UID")
_NAMES = ("SUDO_USER", "DOAS_USER")
_MAX_NAME = 256

ELSEWHERE = "set AIRGAP_HOME to a permanent folder that you own and can write"


def user_name(uid: int | None = None) -> str:
    """Return the name of a user (None: of the user that runs this process), or `uid 1234` if the user
    database has no name for it, which is common in containers.
    """
    uid = os.getuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid {uid}"


def required_name(hint: str) -> str:
    """Return the name of this user; raises `UsageError` with `hint` if it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError as error:
        raise UsageError(
            "this user has no name in the user database", subject=user_name(), hint=hint
        ) from error


def claimed_user(environ: Mapping[str, str] = os.environ, login: Path | None = None) -> str | None:
    """Return the user who became this user with su, sudo, doas or pkexec; None if that is not recorded
    anywhere, or if it is the same user.

    This is only a claim: any user can set the environment, and root can set `login` (default: `LOGIN_UID`).
    """
    login_uid = _login_uid(LOGIN_UID if login is None else login)
    uids = (uid for uid in (login_uid, *(_uid(environ.get(key, "")) for key in _UIDS)) if uid < _NOT_SET)
    names = (text for key in _NAMES if (text := environ.get(key, "")))
    name = next((user_name(uid) for uid in uids), next(names, None))
    return None if name is None or name == user_name() else hide(name[:_MAX_NAME])


def home_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the user's home folder: `HOME`, else that of the user database; None if both are missing."""
    if home := environ.get("HOME"):
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir or os.sep)
    except KeyError:
        return None


def required_home(what: str, hint: str) -> Path:
    """Return `home_folder`; raises `UsageError`, which says that `what` needs it, if it is None."""
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


def default_home() -> Path:
    """Return `AIRGAP_HOME`, else the user's data folder. Raises `UsageError` if both are missing."""
    if home := os.environ.get("AIRGAP_HOME"):
        if has_secret(home):
            raise UsageError(
                "a password or token in AIRGAP_HOME", want="the path of a folder", hint=LOGIN_HINT
            )
        return Path(home)
    if sys.platform != "darwin" and (data := os.environ.get("XDG_DATA_HOME")):
        return Path(data) / "airgap"
    own = required_home("airgap's keys and ledger", ELSEWHERE)
    if sys.platform == "darwin":
        return own / "Library" / "Application Support" / "airgap"
    return own / ".local" / "share" / "airgap"
