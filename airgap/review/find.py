"""Finds the bundles that brought an image or a blob, or that belong to a ticket, site, host or person: when,
by whom, and where to.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from airgap.audit.receipt import Receipt
from airgap.audit.record import CLAIM
from airgap.audit.report import LedgerEntry
from airgap.audit.search import entries_with
from airgap.bundle.statement import Statement
from airgap.review.export import stated_pairs, statement_of, texts
from airgap.review.recalls import recalls_by_sender
from airgap.review.receipts import against_bundle
from airgap.review.records import Kept, KeptReceipt, Sealed
from airgap.review.signers import owners_of
from airgap.values import dataclass

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
    """The image's name there; `BLOB` if only the bundle is known, and the number of images if the search is
    about the bundle."""
    digest: str
    """Of the image or blob; of the statement if the search is about the bundle."""
    where: str
    """The target, host or folder; empty if the ledger does not name one."""
    recalled: bool = False
    """Whether the newest trust root of its sender recalls the bundle."""


def find(ledger: Path, site: str, kept: Kept, what: str) -> list[Match]:
    """Return all entries about a digest, a digest's beginning, or a part of an image's name; and those with
    `what`, in any case, in the name of the bundle, a site, a host, a target or a person, or in what was
    stated for the transfer, such as a ticket.

    Sources are the ledger, the blobs of bundles that were sealed here, and receipts. Raises `LedgerError` if
    the ledger cannot be read; its chain is not checked.
    """
    sealed_here = {sealed.statement_sha256: sealed.statement for sealed in kept.sealed}
    by_key = {_key(sealed): sealed for sealed in reversed(kept.sealed)}
    signers = owners_of(kept)
    recalls = recalls_by_sender(kept)
    found: list[Match] = []

    def take(matches: Iterable[Match], sender: str, sha256: str) -> None:
        found.extend(replace(match, recalled=(sender, sha256) in recalls) for match in matches)

    named = {
        sha256
        for sha256, statement in sealed_here.items()
        if _mentioned(what, _statement_texts(statement, signers.get(sha256, ())))
    }
    for entry in entries_with(ledger, what, named):
        images = list(_in_entry(entry, site, what))
        take(
            images or _about_entry(entry, site, sealed_here, signers, what), entry.sender, statement_of(entry)
        )
    for sealed in kept.sealed:
        take(_in_bundle(sealed, site, what), "", sealed.statement_sha256)
    for receipt in kept.receipts:
        sha256 = receipt.receipt.statement_sha256
        matches = list(_in_receipt(receipt, site, what, sealed_here.get(sha256)))
        if matches and _is_disputed(receipt.receipt, by_key, kept, site):
            matches = [replace(match, result=match.result + DISPUTED) for match in matches]
        take(matches, receipt.sender, sha256)
    return sorted(found, key=lambda match: (match.time is not None and match.time.timestamp(), match.bundle))


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
    effects = {effect.get("reference"): effect for effect in entry.effects}
    images = {image.get("reference"): image for image in entry.images}
    for reference in images | effects:
        image, effect = images.get(reference, {}), effects.get(reference, {})
        digest = image.get("digest")
        files = _file_texts(image) or _file_texts(effect)
        if fits(what, reference, digest, effect.get("before"), effect.get("after"), *files):
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


def _file_texts(image: Mapping[str, Any]) -> list[object]:
    """Return the names and digests of the files in the record of an artifact."""
    files = image.get("files")
    records = [item for item in files if isinstance(item, dict)] if isinstance(files, list) else []
    return [item.get(key) for item in records for key in ("name", "digest")]


def _about_entry(
    entry: LedgerEntry,
    site: str,
    sealed: Mapping[str, Statement],
    signers: Mapping[str, Iterable[str]],
    what: str,
) -> Iterator[Match]:
    """Yield the entry as one match if it names what is sought otherwise than as an image."""
    details = entry.details
    sha256 = statement_of(entry)
    statement = sealed.get(sha256)
    names = [
        entry.title, entry.place, entry.user, entry.host, entry.site, sha256,
        *(str(details.get(key) or "") for key in ("from_site", "owner", CLAIM)),
        *texts(details.get("hosts")), *texts(details.get("owners")), *stated_pairs(entry).values(),
        *_statement_texts(statement, signers.get(sha256, ())),
    ]  # fmt: skip
    checks = details.get("checks")
    names += texts(checks.get("owners")) if isinstance(checks, dict) else []
    if _mentioned(what, names):
        count = len(entry.images)
        images = f"{count} image{'' if count == 1 else 's'}" if count else ""
        yield Match(
            time=entry.time,
            site=site,
            event=entry.event,
            result=entry.result,
            user=entry.user,
            bundle=entry.title,
            reference=images,
            digest=f"sha256:{sha256}" if sha256 else "",
            where=entry.place,
        )


def _statement_texts(statement: Statement | None, signers: Iterable[str]) -> Iterable[str]:
    """Return what a bundle that was sealed here adds to its entries, which do not have it themselves."""
    if statement is None:
        return signers
    return (*statement.destinations, *statement.transfer.values(), *signers)


def _mentioned(what: str, names: Iterable[str]) -> bool:
    return any(what.casefold() in name.casefold() for name in names)


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


_Key = tuple[str, int, str]


def _key(sealed: Sealed) -> _Key:
    return sealed.statement.stream, sealed.statement.serial, sealed.statement_sha256


def _is_disputed(receipt: Receipt, sealed: Mapping[_Key, Sealed], kept: Kept, site: str) -> bool:
    bundle = sealed.get((receipt.bundle_stream, receipt.serial, receipt.statement_sha256))
    return receipt.site != site and any(against_bundle(receipt, bundle, kept.roots, None))


def _in_receipt(kept: KeptReceipt, site: str, what: str, statement: Statement | None) -> Iterator[Match]:
    """Yield matches in loads of other sites. Loads here are in the ledger, except their blobs."""
    receipt = kept.receipt
    known = {image.digest for image in receipt.images}
    own = receipt.site == site
    stated = statement.transfer.values() if statement else ()
    about = _mentioned(what, (receipt.site, receipt.by, receipt.target, kept.title, *stated))
    files = {str(record.digest): record.files for record in statement.images} if statement else {}
    for image in receipt.images:
        names = [item.name for item in files.get(image.digest, ())]
        if not own and (
            about or fits(what, image.reference, image.digest, image.before, image.target_digest, *names)
        ):
            yield Match(
                time=receipt.time,
                site=receipt.site,
                event="load",
                result=str(image.verdict),
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
                result="held",
                user=receipt.operator,
                bundle=kept.title,
                reference=BLOB,
                digest=digest,
                where=receipt.target,
            )
