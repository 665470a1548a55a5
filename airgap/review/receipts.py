"""Receipts: whose they are, what is odd about them, and taking in those that come back (DESIGN §8)."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airgap.audit.receipt import Receipt
from airgap.errors import FormatError, TrustError, UnknownKeyError
from airgap.review.kept import Kept, KeptReceipt, Sealed
from airgap.site import Site
from airgap.times import format_time
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from airgap.trust.keys import PublicKey
from airgap.trust.policy import Verdict, check_signatures
from airgap.trust.root import TrustRoot


@dataclass(frozen=True, slots=True)
class Imported:
    """A receipt that was taken in."""

    kept: KeptReceipt
    fresh: bool
    """False when it was here already."""
    alarms: tuple[str, ...]


def prove(
    raw: bytes, root: TrustRoot, now: datetime, where: str, own: tuple[str, PublicKey] | None = None
) -> Receipt:
    """The receipt in an envelope that a key of its own site signed, by what `root` says at `now`; or that
    this site signed, whose name and key are `own`.

    Nothing but the envelope is parsed before a signature holds. Raises `FormatError`, and
    `UnknownKeyError` for a site of which the root has no key or another one.
    """
    envelope = Envelope.parse(raw, where)
    if envelope.payload_type != STATEMENT_TYPE:
        raise FormatError("not a receipt", subject=where, want=STATEMENT_TYPE, got=envelope.payload_type)
    if own is not None and any(own[1].verify(envelope.message, each.sig) for each in envelope.signatures):
        signers, owners = frozenset({own[0]}), own[0]
    else:
        verdict = _check(envelope, root, now, where)
        signers = frozenset(
            name for name, site in root.sites.items() if site.receipt_keyids & set(verdict.keyids)
        )
        owners = ", ".join(verdict.owners)
    receipt = Receipt.parse(envelope.payload, where)
    if receipt.site not in signers:
        raise UnknownKeyError(
            "signed by another site's key",
            subject=f"{where}: receipt of {receipt.site}",
            want=f"a key that {root.name} gives to this site",
            got=owners,
        )
    return receipt


def _check(envelope: Envelope, root: TrustRoot, now: datetime, where: str) -> Verdict:
    try:
        return check_signatures(envelope, root, "receipt", now, where)
    except UnknownKeyError as error:
        error.hint = (
            "the trust root must name the receiving site's key, which is site.pub in its AIRGAP_HOME: "
            "`airgap trust add-site`"
        )
        raise


def import_receipt(site: Site, path: Path, raw: bytes, now: datetime) -> Imported:
    """Take in what another site says of a bundle that was sealed here, and keep it.

    A receipt that is proved is kept also when something is wrong with what it says: it is evidence. What
    is wrong is in `alarms`, and in the ledger. Raises as `prove` does.
    """
    digest = hashlib.sha256(raw).hexdigest()
    with site.ledger().attempt("receipt", path=str(path), receipt_sha256=digest) as attempt:
        receipt = prove(raw, site.root().root, now, str(path))
        attempt.add(**_details(receipt))
        kept = Kept.of(site)
        sealed = kept.find(receipt.bundle_stream, receipt.serial, receipt.statement_sha256)
        # until a bundle of ours bears it out, what it calls itself is no name for a file
        title = sealed.statement.title if sealed else "unknown"
        name = f"{receipt.site}/{title}-{digest[:16]}.receipt.json"
        fresh = not (site.home / "receipts" / name).exists()
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
