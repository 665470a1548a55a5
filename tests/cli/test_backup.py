"""A side is backed up and restored: it is the same side again, and no ledger continues in two ways."""

import errno
import fcntl
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from airgap.bundle.tar_entries import END_OF_ARCHIVE, header, padding
from airgap.errors import MediaError
from airgap.site import Site
from airgap.trust import age
from tests.cli.conftest import PASSPHRASE, Gap, Side, files_of
from tests.support.images import simple_image


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(age, "WORK_FACTOR", 2)


@pytest.fixture
def backup(gap: Gap) -> Path:
    """A backup of the online side, which has sealed stack-0001."""
    gap.pack()
    path = gap.folder / "safe" / "hq.age"
    path.parent.mkdir()
    gap.online("backup", path)
    return path


def elsewhere(gap: Gap) -> Side:
    """The place where the online side is restored."""
    return Side(gap.folder / "restored", gap.online.capture)


def test_a_restored_side_has_the_same_files(gap: Gap, backup: Path) -> None:
    side = elsewhere(gap)
    value = side("restore", backup, "--json").json
    before, after = files_of(gap.online.home), files_of(side.home)
    assert value["site"] == "hq"
    assert {name for name in before if not name.endswith(".lock")} == after.keys()
    assert [name for name in after if after[name] != before[name]] == ["ledger.jsonl"]
    assert side.records()[-1]["event"] == "restore"
    assert gap.online.ended()[0] == "backup"
    assert oct((side.home / "site.key").stat().st_mode)[-3:] == "600"
    assert oct((side.home / "keys" / "alice.pem").stat().st_mode)[-3:] == "600"


def test_a_restored_side_continues_the_stream(gap: Gap, backup: Path) -> None:
    side = elsewhere(gap)
    side("restore", backup)
    side("pack", gap.layout(api=simple_image("newer")), "--to", gap.stick)
    gap.offline("load", gap.stick / "stack-0002", "--to", f"oci:{gap.folder}/out")
    side("audit", "verify", gap.stick / "stack-0002")


def test_a_backup_has_no_readable_secret(gap: Gap, backup: Path) -> None:
    assert backup.stat().st_mode & 0o077 == 0
    assert b"PRIVATE" not in backup.read_bytes()
    assert b"stack" not in backup.read_bytes()


@pytest.mark.parametrize("place", ["hq/b.age", "hq/keys/b.age", "safe/hq.age"])
def test_a_backup_inside_the_home_or_over_a_file_is_refused(gap: Gap, backup: Path, place: str) -> None:
    before = files_of(gap.folder / "safe")
    gap.online("backup", gap.folder / place, code=2)
    assert files_of(gap.folder / "safe") == before
    assert not (gap.online.home / "b.age").exists()


def test_a_site_is_never_overwritten(gap: Gap, backup: Path) -> None:
    before = files_of(gap.offline.home)
    done = gap.offline("restore", backup, code=2)
    assert "AIRGAP_HOME is not empty" in done.err
    assert files_of(gap.offline.home) == before


def test_a_wrong_passphrase_leaves_no_file(gap: Gap, backup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRGAP_PASSPHRASE", "another one")
    side = elsewhere(gap)
    assert "cannot decrypt" in side("restore", backup, code=13).err
    assert sorted(path.name for path in gap.folder.iterdir() if "restor" in path.name) == []


DAMAGES: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "not a backup": (10, lambda raw: b"x" * 100),
    "empty": (10, lambda raw: b""),
    "cut": (12, lambda raw: raw[: len(raw) // 2]),
    "one bit": (12, lambda raw: raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:]),
}


@pytest.mark.parametrize(("code", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_backup_is_refused_whole(gap: Gap, backup: Path, code: int, damage: object) -> None:
    assert callable(damage)
    backup.write_bytes(damage(backup.read_bytes()))
    side = elsewhere(gap)
    side("restore", backup, code=code)
    assert not side.home.exists()
    assert not side.home.with_name("restored.restoring").exists()


def test_what_an_interrupted_run_left_is_removed(gap: Gap, backup: Path) -> None:
    side = elsewhere(gap)
    left = side.home.with_name("restored.restoring")
    left.mkdir(mode=0o700)
    (left / "site.json").write_text("{}")
    side("restore", backup)
    assert not left.exists()


def test_serials_sealed_after_the_backup_are_not_used_again(gap: Gap, backup: Path) -> None:
    gap.online("pack", gap.layout(api=simple_image("later")), "--to", gap.stick)
    side = elsewhere(gap)
    refused = side("restore", backup, "--compare", gap.stick / "stack-0002", code=17)
    assert "older than this side's last records" in refused.err
    assert not side.home.exists()
    words = ("--compare", gap.stick / "stack-0002", "--reason", "the disk broke")
    assert side("restore", backup, *words, "--json").json["adopted"] == ["stack-0002"]
    side("pack", gap.layout(api=simple_image("newest")), "--to", gap.stick)
    gap.offline("load", gap.stick / "stack-0003", "--to", f"oci:{gap.folder}/out")
    reasons = [record.get("reason") for record in side.records()]
    assert "the disk broke" in reasons


def test_a_disk_that_fails_is_not_taken_for_a_damaged_backup(
    gap: Gap, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, flock = elsewhere(gap), fcntl.flock

    def fail(fd: int, operation: int) -> None:
        if "ledger.jsonl" in str(Path(f"/proc/self/fd/{fd}").readlink()):
            raise OSError(errno.EIO, "Input/output error")
        flock(fd, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", fail)
        failed = side("restore", backup, code=17)
    assert failed.err.startswith(f"error: cannot read the ledger: {side.home}.restoring/ledger.jsonl")
    assert not side.home.exists()


def test_a_backup_names_the_ledger_that_cannot_be_locked(
    gap: Gap, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("airgap.admin.backup.open_snapshot", fail)
    failed = gap.online("backup", backup.with_name("second.age"), code=11)
    assert failed.err.startswith(f"error: cannot read the ledger: {gap.online.home}/ledger.jsonl, got")


@pytest.mark.parametrize("step", ["set_sent", "keep_envelope"])
def test_an_interrupted_restoration_leaves_no_site_that_uses_a_serial_again(
    gap: Gap, backup: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gap.online("pack", gap.layout(api=simple_image("later")), "--to", gap.stick)
    side = elsewhere(gap)
    words = ("--compare", gap.stick / "stack-0002", "--reason", "the disk broke")

    def fail(*_: object, **__: object) -> None:
        raise MediaError("the disk fails", subject=side.home)

    with monkeypatch.context() as patch:
        patch.setattr(Site, step, fail)
        side("restore", backup, *words, code=11)
    assert not side.home.exists()
    assert side("restore", backup, *words, "--json").json["adopted"] == ["stack-0002"]


def test_a_bundle_that_the_backup_knows_does_not_stop_it(gap: Gap, backup: Path) -> None:
    side = elsewhere(gap)
    assert side("restore", backup, "--compare", gap.stick / "stack-0001", "--json").json["adopted"] == []


def test_a_ledger_that_disagrees_is_refused_whatever_the_reason(gap: Gap, backup: Path) -> None:
    other = elsewhere(gap)
    other("restore", backup)
    other("pack", gap.layout(api=simple_image("other")), "--to", gap.folder / "stick2")
    gap.online("pack", gap.layout(api=simple_image("later")), "--to", gap.stick)
    again = gap.folder / "safe" / "again.age"
    gap.online("backup", again)
    third = Side(gap.folder / "third", gap.online.capture)
    words = ("--compare", gap.folder / "stick2" / "stack-0002", "--reason", "whatever")
    assert "disagrees with a signed checkpoint" in third("restore", again, *words, code=17).err
    assert not third.home.exists()


HOSTILE = {
    "a name that leaves the home": ("../evil", 5),
    "an absolute name": ("/evil", 5),
    "a hidden file": (".evil", 5),
    "too deep": ("a/b/c/d/e/f", 5),
    "too large": ("site.json", 65 << 20),
}


@pytest.mark.parametrize(("name", "size"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_is_refused(gap: Gap, name: str, size: int) -> None:
    tar = header(name, size) + bytes(size) + padding(size) + END_OF_ARCHIVE
    path = gap.folder / "evil.age"
    path.write_bytes(b"".join(age.encrypt(io.BytesIO(tar), PASSPHRASE.encode())))
    side = elsewhere(gap)
    side("restore", path, code=10)
    assert not side.home.exists()
    assert not (gap.folder / "evil").exists()


def test_a_backup_of_a_damaged_site_is_refused(gap: Gap, backup: Path) -> None:
    raw = b"".join(age.decrypt(io.BytesIO(backup.read_bytes()).read, PASSPHRASE.encode, "backup"))
    changed = raw.replace(b'"event":"pack"', b'"event":"lock"')
    backup.write_bytes(b"".join(age.encrypt([changed], PASSPHRASE.encode())))
    side = elsewhere(gap)
    assert "does not hold an intact site" in side("restore", backup, code=12).err
    assert not side.home.exists()


class TestPassphrase:
    def test_it_is_changed(self, gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRGAP_NEW_PASSPHRASE", "battery staple")
        gap.online("key", "passwd", "alice")
        path = gap.layout(api=simple_image("api"))
        assert "cannot decrypt" in gap.online("pack", path, "--to", gap.stick, code=13).err
        monkeypatch.setenv("AIRGAP_PASSPHRASE", "battery staple")
        gap.online("pack", path, "--to", gap.stick)
        assert not list((gap.online.home / "keys").glob("*.part"))

    @pytest.mark.parametrize(
        ("owner", "new", "what"),
        [
            ("bob", "long enough", "no such key"),
            ("alice", "short", "too short"),
            ("alice", "", "no passphrase"),
        ],
    )
    def test_a_bad_one_changes_no_file(
        self, gap: Gap, monkeypatch: pytest.MonkeyPatch, owner: str, new: str, what: str
    ) -> None:
        before = files_of(gap.online.home / "keys")
        monkeypatch.setenv("AIRGAP_NEW_PASSPHRASE", new)
        assert what in gap.online("key", "passwd", owner, code=13).err
        assert files_of(gap.online.home / "keys") == before


class TestSpareKey:
    def test_it_can_change_the_root_after_the_first_key_is_lost(self, fresh: Side, gap: Gap) -> None:
        spare = gap.folder / "spare.pem"
        made = fresh("init", "--owner", "alice", "--site", "hq", "--spare-key", spare, "--json").json
        assert made["spare_key"] == str(spare)
        lost = Side(gap.folder / "new-machine", fresh.capture)
        lost("trust", "install", made["root"], "--site", "hq-2", "--fingerprint", made["fingerprint"])
        lost("key", "generate", "carol")
        lost("key", "add", "alice", "--key", spare)
        public = lost.home / "keys" / "carol.pub"
        keyid = next(
            key["keyid"] for key in lost("key", "list", "--json").json["keys"] if key["owner"] == "carol"
        )
        lost(
            "trust", "add", "carol", "--key", public, "--keyid", keyid, "--role", "root", "--role", "release"
        )
        assert "carol" in lost("trust", "show").out

    def test_it_signs_no_bundle(self, fresh: Side, gap: Gap) -> None:
        spare = gap.folder / "spare.pem"
        fresh("init", "--owner", "alice", "--site", "hq", "--spare-key", spare)
        shutil.rmtree(fresh.home / "keys")
        fresh("key", "add", "alice", "--key", spare)
        done = fresh("pack", gap.layout(api=simple_image("api")), "--to", gap.stick, code=13)
        assert "release" in done.err

    def test_without_one_the_loss_is_explained(self, fresh: Side) -> None:
        assert "Only this key may change the trust root" in fresh("init", "--owner", "alice").out


def test_a_backup_where_a_bundle_is_needed_is_named(gap: Gap, backup: Path) -> None:
    done = gap.offline("verify", backup, code=2)
    assert "got an encrypted backup" in done.err
    assert "airgap restore" in done.err


def test_a_bundle_where_a_backup_is_needed_is_named(gap: Gap, backup: Path) -> None:
    done = elsewhere(gap)("restore", gap.stick / "stack-0001", code=2)
    assert "not a backup" in done.err


def test_a_receipt_with_a_long_name_is_kept(gap: Gap) -> None:
    name = f"receipts/{'s' * 63}/{'s' * 63}-{'t' * 63}-0001-12.receipt.json"
    path = gap.online.home / name
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    gap.online("backup", gap.folder / "long.age")
    side = elsewhere(gap)
    side("restore", gap.folder / "long.age")
    assert (side.home / name).read_text() == "{}"
