"""The state of each bundle that was sealed here, by the receipts that came back, and the loads here.

The standing of each destination follows from the receipts that agree with the bundle:

    confirmed    all images arrived
    superseded   it confirmed a later bundle of the stream: of a later epoch, or of the same epoch with a
                 higher serial. A site refuses bundles that are older than one it has accepted, and each
                 bundle brings the whole state of its manifest (a delta loads only where its base is), so no
                 answer about this bundle is expected
    incomplete   it answered, but some images did not arrive, or the receipt disagrees with the bundle
    missing      it did not answer

If a bundle is for any site, one site is enough to confirm or supersede it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from airgap.audit.receipt import PRESENT, Receipt
from airgap.audit.record import Outcome
from airgap.bundle.statement import ImageKind
from airgap.review.recalls import (
    find_contradictions,
    newest_recalls,
    not_replaced,
    not_replaced_alarms,
    own_alarms,
)
from airgap.review.receipts import against_bundle, find_alarms
from airgap.review.records import Kept, KeptReceipt, Sealed
from airgap.trust.recall import Recall
from airgap.values import dataclass

ANY_SITE = "any site"


class TransferState(StrEnum):
    """The state of a bundle."""

    WAITING = "waiting"
    """No destination has answered, and there is still time."""
    PARTIAL = "partial"
    """Some destinations have answered, and there is still time for the others."""
    OVERDUE = "overdue"
    """Some destinations have not confirmed the bundle in time."""
    SUPERSEDED = "superseded"
    """Each destination has confirmed this bundle or a later one, and not all of them this one."""
    RECEIVED = "received"
    """All destinations have confirmed it."""
    RECALLED = "recalled"
    """The trust root recalls it, whatever its destinations have answered; no further answer is expected."""


class Standing(StrEnum):
    """The standing of a destination, as the module describes it."""

    CONFIRMED = "confirmed"
    SUPERSEDED = "superseded"
    INCOMPLETE = "incomplete"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Recipient:
    """A site that a bundle is for, or `ANY_SITE`, and its receipts."""

    site: str
    standing: Standing
    receipts: tuple[KeptReceipt, ...]
    later: str = ""
    """The title of the bundle that superseded this one there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A bundle that was sealed here, and its receipts."""

    sealed: Sealed
    receipts: tuple[KeptReceipt, ...]
    """In the order of their times."""
    disputed: frozenset[KeptReceipt]
    """The receipts that do not agree with the bundle, and so confirm nothing."""
    recipients: tuple[Recipient, ...]
    state: TransferState
    recall: Recall | None = None
    not_replaced: Mapping[str, Sequence[str]] = field(default_factory=dict, hash=False)
    """The sites that still have a recalled bundle, and the targets."""

    @property
    def audience(self) -> str:
        """Return which sites it is for, for people."""
        return ", ".join(self.sealed.statement.destinations) or ANY_SITE

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the destinations that have confirmed neither this bundle nor a later one; none if no answer
        is expected, because the bundle is recalled.
        """
        if self.recall is not None:
            return ()
        return tuple(self._sites(Standing.INCOMPLETE, Standing.MISSING))

    @property
    def answers(self) -> str:
        """Return which destinations have answered: `3 of 5 answered; missing: plant-3, plant-5`.

        Of a recalled bundle, return the reason, and who still has it.
        """
        if self.recall is not None:
            still = f"; still at: {', '.join(sorted(self.not_replaced))}" if self.not_replaced else ""
            return f"{self.recall.words}{still}"
        if not self.sealed.statement.destinations:
            return self._answers_of_any()
        answered = sum(bool(recipient.receipts) for recipient in self.recipients)
        parts = [f"{answered} of {len(self.recipients)} answered"]
        for words, standing in (
            ("not complete", Standing.INCOMPLETE),
            ("missing", Standing.MISSING),
            ("superseded", Standing.SUPERSEDED),
        ):
            if sites := self._sites(standing):
                parts.append(f"{words}: {', '.join(sites)}")
        return "; ".join(parts)

    def _answers_of_any(self) -> str:
        sites = dict.fromkeys(answer.receipt.site for answer in self.receipts)
        answered = f"{', '.join(sites) or 'no site'} answered"
        return f"{answered}; not complete" if sites and self.missing else answered

    def _sites(self, *standings: Standing) -> list[str]:
        return [recipient.site for recipient in self.recipients if recipient.standing in standings]

    def confirms(self, answer: KeptReceipt) -> bool:
        """Return whether a receipt of this bundle confirms that all its images arrived."""
        return answer not in self.disputed and _has_all_images(answer, self.sealed)


@dataclass(frozen=True, slots=True)
class Review:
    """The transfers of a site."""

    transfers: tuple[Transfer, ...]
    loads: tuple[KeptReceipt, ...]
    """The receipts of loads here."""
    alarms: tuple[str, ...]


_Position = tuple[int, int, str]
"""Epoch, serial and title of a bundle: later bundles of a stream are greater."""


def review(
    kept: Kept, site: str, now: datetime, overdue_after: timedelta, missing_receipts: Iterable[str] = ()
) -> Review:
    """Join the records of `site`. A bundle is overdue if it is not fully confirmed after `overdue_after`.
    `missing_receipts` are lines about receipts that should exist.
    """
    alarms = [*(f"cannot be read: {error}" for error in kept.unreadable.values()), *missing_receipts]
    alarms += _receipt_alarms(kept, site, now)
    receipts: dict[tuple[str, int, str], list[KeptReceipt]] = defaultdict(list)
    for answer in kept.receipts:
        receipts[_bundle_of(answer.receipt)].append(answer)
    answers = [tuple(receipts.get(_key(sealed), ())) for sealed in kept.sealed]
    disputed = [
        frozenset(
            answer for answer in of_bundle if any(against_bundle(answer.receipt, sealed, kept.roots, now))
        )
        for sealed, of_bundle in zip(kept.sealed, answers, strict=True)
    ]
    newest = _newest_confirmed(kept.sealed, answers, disputed)
    transfers = []
    for sealed, of_bundle, wrong in zip(kept.sealed, answers, disputed, strict=True):
        recipients = tuple(_recipients(sealed, of_bundle, wrong, newest))
        late = now - sealed.statement.created > overdue_after
        transfers.append(
            Transfer(
                sealed=sealed, receipts=of_bundle, disputed=wrong, recipients=recipients,
                state=_state(recipients, late=late),
            )
        )  # fmt: skip
    transfers = _with_recalls(transfers, kept)
    alarms += (line for transfer in transfers for line in _recall_alarms(transfer))
    alarms += [*own_alarms(kept, site), *find_contradictions(kept)]
    loads = _by_sender(answer for answer in kept.receipts if answer.receipt.site == site)
    return Review(tuple(transfers), loads, tuple(dict.fromkeys(alarms)))


def _by_sender(loads: Iterable[KeptReceipt]) -> tuple[KeptReceipt, ...]:
    """Return the loads by sender and stream if there are several senders, else by time."""
    by_time = tuple(loads)
    if not any(load.sender for load in by_time):
        return by_time
    return tuple(sorted(by_time, key=lambda load: (load.sender, load.receipt.bundle_stream)))


def _with_recalls(transfers: Sequence[Transfer], kept: Kept) -> list[Transfer]:
    """Return the transfers; those of recalled bundles have the recall, and the sites that still have them."""
    recalls = newest_recalls(kept.roots)
    confirming = frozenset(a for transfer in transfers for a in transfer.receipts if transfer.confirms(a))
    return [
        replace(
            transfer, state=TransferState.RECALLED, recall=recall,
            not_replaced=not_replaced(recall.statement_sha256, kept.receipts, confirming, recalls.keys()),
        )
        if (recall := recalls.get(transfer.sealed.statement_sha256))
        else transfer
        for transfer in transfers
    ]  # fmt: skip


def _recall_alarms(transfer: Transfer) -> Iterable[str]:
    if transfer.recall is None:
        return ()
    return not_replaced_alarms(transfer.sealed.statement.title, transfer.recall, transfer.not_replaced)


def _receipt_alarms(kept: Kept, site: str, now: datetime) -> Iterable[str]:
    sealed = {_key(bundle): bundle for bundle in reversed(kept.sealed)}
    earlier: dict[str, list[Receipt]] = defaultdict(list)
    longest: dict[str, int] = defaultdict(lambda: -1)
    for answer in kept.receipts:
        receipt = answer.receipt
        if receipt.site != site:  # its own loads are of bundles that others sealed
            bundle = sealed.get(_bundle_of(receipt))
            size = receipt.checkpoint["size"]
            # a checkpoint that is later and longer than all others agrees with each of them
            others = earlier[receipt.site] if size <= longest[receipt.site] else ()
            for text in find_alarms(receipt, bundle, others, kept.roots, now):
                yield f"{receipt.site}: {text}"
            longest[receipt.site] = max(size, longest[receipt.site])
        earlier[receipt.site].append(receipt)


def _newest_confirmed(
    bundles: Iterable[Sealed],
    answers: Iterable[tuple[KeptReceipt, ...]],
    disputed: Iterable[frozenset[KeptReceipt]],
) -> Mapping[tuple[str, str], _Position]:
    """Return the newest bundle that each site has confirmed, by stream and site; `ANY_SITE` is a site too."""
    newest: dict[tuple[str, str], _Position] = {}
    for sealed, of_bundle, wrong in zip(bundles, answers, disputed, strict=True):
        for site in _confirmed_at(sealed, of_bundle, wrong):
            for name in (site, ANY_SITE):
                key = sealed.statement.stream, name
                newest[key] = max(newest.get(key, _position(sealed)), _position(sealed))
    return newest


def _recipients(
    sealed: Sealed,
    answers: tuple[KeptReceipt, ...],
    disputed: frozenset[KeptReceipt],
    newest: Mapping[tuple[str, str], _Position],
) -> Iterable[Recipient]:
    confirmed = _confirmed_at(sealed, answers, disputed)
    for site in sealed.statement.destinations or (ANY_SITE,):
        own = tuple(answer for answer in answers if site in (ANY_SITE, answer.receipt.site))
        later = newest.get((sealed.statement.stream, site))
        if site in confirmed or (site == ANY_SITE and confirmed):
            yield Recipient(site, Standing.CONFIRMED, own)
        elif later is not None and later > _position(sealed):
            yield Recipient(site, Standing.SUPERSEDED, own, later[2])
        else:
            yield Recipient(site, Standing.INCOMPLETE if own else Standing.MISSING, own)


def _state(recipients: tuple[Recipient, ...], *, late: bool) -> TransferState:
    standings = {recipient.standing for recipient in recipients}
    if standings <= {Standing.CONFIRMED}:
        return TransferState.RECEIVED
    if standings <= {Standing.CONFIRMED, Standing.SUPERSEDED}:
        return TransferState.SUPERSEDED
    if late:
        return TransferState.OVERDUE
    return (
        TransferState.PARTIAL
        if any(recipient.receipts for recipient in recipients)
        else TransferState.WAITING
    )


def _confirmed_at(
    sealed: Sealed, answers: tuple[KeptReceipt, ...], disputed: frozenset[KeptReceipt]
) -> set[str]:
    """Return the sites that have everything. All images must have come in one load. Files may have come in
    others, because they may go to another target.
    """
    agreed = [answer for answer in answers if answer not in disputed]
    files = {str(image.digest) for image in sealed.statement.images if image.kind is ImageKind.FILES}
    present: dict[str, set[str]] = defaultdict(set)
    for answer in agreed:
        present[answer.receipt.site] |= _present(answer)
    return {
        answer.receipt.site
        for answer in agreed
        if _has_all_images(answer, sealed) and files <= present[answer.receipt.site]
    }


def _position(sealed: Sealed) -> _Position:
    return sealed.statement.epoch, sealed.statement.serial, sealed.statement.title


def _key(sealed: Sealed) -> tuple[str, int, str]:
    return sealed.statement.stream, sealed.statement.serial, sealed.statement_sha256


def _bundle_of(receipt: Receipt) -> tuple[str, int, str]:
    return receipt.bundle_stream, receipt.serial, receipt.statement_sha256


def _present(answer: KeptReceipt) -> set[str]:
    return {image.digest for image in answer.receipt.images if image.verdict in PRESENT}


def _has_all_images(answer: KeptReceipt, sealed: Sealed) -> bool:
    """Return whether all images arrived, by the receipt. Engines skip artifacts. An archive in a node's
    folder counts as arrived, although the node imports it later.
    """
    images = {str(image.digest) for image in sealed.statement.images if image.kind == ImageKind.IMAGE}
    return answer.receipt.result == Outcome.OK and images <= _present(answer)
