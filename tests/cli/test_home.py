"""The files of AIRGAP_HOME: whose they are, who may change them, what they are called, and the time in them."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airgap.audit.ledger import Ledger
from airgap.site import Site
from airgap.trust.keys import SigningKey
from tests.cli.conftest import Gap, Side
from tests.support.parts import require_root

Harm = Callable[[Path], object]
NOBODY = 65534

FILES = ("site.json", "site.key", "trust/1.root.json", "received/stack.json", "ledger.jsonl")
FOLDERS = ("", "trust", "received", "receipts")


@pytest.fixture
def loaded(gap: Gap) -> Gap:
    gap.offline("load", gap.pack(), "--to", f"oci:{gap.folder}/out")
    return gap


def refused(gap: Gap, *codes: int) -> str:
    """What every command says that decides or reports something."""
    bundle = gap.stick / "stack-0001"
    to = ("--to", f"oci:{gap.folder}/out")
    found = ""
    for words in (("verify", bundle), ("load", bundle, *to), ("trust", "show"), ("audit", "verify")):
        gap.offline.capture.readouterr()
        done = gap.offline(*words, code=codes[0] if words[0] != "audit" else codes[-1])
        found += done.err
    return found


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o720])
def test_a_home_that_others_can_write(loaded: Gap, mode: int) -> None:
    loaded.offline.home.chmod(mode)
    said = refused(loaded, 13)
    assert f"writable by other users: {loaded.offline.home}, want mode 0700, got mode {mode:04o}" in said
    assert f"hint: chmod 700 {loaded.offline.home}" in said


@pytest.mark.parametrize("name", FOLDERS[1:])
def test_a_folder_that_all_can_write(loaded: Gap, name: str) -> None:
    (loaded.offline.home / name).chmod(0o777)
    assert f"hint: chmod 700 {loaded.offline.home / name}" in refused(loaded, 13)


@pytest.mark.parametrize("name", FOLDERS[1:])
def test_a_folder_that_the_group_can_write(loaded: Gap, name: str) -> None:
    """As with a umask of 002: where nobody else gets into the home, nobody gets into its folders."""
    (loaded.offline.home / name).chmod(0o775)
    loaded.offline("verify", loaded.stick / "stack-0001")
    loaded.offline.home.chmod(0o755)
    assert "writable by other users" in refused(loaded, 13)


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_what_a_umask_makes_is_taken(fresh: Side, umask: int) -> None:
    before = os.umask(umask)
    try:
        fresh("init", "--owner", "alice", "--site", "hq")
        fresh("trust", "rotate", "--days", "700")
        fresh("trust", "show")
    finally:
        os.umask(before)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_a_file_that_others_can_write(loaded: Gap, name: str, mode: int) -> None:
    path = loaded.offline.home / name
    path.chmod(mode)
    done = loaded.offline(
        "load",
        loaded.stick / "stack-0001",
        "--to",
        f"oci:{loaded.folder}/x",
        code=17 if name == "ledger.jsonl" else 13 if name != "received/stack.json" else 0,
    )
    assert f"{mode:04o}" in done.err
    assert str(path) in done.err


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
def test_what_belongs_to_somebody_else(loaded: Gap, name: str) -> None:
    require_root()
    path = loaded.offline.home / name
    os.chown(path, NOBODY, NOBODY)
    code = 17 if name == "ledger.jsonl" else 0 if name == "received/stack.json" else 13
    done = loaded.offline("load", loaded.stick / "stack-0001", "--to", f"oci:{loaded.folder}/x", code=code)
    assert "belongs to another user" in done.err
    assert f"got uid {NOBODY}" in done.err


def test_root_by_sudo_works_in_the_home_of_who_called(loaded: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    require_root()
    for path in (loaded.offline.home, *loaded.offline.home.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    monkeypatch.setenv("SUDO_UID", "no number")
    refused(loaded, 13)
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    loaded.offline("verify", loaded.stick / "stack-0001")


def test_the_home_may_be_a_link_and_its_folders_may_not(loaded: Gap) -> None:
    real = loaded.folder / "elsewhere"
    loaded.offline.home.rename(real)
    loaded.offline.home.symlink_to(real)
    loaded.offline("verify", loaded.stick / "stack-0001")
    (real / "trust").rename(real / "roots")
    (real / "trust").symlink_to("roots")
    assert "not a folder" in refused(loaded, 13)


ENDLESS = ("site.json", "trust/1.root.json", "trust/2.root.json", "keys/eve.pub")


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("to", ["/dev/zero", "/dev/tty", "/proc/kmsg"])
def test_a_link_to_something_without_end(loaded: Gap, name: str, to: str) -> None:
    path = loaded.offline.home / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(to)
    if name.startswith("keys"):
        assert "not a regular file" in loaded.offline("key", "list", code=13).err
    else:
        assert f"not a regular file: {path}, want a regular file, got a link" in refused(
            loaded, 13, 17 if "trust" in name else 13
        )


def test_roots_without_number(loaded: Gap) -> None:
    """Each is small enough; all of them are not."""
    for version in range(2, 30):
        (loaded.offline.home / "trust" / f"{version}.root.json").write_bytes(b" " * (3 << 20))
    assert "too large" in loaded.offline("verify", loaded.stick / "stack-0001", code=10).err


# -- the site's name and key


def test_another_name_is_for_no_other_bundles(loaded: Gap) -> None:
    (loaded.offline.home / "site.json").write_bytes(b'{"version":1,"site":"plant-8"}\n')
    done = loaded.offline("load", loaded.stick / "stack-0001", "--to", f"oci:{loaded.folder}/x", code=13)
    assert "the site's name differs from its ledger" in done.err
    assert "want plant-7, got plant-8" in done.err
    last = loaded.offline.records()[-1]
    assert (last["event"], last["site"]) == ("alarm", "plant-7")
    loaded.offline("verify", loaded.stick / "stack-0001", code=13)
    loaded.offline("audit", "settle", "ledger", "--yes")
    loaded.offline("verify", loaded.stick / "stack-0001")
    assert Site(loaded.offline.home).name == "plant-7"


def test_a_name_that_was_a_slip_is_no_alarm(gap: Gap) -> None:
    gap.offline("trust", "install", gap.online.home / "trust" / "1.root.json", "--site", "plant-9")
    assert "alarm" not in gap.offline("trust", "show").err
    assert Site(gap.offline.home).name == "plant-9"


def test_nothing_is_loaded_without_a_key_for_the_receipt(loaded: Gap) -> None:
    (loaded.offline.home / "site.key").unlink()
    done = loaded.offline("load", loaded.stick / "stack-0001", "--to", f"oci:{loaded.folder}/x", code=13)
    assert "alarm: this site cannot sign receipts" in done.err
    assert not (loaded.folder / "x").exists()


def test_another_key_than_the_root_has_is_an_alarm(loaded: Gap) -> None:
    (loaded.online.home / "site.key").unlink()
    SigningKey.generate().save(loaded.online.home / "site.key", None)
    assert "alarm: site.key is not this site's key in trust root 1" in loaded.online("trust", "show").err


# -- the clock


def record_at(gap: Gap, when: datetime) -> None:
    Ledger(gap.offline.home / "ledger.jsonl", site="plant-7", clock=lambda: when).append("verify", "note")


def test_a_clock_that_was_set_back_makes_no_bundle_young(gap: Gap) -> None:
    bundle = gap.pack("--days", "1")
    record_at(gap, datetime.now(UTC) + timedelta(days=2))
    to = ("--to", f"oci:{gap.folder}/out")
    for words in (
        ("verify", bundle),
        ("load", bundle, *to),
        ("receive", bundle, "--into", gap.folder / "into"),
    ):
        done = gap.offline(*words, code=14)
        assert "the bundle has expired" in done.err
        assert "alarm: this machine's clock shows " in done.err
        assert "`airgap audit settle clock`" in done.err
    assert not (gap.folder / "out").exists()
    assert "the bundle has expired" in gap.offline("serve", bundle, "--port", "0", code=14).err


def test_a_clock_that_was_once_wrong_is_settled_by_a_person(gap: Gap) -> None:
    bundle = gap.pack("--days", "1")
    record_at(gap, datetime.now(UTC) + timedelta(days=4000))
    gap.offline("verify", bundle, code=14)
    gap.offline("audit", "settle", "clock", code=2)
    gap.offline("audit", "settle", "clock", "--yes")
    assert "alarm" not in gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out").err
    odd = gap.offline("audit", "log", "--event", "override", "--json").json["entries"]
    assert [entry["details"]["change"] for entry in odd] == ["clock"]


def test_a_clock_a_little_behind_is_no_alarm(gap: Gap) -> None:
    bundle = gap.pack()
    record_at(gap, datetime.now(UTC) + timedelta(minutes=4))
    assert "alarm" not in gap.offline("verify", bundle).err


def test_a_machine_without_a_clock_still_loads(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is that of the ledger, and not 1970: a bundle that is not valid yet then is valid."""
    bundle = gap.pack()
    monkeypatch.setattr("airgap.site.now", lambda: datetime(1970, 1, 1, tzinfo=UTC))
    assert "alarm: this machine's clock shows 1970-01-01" in gap.offline("verify", bundle).err


def test_what_to_settle_has_to_be_said(gap: Gap) -> None:
    assert (
        "want clock or files or ledger" in gap.offline("audit", "settle", "everything", "--yes", code=2).err
    )
    gap.offline("audit", "settle", "ledger", "--yes")
