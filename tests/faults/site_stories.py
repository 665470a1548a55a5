"""Stories of what a site keeps for years: senders, recalls, lost media and backups."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from airgap.admin.init_site import set_up
from airgap.oci.digest import Digest
from airgap.review.media import FOUND, LOST
from airgap.site import Site
from airgap.trust.envelope import Envelope
from tests.faults.judge_state import (
    STICK,
    VENDOR,
    backup_faults,
    media_faults,
    recall_faults,
    recalled_faults,
    restore_faults,
    sender_faults,
)
from tests.faults.story import LOAD, PACK, Story, sealed
from tests.faults.world import PASSPHRASE, World

_FIRST, _SECOND = "registry.vendor/*", "registry.other/*"
_INSTALL = ("trust", "install", "{run}/stick/1.root.json", "--fingerprint", "{fingerprint}")
_ADD = (*_INSTALL, "--sender", VENDOR, "--names", _FIRST, "--quiet")
_RECALL = ("recall", "edge-0001", "--reason", "CHG-9", "--quiet")
_LOST = ("audit", "medium", "lost", STICK["serial"], "--reason", "left in a taxi", "--quiet")
_BACKUP = ("backup", "{run}/stick/hq.age", "--quiet")


def _another_sender(world: World) -> None:
    """The trust root of a second sending side, whose keys are elsewhere."""
    world.begin()
    home = world.work / "vendor"
    shutil.rmtree(home, ignore_errors=True)
    now = datetime.now(UTC).replace(microsecond=0)
    set_up(home, "vera", "vendor", algorithm="ecdsa-p256", passphrase=PASSPHRASE.encode, now=now)
    world.extra["fingerprint"] = Site(home).root().fingerprint
    shutil.copy(home / "trust" / "1.root.json", world.stick)


def _two_senders(world: World) -> None:
    _another_sender(world)
    world.must(world.offline, *_ADD)


def _recallable(world: World) -> None:
    """A bundle that a receiving side has loaded."""
    sealed(world)
    world.must(world.offline, *LOAD, "oci:{run}/target")
    raw = (world.bundle / "bundle.dsse.json").read_bytes()
    world.extra["sha256"] = Digest.of(Envelope.parse(raw, "bundle.dsse.json").payload).hex


def _recalled(world: World) -> None:
    _recallable(world)
    world.must(world.online, *_RECALL)


def _on_a_stick(world: World) -> None:
    """A medium with a serial, to which a bundle was written."""
    world.begin()
    bundle = {"stream": "edge", "serial": 1, "statement_sha256": "0" * 64}
    with Site(world.online).ledger().attempt("copy", media=[STICK], bundle=bundle):
        pass


def _lost(world: World) -> None:
    _on_a_stick(world)
    world.must(world.online, *_LOST)


def _lost_machine(world: World) -> None:
    """A backup, a bundle that was sealed after it, and no site."""
    sealed(world)
    world.must(world.online, *_BACKUP)
    shutil.rmtree(world.work / "kept", ignore_errors=True)
    shutil.copytree(world.online, world.work / "kept")
    text = (world.folder / "stack.yaml").read_text()
    (world.folder / "stack.yaml").write_text(text + "transfer: {ticket: CHG-8}\n")
    world.must(world.online, *PACK)
    assert Path(world.stick / "edge-0002").exists()
    shutil.rmtree(world.online)


SITE_STORIES = (
    Story(
        "sender-add",
        "install the trust root of a second sender, with the names that it may set",
        _ADD,
        _another_sender,
        judge=sender_faults(None, _FIRST, want=_FIRST),
    ),
    Story(
        "sender-allow",
        "change the names that a sender may set",
        ("trust", "allow", VENDOR, "--names", _SECOND, "--quiet"),
        _two_senders,
        judge=sender_faults(_FIRST, _SECOND, want=_SECOND),
    ),
    Story(
        "sender-remove",
        "remove a sender",
        ("trust", "remove-sender", VENDOR, "--quiet"),
        _two_senders,
        again=2,
        judge=sender_faults(_FIRST, None, want=None),
    ),
    Story(
        "recall",
        "recall a bundle that a site has loaded",
        _RECALL,
        _recallable,
        online=True,
        judge=recall_faults,
    ),
    Story(
        "recall-install",
        "install a trust root that recalls a loaded bundle",
        ("trust", "install", "{run}/hq/trust/2.root.json", "--quiet"),
        _recalled,
        judge=recalled_faults,
    ),
    Story(
        "medium-lost",
        "mark a medium as lost",
        _LOST,
        _on_a_stick,
        online=True,
        attempts=False,
        judge=media_faults(LOST),
    ),
    Story(
        "medium-found",
        "mark a lost medium as found",
        ("audit", "medium", "found", STICK["serial"], "--quiet"),
        _lost,
        online=True,
        attempts=False,
        again=2,
        judge=media_faults(FOUND),
    ),
    Story("backup", "back up a site", _BACKUP, sealed, online=True, again=2, judge=backup_faults),
    Story(
        "restore",
        "restore a site that sealed a bundle after the backup",
        (
            "restore",
            "{run}/stick/hq.age",
            "--compare",
            "{run}/stick/edge-0002",
            "--reason",
            "CHG-9",
            "--quiet",
        ),
        _lost_machine,
        online=True,
        attempts=False,
        again=2,
        judge=restore_faults,
    ),
)
