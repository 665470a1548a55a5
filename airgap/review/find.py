"""Which bundle brought this image, or this blob: when, by whom, and where to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from airgap.audit.report import Entry, entries
from airgap.review.receipts import against_bundle
from airgap.review.records import Kept, KeptReceipt, Sealed

BLOB = "a blob"
DISPUTED = ", not as sealed"


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was done with what was asked for."""

    time: datetime | None
    site: str
    event: str
    result: str
    user: str
    bundle: str
    reference: str
    """The image's name there; `BLOB` where only the bundle is known."""
    digest: str
    where: str
    """The target, the host, or the folder; empty where the ledger does not say."""


def find(ledger: Path, site: str, kept: Kept, what: str) -> list[Found]:
    """All that is known here of a digest, or the beginning of one, or a part of an image's name.

    From the ledger, from the bundles that were sealed here, blob by blob, and from receipts. Raises
    `LedgerError` when the ledger cannot be read; its chain is not checked.
    """
    found = [each for entry in entries(ledger) for each in _in_entry(entry, site, what)]
    found += [each for sealed in kept.sealed for each in _in_bundle(sealed, site, what)]
    for receipt in kept.receipts:
        found += _in_receipt(receipt, site, what, DISPUTED if _is_disputed(receipt, kept, site) else "")
    return sorted(found, key=lambda each: (each.time is not None and each.time.timestamp(), each.bundle))


def fits(what: str, *texts: object) -> bool:
    """Whether `what` is part of a name, or how a digest begins, with or without its algorithm."""
    for text in texts:
        if not isinstance(text, str):
            continue
        _, colon, hexadecimal = text.partition(":")
        if text.startswith(("sha256:", "sha512:")) and colon:
            if text.startswith(what) or hexadecimal.startswith(what):
                return True
        elif what in text:
            return True
    return False


def _in_entry(entry: Entry, site: str, what: str) -> Iterator[Found]:
    effects = {each.get("reference"): each for each in _effects(entry.details)}
    images = {image.get("reference"): image for image in entry.images}
    for reference in images | effects:
        image, effect = images.get(reference, {}), effects.get(reference, {})
        digest = image.get("digest")
        if fits(what, reference, digest, effect.get("before"), effect.get("after")):
            yield Found(
                entry.time, site, entry.event, str(effect.get("verdict") or entry.result), entry.user,
                entry.title, str(reference), str(digest or ""), entry.place,
            )  # fmt: skip


def _effects(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    effect = details.get("effect")
    return [each for each in effect if isinstance(each, dict)] if isinstance(effect, list) else []


def _in_bundle(sealed: Sealed, site: str, what: str) -> Iterator[Found]:
    """Blobs that are no image's own digest: the ledger has those."""
    statement = sealed.statement
    images = {str(image.digest) for image in statement.images}
    for name in statement.subjects:
        digest = name.removeprefix("blobs/").replace("/", ":")
        if name.startswith("blobs/") and digest not in images and fits(what, digest):
            yield Found(
                statement.created, site, "pack", "sealed", "", statement.title, BLOB, digest, ""
            )  # fmt: skip


def _is_disputed(each: KeptReceipt, kept: Kept, site: str) -> bool:
    receipt = each.receipt
    sealed = kept.find(receipt.bundle_stream, receipt.serial, receipt.statement_sha256)
    return receipt.site != site and any(against_bundle(receipt, sealed, kept.roots, None))


def _in_receipt(kept: KeptReceipt, site: str, what: str, note: str) -> Iterator[Found]:
    """What other sites have loaded; loads here are in the ledger, but for the blobs."""
    receipt = kept.receipt
    known = {image.digest for image in receipt.images}
    own = receipt.site == site
    for image in receipt.images:
        if not own and fits(what, image.reference, image.digest, image.before, image.target_digest):
            yield Found(
                receipt.time, receipt.site, "load", image.verdict + note, receipt.operator, kept.title,
                image.reference, image.digest, receipt.target,
            )  # fmt: skip
    for digest in receipt.holds:
        if digest not in known and fits(what, digest):
            yield Found(
                receipt.time, receipt.site, "load", "held" + note, receipt.operator, kept.title, BLOB, digest,
                receipt.target,
            )  # fmt: skip
