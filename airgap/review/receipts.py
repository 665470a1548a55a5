"""Imports receipts that come back, and finds what is wrong with them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airgap.agreement import contradictions, disagreements, look_alikes, unconfirmed
from airgap.audit.receipt import Receipt
from airgap.audit.record import Outcome
from airgap.durable import exists
from airgap.errors import TrustError
from airgap.limits import MAX_RECEIPT_ALARMS
from airgap.prove_receipt import prove_receipt
from airgap.review.records import Kept, KeptReceipt, Sealed
from airgap.site import Site
from airgap.times import format_time
from airgap.trust.envelope import Envelope
from airgap.trust.root import TrustRoot


@dataclass(frozen=True, slots=True)
class Imported:
    """An imported receipt."""

    kept: KeptReceipt
    fresh: bool
    """False if it had been imported before."""
    alarms: tuple[str, ...]
    unconfirmed: tuple[str, ...] = ()
    """Facts that cannot be compared with anything here, and are not alarms."""


def import_receipt(site: Site, path: Path, raw: bytes, now: datetime) -> Imported:
    """Import another site's receipt of a bundle that was sealed here, and keep it.

    A receipt with a valid signature is kept as evidence even if its content is wrong. `alarms` and the ledger
    have what is wrong. Raises as `prove_receipt` does, and `MediaError` if a file of this site that it is
    compared with cannot be read.
    """
    digest = hashlib.sha256(raw).hexdigest()
    with site.ledger().attempt("receipt", path=str(path), receipt_sha256=digest) as attempt:
        receipt = prove_receipt(Envelope.parse(raw, str(path)), site.root().root, now, str(path))
        attempt.add(**_details(receipt))
        kept = Kept.of(site)
        kept.raise_disk_errors()
        sealed = kept.find(receipt.bundle_stream, receipt.serial, receipt.statement_sha256)
        # its own title is used as a file name only if such a bundle was sealed here
        title = sealed.statement.title if sealed else "unknown"
        name = f"{receipt.site}/{title}-{digest[:16]}.receipt.json"
        fresh = not exists(site.home / "receipts" / name)
        own = KeptReceipt(receipt, site.keep_receipt(name, raw))
        others = [answer.receipt for answer in kept.receipts]
        alarms = _at_most(find_alarms(receipt, sealed, others, kept.roots, now))
        notes = _at_most(unconfirmed(receipt, sealed.evidence(kept.roots), now)) if sealed else ()
        attempt.add(alarms=list(alarms), receipt=str(own.path))
        if notes:
            attempt.add(unconfirmed=list(notes))
        if alarms:
            attempt.result, attempt.exit_code = Outcome.ALARM, TrustError.exit_code
        return Imported(own, fresh, alarms, notes)


def _at_most(lines: Iterable[str]) -> tuple[str, ...]:
    shown = list(lines)
    if len(shown) > MAX_RECEIPT_ALARMS:
        shown[MAX_RECEIPT_ALARMS:] = [f"and {len(shown) - MAX_RECEIPT_ALARMS} more"]
    return tuple(shown)


def _details(receipt: Receipt) -> dict[str, object]:
    return {
        "bundle": {
            "stream": receipt.bundle_stream,
            "serial": receipt.serial,
            "epoch": receipt.epoch,
            "statement_sha256": receipt.statement_sha256,
        },
        "from_site": receipt.site,
        "target": receipt.target,
        "loaded": receipt.result,
        "images": [{"reference": image.reference, "digest": image.digest} for image in receipt.images],
    }


def find_alarms(
    receipt: Receipt,
    sealed: Sealed | None,
    others: Sequence[Receipt],
    roots: Mapping[int, TrustRoot] = {},
    now: datetime | None = None,
) -> Iterator[str]:
    """Yield what a person must investigate. `others` are receipts of any site, `roots` all versions of the
    root that are installed here.
    """
    yield from against_bundle(receipt, sealed, roots, now)
    if receipt.checkpoint["origin"] != receipt.site:
        origin = receipt.checkpoint["origin"]
        yield f"{receipt.site} signed a checkpoint of the ledger of {origin}, not of its own"
    for other in others:
        if other.site == receipt.site:
            yield from _against_ledger(receipt, other)


def against_bundle(
    receipt: Receipt, sealed: Sealed | None, roots: Mapping[int, TrustRoot], now: datetime | None
) -> Iterator[str]:
    """Yield why a receipt confirms nothing: its disagreements with the bundle that was sealed here.

    Args:
        receipt: The receipt; its signature was checked.
        sealed: The bundle; None if this site has no record of it.
        roots: The trust roots of this site, by version.
        now: The time that the receipt must not be later than; None to skip this check.
    """
    if sealed is not None:
        yield from disagreements(receipt, sealed.evidence(roots), now)
        return
    title = f"{receipt.bundle_stream[:80]}-{receipt.serial:04d}"
    yield f"no bundle {title} with statement {receipt.statement_sha256} was sealed here"
    yield from contradictions(receipt, now)
    yield from look_alikes(receipt.site, roots[max(roots)].sites if roots else ())


def _against_ledger(receipt: Receipt, other: Receipt) -> Iterator[str]:
    """Compare two checkpoints of one ledger: it only grows, and has one root at each length."""
    one, two = receipt.checkpoint, other.checkpoint
    if one["size"] == two["size"] and one["root"] != two["root"]:
        yield (
            f"the ledger of {receipt.site} was forked: it has two different states with {one['size']} lines "
            f"({format_time(receipt.time)} and {format_time(other.time)})"
        )
    elif (receipt.time - other.time).total_seconds() * (one["size"] - two["size"]) < 0:
        yield (
            f"the ledger of {receipt.site} became shorter, or its clock was set back: "
            f"{two['size']} lines at {format_time(other.time)}, {one['size']} at {format_time(receipt.time)}"
        )
