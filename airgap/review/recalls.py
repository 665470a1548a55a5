"""Finds, for reports, what recalls mean for the bundles that were sealed, confirmed and loaded."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from airgap.audit.receipt import PRESENT, Receipt
from airgap.audit.record import Outcome
from airgap.bundle.statement import Statement
from airgap.carry.recalled import in_order, still_loaded
from airgap.review.receipts import against_bundle
from airgap.review.records import Kept, KeptReceipt
from airgap.trust.recall import Recall
from airgap.trust.root import TrustRoot
from airgap.values import dataclass


def newest_recalls(roots: Mapping[int, TrustRoot]) -> Mapping[str, Recall]:
    """Return the recalls of the newest trust root, by the SHA-256 of the statement."""
    return {r.statement_sha256: r for r in roots[max(roots)].recalled} if roots else {}


def recalls_by_sender(kept: Kept) -> dict[tuple[str, str], Recall]:
    """Return the recalls of each sender's newest trust root, by the sender and the SHA-256 of the statement.
    The first sender is empty. A sender cannot recall the bundles of another one.
    """
    senders = {"": kept.roots, **kept.sender_roots}
    return {
        (sender, sha256): recall
        for sender, roots in senders.items()
        for sha256, recall in newest_recalls(roots).items()
    }


def recall_of(
    load: KeptReceipt, roots: Mapping[int, TrustRoot], sender_roots: Mapping[str, Mapping[int, TrustRoot]]
) -> Recall | None:
    """Return the recall of a bundle that was loaded here, by the newest root of its sender. A sender cannot
    recall the bundles of another one.

    Args:
        load: The receipt of the load.
        roots: All versions of the first sender's trust root.
        sender_roots: The same of the other senders, by name.
    """
    own = sender_roots.get(load.sender, {}) if load.sender else roots
    return newest_recalls(own).get(load.receipt.statement_sha256)


def not_replaced(
    statement_sha256: str,
    receipts: Iterable[KeptReceipt],
    confirming: Collection[KeptReceipt],
    recalled: Collection[str],
) -> dict[str, list[str]]:
    """Return the sites that still have a recalled bundle, with the targets, by their receipts.

    A site has it at a target where it loaded any image of it, until a receipt confirms that another bundle of
    the stream was loaded there completely, newer or by a step back.

    Args:
        statement_sha256: The SHA-256 of the bundle's statement.
        receipts: Receipts of any sites.
        confirming: Those of them that confirm all images of their bundles.
        recalled: The SHA-256 of the statements that are recalled: they replace nothing.
    """
    by_receipt = {id(kept.receipt): kept for kept in receipts}
    streams = {
        kept.receipt.bundle_stream
        for kept in by_receipt.values()
        if kept.receipt.statement_sha256 == statement_sha256
    }
    there: dict[tuple[str, str], bool] = {}
    for receipt in in_order(kept.receipt for kept in by_receipt.values()):
        key = receipt.site, receipt.target
        if receipt.statement_sha256 == statement_sha256:
            there[key] = there.get(key, False) or _has_any(receipt)
        elif receipt.bundle_stream in streams and receipt.statement_sha256 not in recalled:
            there[key] = there.get(key, False) and by_receipt[id(receipt)] not in confirming
    found: dict[str, list[str]] = {}
    for site, target in (key for key, has in there.items() if has):
        found.setdefault(site, []).append(target)
    return found


def _has_any(receipt: Receipt) -> bool:
    return receipt.result in (Outcome.OK, Outcome.PARTIAL) and any(
        image.verdict in PRESENT for image in receipt.images
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallImpact:
    """Who has a bundle, and what can replace it, by the receipts and sealed bundles kept here."""

    confirmed_by: tuple[str, ...]
    """The sites whose receipts say that all its images arrived."""
    still_at: Mapping[str, Sequence[str]]
    """The sites that have any of it and have confirmed nothing that replaces it, with the targets."""
    replaced_by: str | None
    """The title of the newest later bundle of the stream that was sealed here and is not recalled."""


def find_impact(kept: Kept, statement: Statement, statement_sha256: str) -> RecallImpact:
    """Return who has a bundle, and what can replace it.

    Args:
        kept: What this site keeps.
        statement: The statement of the bundle.
        statement_sha256: Its SHA-256 in hex.
    """
    recalled = {*newest_recalls(kept.roots), statement_sha256}
    whole = frozenset(answer for answer in kept.receipts if _is_whole(answer.receipt, kept))
    confirmed = {a.receipt.site for a in whole if a.receipt.statement_sha256 == statement_sha256}
    place = statement.epoch, statement.serial
    later = [
        ((other.epoch, other.serial), other.title)
        for sealed in kept.sealed
        if (other := sealed.statement).stream == statement.stream
        and (other.epoch, other.serial) > place
        and sealed.statement_sha256 not in recalled
    ]
    return RecallImpact(
        confirmed_by=tuple(sorted(confirmed)),
        still_at=not_replaced(statement_sha256, kept.receipts, whole, recalled),
        replaced_by=max(later)[1] if later else None,
    )


def _is_whole(receipt: Receipt, kept: Kept) -> bool:
    """Return whether a receipt says that all arrived, and agrees with the bundle if it was sealed here."""
    sealed = kept.find(receipt.bundle_stream, receipt.serial, receipt.statement_sha256)
    disputed = sealed is not None and any(against_bundle(receipt, sealed, kept.roots, None))
    return receipt.result == Outcome.OK and not disputed


def not_replaced_alarms(title: str, recall: Recall, sites: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Yield an alarm for each site that still has a recalled bundle, with its targets."""
    for site, targets in sorted(sites.items()):
        yield f"{title} is recalled: {recall.words}; {site} still has it at {', '.join(sorted(targets))}"


def own_alarms(kept: Kept, site: str) -> Iterator[str]:
    """Yield an alarm for each recalled bundle that is still the newest at a target of this `site`."""
    own = [answer for answer in kept.receipts if answer.receipt.site == site]
    recalls = [
        recall for answer in own if (recall := recall_of(answer, kept.roots, kept.sender_roots)) is not None
    ]
    for here in still_loaded(in_order(answer.receipt for answer in own), recalls):
        yield here.words


def find_contradictions(kept: Kept) -> Iterator[str]:
    """Yield an alarm for each recall whose stream, epoch and serial are not those of the bundle that it is
    about, if that bundle is known here: only the SHA-256 decides, but people read the name.

    Only recalls and bundles of the first sender are compared: another one may use the same stream name.
    """
    places: dict[str, _Place] = {}
    for sealed in kept.sealed:
        statement = sealed.statement
        places[sealed.statement_sha256] = statement.stream, statement.epoch, statement.serial
    for receipt in (answer.receipt for answer in kept.receipts if not answer.sender):
        place = receipt.bundle_stream, receipt.epoch, receipt.serial
        places.setdefault(receipt.statement_sha256, place)
    for recall in newest_recalls(kept.roots).values():
        said = recall.stream, recall.epoch, recall.serial
        known = places.get(recall.statement_sha256)
        if known is not None and known != said:
            about = f"{_describe(known)}, statement {recall.statement_sha256}"
            yield f"the recall of {_describe(said)} is about {about}"
        for sha256, place in places.items():
            if known is None and place == said:
                yield (
                    f"the recall of {_describe(said)} is about statement {recall.statement_sha256}, and the "
                    f"bundle of this name here has statement {sha256}: ask the sending side which is meant"
                )


_Place = tuple[str, int, int]


def _describe(place: _Place) -> str:
    stream, epoch, serial = place
    return f"{stream}-{serial:04d} of epoch {epoch}"
