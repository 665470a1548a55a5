"""Finds the bundles that brought an image or a blob: when, by whom, and where to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from airgap.audit.report import LedgerEntry, entries
from airgap.review.receipts import against_bundle
from airgap.review.records import Kept, KeptReceipt, Sealed

BLOB = "a blob"
DISPUTED = ", not as sealed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One entry that matches the search."""

    time: datetime | None
    site: str
    event: str
    result: str
    user: str
    bundle: str
    reference: str
    """The image's name there; `BLOB` if only the bundle is known."""
    digest: str
    where: str
    """The target, host or folder; empty if the ledger does not name one."""


def find(ledger: Path, site: str, kept: Kept, what: str) -> list[Match]:
    """Return all entries about a digest, a digest's beginning, or a part of an image's name.

    Sources are the ledger, the blobs of bundles that were sealed here, and receipts. Raises `LedgerError` if
    the ledger cannot be read; its chain is not checked.
    """
    matches = [match for entry in entries(ledger) for match in _in_entry(entry, site, what)]
    matches += [match for sealed in kept.sealed for match in _in_bundle(sealed, site, what)]
    for receipt in kept.receipts:
        matches += _in_receipt(receipt, site, what, DISPUTED if _is_disputed(receipt, kept, site) else "")
    return sorted(
        matches, key=lambda match: (match.time is not None and match.time.timestamp(), match.bundle)
    )


def fits(what: str, *texts: object) -> bool:
    """Return whether `what` is part of a name, or the start of a digest, with or without its algorithm."""
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


def _in_entry(entry: LedgerEntry, site: str, what: str) -> Iterator[Match]:
    effects = {effect.get("reference"): effect for effect in _effects(entry.details)}
    images = {image.get("reference"): image for image in entry.images}
    for reference in images | effects:
        image, effect = images.get(reference, {}), effects.get(reference, {})
        digest = image.get("digest")
        if fits(what, reference, digest, effect.get("before"), effect.get("after")):
            yield Match(
                time=entry.time,
                site=site,
                event=entry.event,
                result=str(effect.get("verdict") or entry.result),
                user=entry.user,
                bundle=entry.title,
                reference=str(reference),
                digest=str(digest or ""),
                where=entry.place,
            )


def _effects(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    effects = details.get("effect")
    return [effect for effect in effects if isinstance(effect, dict)] if isinstance(effects, list) else []


def _in_bundle(sealed: Sealed, site: str, what: str) -> Iterator[Match]:
    """Yield matching blobs, except the digests of images, which the ledger has."""
    statement = sealed.statement
    images = {str(image.digest) for image in statement.images}
    for name in statement.subjects:
        digest = name.removeprefix("blobs/").replace("/", ":")
        if name.startswith("blobs/") and digest not in images and fits(what, digest):
            yield Match(
                time=statement.created,
                site=site,
                event="pack",
                result="sealed",
                user="",
                bundle=statement.title,
                reference=BLOB,
                digest=digest,
                where="",
            )


def _is_disputed(answer: KeptReceipt, kept: Kept, site: str) -> bool:
    receipt = answer.receipt
    sealed = kept.find(receipt.bundle_stream, receipt.serial, receipt.statement_sha256)
    return receipt.site != site and any(against_bundle(receipt, sealed, kept.roots, None))


def _in_receipt(kept: KeptReceipt, site: str, what: str, note: str) -> Iterator[Match]:
    """Yield matches in loads of other sites. Loads here are in the ledger, except their blobs."""
    receipt = kept.receipt
    known = {image.digest for image in receipt.images}
    own = receipt.site == site
    for image in receipt.images:
        if not own and fits(what, image.reference, image.digest, image.before, image.target_digest):
            yield Match(
                time=receipt.time,
                site=receipt.site,
                event="load",
                result=image.verdict + note,
                user=receipt.operator,
                bundle=kept.title,
                reference=image.reference,
                digest=image.digest,
                where=receipt.target,
            )
    for digest in receipt.holds:
        if digest not in known and fits(what, digest):
            yield Match(
                time=receipt.time,
                site=receipt.site,
                event="load",
                result="held" + note,
                user=receipt.operator,
                bundle=kept.title,
                reference=BLOB,
                digest=digest,
                where=receipt.target,
            )
