"""The way of each bundle: sealed, on its way, answered by receipts; and what was loaded here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from airgap.audit.receipt import PRESENT
from airgap.review.receipts import against_bundle, find_alarms
from airgap.review.records import Kept, KeptReceipt, Sealed

WAITING, OVERDUE, PARTIAL, RECEIVED = "waiting", "overdue", "partial", "received"
ANY_SITE = "any site"


@dataclass(frozen=True, slots=True)
class Transfer:
    """A bundle that was sealed here, and what came back."""

    sealed: Sealed
    receipts: tuple[KeptReceipt, ...]
    """The oldest first."""
    disputed: frozenset[KeptReceipt]
    """Those of them that do not agree with the bundle, and so confirm nothing."""
    missing: tuple[str, ...]
    """Destinations that have not said that all of it is there."""
    state: str


@dataclass(frozen=True, slots=True)
class Review:
    """What a site knows of its transfers."""

    transfers: tuple[Transfer, ...]
    loads: tuple[KeptReceipt, ...]
    """Of bundles that were loaded here."""
    alarms: tuple[str, ...]


def review(kept: Kept, site: str, now: datetime, patience: timedelta, gone: Iterable[str] = ()) -> Review:
    """Join what is kept at `site`; a bundle is overdue when it has no full answer after `patience`. `gone`
    are lines about receipts that should be there.
    """
    transfers = []
    alarms = [*(f"cannot be read: {error}" for error in kept.unreadable.values()), *gone]
    for sealed in kept.sealed:
        answers = tuple(each for each in kept.receipts if _is_of(each, sealed))
        disputed = frozenset(
            each for each in answers if any(against_bundle(each.receipt, sealed, kept.roots, now))
        )
        transfers.append(_transfer(sealed, answers, disputed, now, patience))
    for number, each in enumerate(kept.receipts):
        if each.receipt.site != site:  # its own loads are of bundles that others sealed
            found = kept.find(each.receipt.bundle_stream, each.receipt.serial, each.receipt.statement_sha256)
            earlier = [other.receipt for other in kept.receipts[:number]]
            told = find_alarms(each.receipt, found, earlier, kept.roots, now)
            alarms += [f"{each.receipt.site}: {text}" for text in told]
    loads = tuple(each for each in kept.receipts if each.receipt.site == site)
    return Review(tuple(transfers), loads, tuple(dict.fromkeys(alarms)))


def _transfer(
    sealed: Sealed,
    answers: tuple[KeptReceipt, ...],
    disputed: frozenset[KeptReceipt],
    now: datetime,
    patience: timedelta,
) -> Transfer:
    there = {each.receipt.site for each in answers if each not in disputed and _has_all(each, sealed)}
    if sealed.statement.destinations:
        missing = tuple(name for name in sealed.statement.destinations if name not in there)
    else:
        missing = () if there else (ANY_SITE,)
    if not missing:
        state = RECEIVED
    elif now - sealed.statement.created > patience:
        state = OVERDUE
    else:
        state = PARTIAL if answers else WAITING
    return Transfer(sealed, answers, disputed, missing, state)


def _is_of(answer: KeptReceipt, sealed: Sealed) -> bool:
    statement, receipt = sealed.statement, answer.receipt
    named = (receipt.bundle_stream, receipt.serial, receipt.statement_sha256)
    return named == (statement.stream, statement.serial, sealed.statement_sha256)


def _has_all(answer: KeptReceipt, sealed: Sealed) -> bool:
    """Whether each image has arrived, by the receipt. Engines skip artifacts; an archive in a node's folder
    has arrived, though the node is what imports it.
    """
    there = {image.digest for image in answer.receipt.images if image.verdict in PRESENT}
    images = {str(image.digest) for image in sealed.statement.images if image.kind == "image"}
    return answer.receipt.result == "ok" and images <= there
