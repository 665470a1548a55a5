"""The way of each bundle: sealed, on its way, answered by receipts; and what was loaded here."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from airgap.review.kept import Kept, KeptReceipt, Sealed
from airgap.review.receipts import find_alarms

WAITING, OVERDUE, PARTIAL, RECEIVED = "waiting", "overdue", "partial", "received"
ANY_SITE = "any site"


@dataclass(frozen=True, slots=True)
class Transfer:
    """A bundle that was sealed here, and what came back."""

    sealed: Sealed
    receipts: tuple[KeptReceipt, ...]
    """The oldest first."""
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


def review(kept: Kept, site: str, now: datetime, patience: timedelta) -> Review:
    """Join what is kept at `site`; a bundle is overdue when it has no full answer after `patience`."""
    transfers = []
    alarms = [f"cannot be read: {error}" for error in kept.unreadable.values()]
    for sealed in kept.sealed:
        answers = tuple(r for r in kept.receipts if r.receipt.statement_sha256 == sealed.statement_sha256)
        transfers.append(_transfer(sealed, answers, now, patience))
    for number, each in enumerate(kept.receipts):
        if each.receipt.site != site:  # its own loads are of bundles that others sealed
            found = kept.find(each.receipt.bundle_stream, each.receipt.serial, each.receipt.statement_sha256)
            earlier = [other.receipt for other in kept.receipts[:number]]
            alarms += [f"{each.receipt.site}: {text}" for text in find_alarms(each.receipt, found, earlier)]
    loads = tuple(each for each in kept.receipts if each.receipt.site == site)
    return Review(tuple(transfers), loads, tuple(dict.fromkeys(alarms)))


def _transfer(
    sealed: Sealed, answers: tuple[KeptReceipt, ...], now: datetime, patience: timedelta
) -> Transfer:
    there = {each.receipt.site for each in answers if each.receipt.result == "ok"}
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
    return Transfer(sealed, answers, missing, state)
