"""What must hold, after every fault, of what a site keeps for years: senders, recalls, lost media and backups."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from airgap.admin.backup import restore
from airgap.audit.facts import read_facts
from airgap.audit.lines import read_ledger
from airgap.audit.record import MEDIUM
from airgap.audit.report import entries
from airgap.bundle.volumes import open_bundle
from airgap.carry.receiver import Receiver
from airgap.carry.verify import verify
from airgap.errors import AirgapError, RecalledError
from airgap.review.media import LOST, lost_media
from airgap.site import MarkKind, Site
from tests.faults.judge_bundles import hashes_below
from tests.faults.ptrace import Outcome
from tests.faults.story import Judge
from tests.faults.world import PASSPHRASE, World

VENDOR = "vendor"
STICK = {"vendor": "SanDisk", "product": "Ultra", "serial": "4C530001"}
_UNFINISHED = (".part", ".lock")


def sender_faults(*rules: str | None, want: str | None) -> Judge:
    """Return the judge of the second sender: it is absent, or whole with one of these rules; None is absent.
    After a command that says that it is done, its rule is `want`.
    """

    def judge(world: World, outcome: Outcome) -> Iterator[str]:
        site = Site(world.offline)
        found = None
        for name in site.other_senders():
            sender = site.from_sender(name)
            found = str(sender.settings.rules)
            if name != VENDOR or sender.root().fingerprint != world.extra["fingerprint"]:
                yield f"{name} is a sender with another trust root"
        if found not in rules:
            yield f"{VENDOR} may set {found}"
        if outcome.code == 0 and found != want:
            yield f"it ended well, and {VENDOR} may set {found}"
        known = read_facts(world.offline / "ledger.jsonl").senders.get(VENDOR)
        if found is None and known is not None and known.roots and not known.removed and want is not None:
            yield f"the ledger has {VENDOR}, and the site does not"

    return judge


def recall_faults(world: World, outcome: Outcome) -> Iterator[str]:
    """At the sending side: the root before, or one that recalls the bundle."""
    root = Site(world.online).root().root
    recalled = root.recall_of(world.extra["sha256"]) is not None
    if recalled != (root.version == 2):
        yield f"root {root.version} recalls the bundle: {recalled}"
    if outcome.code == 0 and not recalled:
        yield "it ended well, and the bundle is not recalled"


def recalled_faults(world: World, outcome: Outcome) -> Iterator[str]:
    """At the receiving side: where the root with the recall is, the bundle is refused."""
    site = Site(world.offline)
    installed = site.root().root.version == 2
    if outcome.code == 0 and not installed:
        yield "it ended well, and the trust root is not installed"
    if (mark := site.received("edge")) is None or mark.serial != 1:
        yield f"the high-water mark is {mark}"
    receiver = Receiver(site=site.name, root=site.root(), mark=site.received, now=datetime.now(UTC))
    try:
        with open_bundle(world.bundle) as files:
            verify(files, receiver)
    except RecalledError:
        if not installed:
            yield "the bundle counts as recalled, and no root says so"
    else:
        if installed:
            yield "the recalled bundle verifies"


def media_faults(change: str) -> Judge:
    """Return the judge of a medium that is marked as lost, or as found: it is marked once."""

    def judge(world: World, outcome: Outcome) -> Iterator[str]:
        ledger = world.online / "ledger.jsonl"
        marks = [e.details["change"] for e in entries(ledger, event=MEDIUM) if e.event == MEDIUM]
        if marks not in ([], [LOST], [LOST, change]) or marks.count(LOST) > 1:
            yield f"the medium is marked: {marks}"
        lost = [medium.medium["serial"] for medium in lost_media(entries(ledger))]
        if outcome.code == 0 and lost != ([STICK["serial"]] if change == LOST else []):
            yield f"it ended well, and lost is {lost}"

    return judge


def kept_files(home: Path) -> dict[str, str]:
    """The files of a site that a backup holds, except the ledger, which each command continues."""
    return {
        name: value
        for name, value in hashes_below(home).items()
        if value != "folder" and name != "ledger.jsonl" and not name.endswith(_UNFINISHED)
    }


def backup_faults(world: World, outcome: Outcome) -> Iterator[str]:
    """A backup is absent, or whole: a site that is restored from it has all files."""
    backup = world.stick / "hq.age"
    if not backup.exists():
        if outcome.code == 0:
            yield "it ended well, and there is no backup"
        return
    home = world.work / "from-backup"
    shutil.rmtree(home, ignore_errors=True)
    try:
        restore(backup, home, PASSPHRASE.encode, datetime.now(UTC).replace(microsecond=0))
    except AirgapError as error:
        yield f"the backup cannot be restored: {error}"
        return
    if kept_files(home) != kept_files(world.online):
        yield "the backup has other files than the site"


def restore_faults(world: World, outcome: Outcome) -> Iterator[str]:
    """A site is absent, or whole: with all its files, with the serial that it used after the backup, and with
    the record of the restoration in its ledger.
    """
    home = world.online
    if not home.exists():
        if outcome.code == 0:
            yield "it ended well, and there is no site"
        return
    site, adopted = Site(home), "sent/edge"
    now, kept = kept_files(home), kept_files(world.work / "kept")
    for name in sorted(now.keys() | kept.keys()):
        if not name.startswith(adopted) and now.get(name) != kept.get(name):
            yield f"{name} is not what the backup has"
    mark = site.mark(MarkKind.SENT, "edge")
    if mark is None or mark.serial != 2:
        yield f"the last serial that was used is {mark}"
    lines = (line.fields or {} for line in read_ledger(home / "ledger.jsonl"))
    if not any(fields.get("event") == "restore" for fields in lines):
        yield "the ledger has no record of the restoration"
