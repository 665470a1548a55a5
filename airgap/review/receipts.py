"""Receipts that come back: taking them in, and what is odd about them (DESIGN §8)."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airgap.audit.receipt import Receipt
from airgap.durable import exists
from airgap.errors import TrustError
from airgap.proving import prove_receipt
from airgap.review.kept import Kept, KeptReceipt, Sealed
from airgap.site import Site
from airgap.times import format_time
from airgap.trust.envelope import Envelope


@dataclass(frozen=True, slots=True)
class Imported:
    """A receipt that was taken in."""

    kept: KeptReceipt
    fresh: bool
    """False when it was here already."""
    alarms: tuple[str, ...]


def import_receipt(site: Site, path: Path, raw: bytes, now: datetime) -> Imported:
    """Take in what another site says of a bundle that was sealed here, and keep it.

    A receipt that is proved is kept also when something is wrong with what it says: it is evidence. What
    is wrong is in `alarms`, and in the ledger. Raises as `prove_receipt` does.
    """
    digest = hashlib.sha256(raw).hexdigest()
    with site.ledger().attempt("receipt", path=str(path), receipt_sha256=digest) as attempt:
        receipt = prove_receipt(Envelope.parse(raw, str(path)), site.root().root, now, str(path))
        attempt.add(**_details(receipt))
        kept = Kept.of(site)
        sealed = kept.find(receipt.bundle_stream, receipt.serial, receipt.statement_sha256)
        # until a bundle of ours bears it out, what it calls itself is no name for a file
        title = sealed.statement.title if sealed else "unknown"
        name = f"{receipt.site}/{title}-{digest[:16]}.receipt.json"
        fresh = not exists(site.home / "receipts" / name)
        own = KeptReceipt(receipt, site.keep_receipt(name, raw))
        alarms = tuple(find_alarms(receipt, sealed, [each.receipt for each in kept.receipts]))
        attempt.add(alarms=list(alarms), receipt=str(own.path))
        if alarms:
            attempt.result, attempt.exit_code = "alarm", TrustError.exit_code
        return Imported(own, fresh, alarms)


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


def find_alarms(receipt: Receipt, sealed: Sealed | None, others: Sequence[Receipt]) -> Iterator[str]:
    """What a person has to look into; `others` are receipts of whatever site."""
    if sealed is None:
        yield (
            f"no bundle {receipt.bundle_stream}-{receipt.serial:04d} with statement "
            f"{receipt.statement_sha256} was sealed here"
        )
    else:
        yield from _against_bundle(receipt, sealed)
    if receipt.checkpoint["origin"] != receipt.site:
        yield f"{receipt.site} speaks of the ledger of {receipt.checkpoint['origin']}, not of its own"
    for other in others:
        if other.site == receipt.site:
            yield from _against_ledger(receipt, other)


def _against_bundle(receipt: Receipt, sealed: Sealed) -> Iterator[str]:
    statement = sealed.statement
    carried = {str(image.digest) for image in statement.images}
    for image in receipt.images:
        if image.digest not in carried:
            yield f"{image.reference} {image.digest} is not in {statement.title}"
    if statement.destinations and receipt.site not in statement.destinations:
        yield f"{statement.title} was for {', '.join(statement.destinations)}, not for {receipt.site}"
    if receipt.time > statement.expires:
        yield f"{statement.title} was loaded after it had expired ({format_time(statement.expires)})"


def _against_ledger(receipt: Receipt, other: Receipt) -> Iterator[str]:
    """Two states of one ledger: it only grows, and at one length it has one root."""
    one, two = receipt.checkpoint, other.checkpoint
    if one["size"] == two["size"] and one["root"] != two["root"]:
        yield (
            f"the ledger of {receipt.site} was forked: two different ones of {one['size']} lines "
            f"({format_time(receipt.time)} and {format_time(other.time)})"
        )
    elif (receipt.time - other.time).total_seconds() * (one["size"] - two["size"]) < 0:
        yield (
            f"the ledger of {receipt.site} became shorter, or its clock was set back: "
            f"{two['size']} lines at {format_time(other.time)}, {one['size']} at {format_time(receipt.time)}"
        )
