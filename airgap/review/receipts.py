"""Imports receipts that come back, and finds what is wrong with them."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from airgap.agreement import contradictions, disagreements, look_alikes, unconfirmed
from airgap.audit.receipt import Receipt
from airgap.audit.record import Outcome
from airgap.carry.receipt_copies import RECEIPT_SUFFIX
from airgap.errors import TrustError
from airgap.limits import MAX_RECEIPT_ALARMS
from airgap.prove_receipt import prove_receipt
from airgap.review.records import Kept, KeptReceipt, Sealed
from airgap.site import Site
from airgap.times import format_time
from airgap.trust.envelope import Envelope
from airgap.trust.root import TrustRoot
from airgap.values import dataclass


class ImportState(StrEnum):
    """What an import did with a receipt."""

    IMPORTED = "imported"
    KNOWN = "known"
    """It was imported before."""
    OTHER_SENDER = "of another sender"
    """Its bundle was sealed by keys that no trust root here has; nothing was kept."""


@dataclass(frozen=True, slots=True)
class Imported:
    """An imported receipt."""

    kept: KeptReceipt
    state: ImportState
    alarms: tuple[str, ...] = ()
    unconfirmed: tuple[str, ...] = ()
    """Facts that cannot be compared with anything here, and are not alarms."""

    @property
    def fresh(self) -> bool:
        """Whether it was not here before."""
        return self.state == ImportState.IMPORTED


class ReceiptImport:
    """Imports other sites' receipts of bundles that were sealed here, and keeps them."""

    def __init__(self, site: Site, now: datetime) -> None:
        self.site = site
        self.now = now
        self._kept: Kept | None = None
        self._known: dict[str, KeptReceipt] = {}
        self._by_site: dict[str, list[Receipt]] = defaultdict(list)

    def take(self, path: Path, raw: bytes) -> Imported:
        """Import one receipt. `path` is where it came from.

        A receipt with a valid signature is kept as evidence even if its content is wrong. `alarms` and the
        ledger have what is wrong. A receipt that is here already is compared again, but not recorded again.
        Raises as `prove_receipt` does, and `MediaError` if a file of this site that it is compared with
        cannot be read.
        """
        digest = hashlib.sha256(raw).hexdigest()
        kept = self._read_kept()
        if (known := self._known.get(digest)) is not None:
            return self._compare(known, ImportState.KNOWN, kept)
        with self.site.ledger().attempt("receipt", path=str(path), receipt_sha256=digest) as attempt:
            envelope = Envelope.parse(raw, str(path))
            receipt = prove_receipt(envelope, self.site.root().root, self.now, str(path))
            attempt.add(**_details(receipt))
            kept.raise_disk_errors()
            if self._of_another_sender(receipt, kept):
                attempt.add(ignored=str(ImportState.OTHER_SENDER))
                return Imported(KeptReceipt(receipt, path, digest), ImportState.OTHER_SENDER)
            own = KeptReceipt(receipt, self.site.keep_receipt(_name(receipt, digest, kept), raw), digest)
            done = self._compare(own, ImportState.IMPORTED, kept)
            self._add(own)
            attempt.add(alarms=list(done.alarms), receipt=str(own.path))
            if done.unconfirmed:
                attempt.add(unconfirmed=list(done.unconfirmed))
            if done.alarms:
                attempt.result, attempt.exit_code = Outcome.ALARM, TrustError.exit_code
            return done

    def _read_kept(self) -> Kept:
        """Return what this site keeps, as it was before the first receipt."""
        if self._kept is None:
            self._kept = Kept.of(self.site)
            for answer in self._kept.receipts:
                self._add(answer)
        return self._kept

    def _add(self, answer: KeptReceipt) -> None:
        self._known[answer.sha256] = answer
        self._by_site[answer.receipt.site].append(answer.receipt)

    def _compare(self, own: KeptReceipt, state: ImportState, kept: Kept) -> Imported:
        receipt = own.receipt
        sealed = kept.find(receipt.bundle_stream, receipt.serial, receipt.statement_sha256)
        others = self._by_site[receipt.site]
        alarms = _at_most(find_alarms(receipt, sealed, others, kept.roots, self.now))
        notes = _at_most(unconfirmed(receipt, sealed.evidence(kept.roots), self.now)) if sealed else ()
        return Imported(own, state, alarms, notes)

    def _of_another_sender(self, receipt: Receipt, kept: Kept) -> bool:
        """Return whether the bundle was sealed by keys that this site has never trusted: a site that several
        senders send to answers all of them, and its medium may come to any of them.
        """
        streams = {sealed.statement.stream for sealed in kept.sealed}
        if not receipt.keyids or receipt.bundle_stream in streams:
            return False
        ours = {keyid for root in kept.roots.values() for keyid in root.keys}
        return ours.isdisjoint(receipt.keyids)


def import_receipt(site: Site, path: Path, raw: bytes, now: datetime) -> Imported:
    """Import one receipt: see `ReceiptImport.take`.

    Args:
        site: This site, which sealed the bundle.
        path: Where the receipt came from.
        raw: The bytes of the receipt.
        now: The time of the command.
    """
    return ReceiptImport(site, now).take(path, raw)


def _name(receipt: Receipt, digest: str, kept: Kept) -> str:
    """Return the path of the receipt below `receipts/`. Its own title is used as a name only if such a bundle
    was sealed here.
    """
    sealed = kept.find(receipt.bundle_stream, receipt.serial, receipt.statement_sha256)
    title = sealed.statement.title if sealed else "unknown"
    return f"{receipt.site}/{title}-{digest[:16]}{RECEIPT_SUFFIX}"


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
