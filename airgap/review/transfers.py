"""The state of each bundle that was sealed here, by the receipts that came back, and the loads here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from airgap.audit.receipt import PRESENT
from airgap.audit.record import Outcome
from airgap.bundle.statement import ImageKind
from airgap.review.receipts import against_bundle, find_alarms
from airgap.review.records import Kept, KeptReceipt, Sealed

ANY_SITE = "any site"


class TransferState(StrEnum):
    """How far the delivery of a bundle is confirmed."""

    WAITING = "waiting"
    """No receipt came back yet."""
    OVERDUE = "overdue"
    """Receipts are missing after the time that people allow."""
    PARTIAL = "partial"
    """Some sites have not confirmed that all images arrived."""
    RECEIVED = "received"
    """Every destination has confirmed that all images arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A bundle that was sealed here, and its receipts."""

    sealed: Sealed
    receipts: tuple[KeptReceipt, ...]
    """In the order of their times."""
    disputed: frozenset[KeptReceipt]
    """The receipts that do not agree with the bundle, and so confirm nothing."""
    missing: tuple[str, ...]
    """Destinations that have not confirmed that all images arrived."""
    state: TransferState


@dataclass(frozen=True, slots=True)
class Review:
    """The transfers of a site."""

    transfers: tuple[Transfer, ...]
    loads: tuple[KeptReceipt, ...]
    """The receipts of loads here."""
    alarms: tuple[str, ...]


def review(
    kept: Kept, site: str, now: datetime, overdue_after: timedelta, missing_receipts: Iterable[str] = ()
) -> Review:
    """Join the records of `site`. A bundle is overdue if it is not fully confirmed after `overdue_after`.
    `missing_receipts` are lines about receipts that should exist.
    """
    transfers = []
    alarms = [*(f"cannot be read: {error}" for error in kept.unreadable.values()), *missing_receipts]
    for sealed in kept.sealed:
        answers = tuple(answer for answer in kept.receipts if _is_of(answer, sealed))
        disputed = frozenset(
            answer for answer in answers if any(against_bundle(answer.receipt, sealed, kept.roots, now))
        )
        transfers.append(_transfer(sealed, answers, disputed, now, overdue_after))
    for number, answer in enumerate(kept.receipts):
        receipt = answer.receipt
        if receipt.site != site:  # its own loads are of bundles that others sealed
            found = kept.find(receipt.bundle_stream, receipt.serial, receipt.statement_sha256)
            earlier = [other.receipt for other in kept.receipts[:number]]
            texts = find_alarms(receipt, found, earlier, kept.roots, now)
            alarms += [f"{receipt.site}: {text}" for text in texts]
    loads = tuple(answer for answer in kept.receipts if answer.receipt.site == site)
    return Review(tuple(transfers), loads, tuple(dict.fromkeys(alarms)))


def _transfer(
    sealed: Sealed,
    answers: tuple[KeptReceipt, ...],
    disputed: frozenset[KeptReceipt],
    now: datetime,
    overdue_after: timedelta,
) -> Transfer:
    confirmed = {
        answer.receipt.site for answer in answers if answer not in disputed and _has_all(answer, sealed)
    }
    if sealed.statement.destinations:
        missing = tuple(name for name in sealed.statement.destinations if name not in confirmed)
    else:
        missing = () if confirmed else (ANY_SITE,)
    if not missing:
        state = TransferState.RECEIVED
    elif now - sealed.statement.created > overdue_after:
        state = TransferState.OVERDUE
    else:
        state = TransferState.PARTIAL if answers else TransferState.WAITING
    return Transfer(sealed=sealed, receipts=answers, disputed=disputed, missing=missing, state=state)


def _is_of(answer: KeptReceipt, sealed: Sealed) -> bool:
    statement, receipt = sealed.statement, answer.receipt
    named = (receipt.bundle_stream, receipt.serial, receipt.statement_sha256)
    return named == (statement.stream, statement.serial, sealed.statement_sha256)


def _has_all(answer: KeptReceipt, sealed: Sealed) -> bool:
    """Return whether all images arrived, by the receipt. Engines skip artifacts. An archive in a node's
    folder counts as arrived, although the node imports it later.
    """
    present = {image.digest for image in answer.receipt.images if image.verdict in PRESENT}
    images = {str(image.digest) for image in sealed.statement.images if image.kind == ImageKind.IMAGE}
    return answer.receipt.result == Outcome.OK and images <= present
