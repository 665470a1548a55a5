"""What must hold of both sites after every fault: ledgers, marks, receipts and holdings."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from airgap.audit.chain import check_ledger
from airgap.audit.lines import read_ledger
from airgap.audit.receipt import Receipt
from airgap.errors import AirgapError
from airgap.oci.digest import Digest
from airgap.site import MarkKind, Site
from airgap.trust.envelope import Envelope
from tests.faults.judge_targets import TargetNames
from tests.faults.world import World


def site_faults(home: Path, before: int, code: int, *, ledger_hit: bool) -> Iterator[str]:
    """The ledger's chain is whole, each attempt of a run that was not killed has its end with the run's
    exit code, and marks and receipts are whole.
    """
    if not home.exists():
        return  # it is still to be restored
    path = home / "ledger.jsonl"
    if path.exists():
        try:
            state = check_ledger(path)
        except AirgapError as error:
            yield f"{home.name}: {error}"
            return
        records = [line.fields for line in read_ledger(path) if line.fields and line.number > before]
        if code >= 0 and not ledger_hit:
            for record in (record for record in state.open if record.seq > before):
                yield f"{home.name}: line {record.seq} began and has no end"
            ends = [record for record in records if record["phase"] == "end"]
            if ends and ends[-1]["exit_code"] != code:
                yield f"{home.name}: the ledger says exit code {ends[-1]['exit_code']}, the process {code}"
    site = Site(home)
    try:
        site.root()
        for name in home.glob("*/*.json"):
            if name.parent.name == "sent":
                site.sent(name.stem)
            elif name.parent.name == "received":
                site.received(name.stem)
        for name in (home / "receipts").glob("*.receipt.json"):
            envelope = Envelope.parse(name.read_bytes(), str(name))
            Receipt.parse(envelope.payload, str(name))
    except AirgapError as error:
        yield f"{home.name}: {error}"


def lines_of(home: Path) -> int:
    """Records in a site's ledger. Those of a site that is still to be restored are of earlier runs, however
    many there will be.
    """
    path = home / "ledger.jsonl"
    return sum(1 for _ in read_ledger(path)) if path.exists() else sys.maxsize


def receipt_faults(world: World, names: list[TargetNames], before: Mapping[str, str]) -> Iterator[str]:
    """A receipt and the account of holdings claim nothing that is not at the target. Receipts that were there
    before are of earlier loads.
    """
    there: dict[str, str] = {}
    for each in names:
        there |= each.digests
    for path in (world.offline / "receipts").glob("*.receipt.json"):
        if path.relative_to(world.folder).as_posix() in before:
            continue
        try:
            receipt = Receipt.parse(Envelope.parse(path.read_bytes(), str(path)).payload, str(path))
        except AirgapError as error:
            yield f"{path.name} cannot be read: {error}"
            continue
        for image in receipt.images:
            if (
                image.verdict in ("loaded", "already there")
                and there.get(image.reference) != image.target_digest
            ):
                yield f"{path.name} says that {image.reference} is there"
    kept = {path.read_bytes() for path in (world.offline / "receipts").glob("*.receipt.json")}
    for path in (world.folder / "stick" / "receipts").glob("*.receipt.json"):
        if path.read_bytes() not in kept:
            yield f"{path.name} on the medium is not a receipt of this site"
    for path in (world.offline / "holdings").glob("*.json"):
        try:
            for image in json.loads(path.read_bytes())["images"]:
                if there.get(image["name"]) != image["root"]:
                    yield f"the holdings say that {image['name']} is there"
        except (ValueError, KeyError) as error:
            yield f"the holdings cannot be read: {error!r}"


def mark_faults(world: World, old: Mapping[str, str], names: list[TargetNames]) -> Iterator[str]:
    """The high-water mark was stored before a name moved."""
    moved = [name for each in names for name, digest in each.digests.items() if old.get(name) != digest]
    if moved and Site(world.offline).received("edge") is None:
        yield f"{moved[0]} has moved, and no high-water mark is stored"
    site = Site(world.offline)
    if (mark := site.received("edge")) is not None:
        path = site.kept_envelope("edge", mark.serial, mark.epoch, MarkKind.RECEIVED)
        if not path.exists():
            yield "a high-water mark is stored, and the bundle's envelope is not kept"
        elif Digest.of(Envelope.parse(path.read_bytes(), path.name).payload).hex != mark.statement_sha256:
            yield "the kept envelope is not that of the high-water mark"


def back_faults(world: World, old: Mapping[str, str], names: list[TargetNames]) -> Iterator[str]:
    """A step back is recorded before a name moves, and leaves the high-water mark."""
    mark = Site(world.offline).received("edge")
    if mark is None or mark.serial != 2:
        yield f"the high-water mark is {mark}"
    moved = [name for each in names for name, digest in each.digests.items() if old.get(name) != digest]
    lines = (line.fields or {} for line in read_ledger(world.offline / "ledger.jsonl"))
    if moved and not any(fields.get("event") == "override" for fields in lines):
        yield f"{moved[0]} has moved, and the ledger has no reason"
