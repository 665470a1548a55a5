"""Who runs this process: the kernel's answer, and what is only claimed."""

import os
import pwd
from pathlib import Path

import pytest

from airgap import account
from airgap.account import claimed_user, home_folder, required_home, required_name, user_name
from airgap.errors import UsageError

ME = pwd.getpwuid(os.getuid()).pw_name
UNKNOWN = 1_234_567_890
"""No user has this ID."""


@pytest.fixture
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under an arbitrary user ID."""
    monkeypatch.setattr(account.os, "getuid", lambda: UNKNOWN)


def login(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "loginuid"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["LOGNAME", "USER", "LNAME", "USERNAME"])
def test_the_environment_does_not_name_the_user(name, monkeypatch):
    monkeypatch.setenv(name, "mallory")
    assert user_name() == ME
    assert claimed_user() is None


@pytest.mark.parametrize("uid", [UNKNOWN, 2**32 - 1, 2**31, 10**30])
def test_a_user_without_a_name(uid):
    assert user_name(uid) == f"uid {uid}"


def test_an_arbitrary_user_id(unnamed):
    assert user_name() == f"uid {UNKNOWN}"
    with pytest.raises(UsageError, match=f"no name in the user database: uid {UNKNOWN}") as caught:
        required_name("say --owner")
    assert caught.value.hint == "say --owner"


@pytest.mark.parametrize(
    ("environ", "logged_in", "want"),
    [
        ({}, "4294967295", None),
        ({}, "", None),
        ({}, "not a number", None),
        ({}, str(os.getuid()), None),
        ({}, f"{UNKNOWN}\n", f"uid {UNKNOWN}"),
        ({"SUDO_UID": str(UNKNOWN), "SUDO_USER": "alice"}, "4294967295", f"uid {UNKNOWN}"),
        ({"SUDO_UID": str(UNKNOWN), "SUDO_USER": "alice"}, "1234567", "uid 1234567"),
        ({"SUDO_UID": "x", "SUDO_USER": "alice"}, "4294967295", "alice"),
        ({"SUDO_UID": "٣", "SUDO_USER": "alice"}, "4294967295", "alice"),
        ({"DOAS_USER": "alice"}, "4294967295", "alice"),
        ({"DOAS_USER": ME}, "4294967295", None),
        ({"PKEXEC_UID": str(UNKNOWN)}, "4294967295", f"uid {UNKNOWN}"),
        ({"SUDO_USER": "a" * 9999}, "4294967295", "a" * 256),
        ({"SUDO_UID": "9" * 5000}, "4294967295", None),
    ],
)
def test_who_became_this_user(environ, logged_in, want, tmp_path):
    assert claimed_user(environ, login(tmp_path, logged_in)) == want


def test_without_proc(tmp_path):
    assert claimed_user({}, tmp_path / "absent") is None


def test_home():
    assert home_folder({"HOME": "/home/x"}) == Path("/home/x")
    assert home_folder({"HOME": ""}) == home_folder({}) == Path(pwd.getpwuid(os.getuid()).pw_dir)


def test_no_home_at_all(unnamed, monkeypatch):
    monkeypatch.delenv("HOME")
    assert home_folder() is None
    with pytest.raises(
        UsageError, match="no home folder: uid 1234567890, want HOME, for the ledger"
    ) as caught:
        required_home("the ledger", "set it")
    assert caught.value.hint == "set it"
