"""The report on the transfers of a site: what the text, the page and the JSON of `audit report` show."""

from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import datetime, timedelta

from airgap.audit.chain import LedgerState
from airgap.audit.facts import OVERRIDE
from airgap.audit.record import END, MEDIUM, NOTE, Outcome
from airgap.audit.report import LedgerEntry, entries
from airgap.errors import IntegrityError, RollbackError, TrustError
from airgap.review.export import medium_name, statement_of
from airgap.review.media import LostMedium, lost_media, media_of
from airgap.review.recalls import recall_of
from airgap.review.records import Kept, KeptReceipt
from airgap.review.transfers import Review, Transfer, TransferState, review
from airgap.review.witness import check_witnessed
from airgap.site import Site
from airgap.times import describe_time, format_time
from airgap.trust.document import TrustRoot
from airgap.trust.recall import Recall
from airgap.values import dataclass

_NORMAL = (Outcome.OK, NOTE, END)
"""Results of entries that need no attention."""

_ALARMING = (IntegrityError.exit_code, TrustError.exit_code, RollbackError.exit_code)
"""The exit codes of refusals that are alarms: changed bytes, signatures that do not count, an old bundle."""
_SHOWN = ("pack", "sign", "load", "receipt", MEDIUM, OVERRIDE)
"""The events of entries that a report shows if they were successful, too."""
_CHECKING = (
    "verify", "media-verify", "media-write", "receive", "load", "serve", "send", "receipt", "kit-verify",
)  # fmt: skip
"""The events that check what came from elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The content of the page, and of the same report as text."""

    site: str
    time: datetime
    ledger: LedgerState
    witnesses: int
    """The number of checkpoints in bundles and receipts that the ledger was compared with."""
    review: Review
    entries: tuple[LedgerEntry, ...] = field(hash=False)
    """The entries that a report may show, the oldest first."""
    since: datetime | None = None
    """The beginning of the period. It does not limit the entries about a bundle that has its own card."""
    roots: Mapping[int, TrustRoot] = field(default_factory=dict, hash=False)
    """All versions of the first sender's trust root that are installed here."""
    sender_roots: Mapping[str, Mapping[int, TrustRoot]] = field(default_factory=dict, hash=False)
    """The same of the other senders, by name."""
    lost: tuple[LostMedium, ...] = ()
    """The media that are marked as lost."""

    def recall_of(self, load: KeptReceipt) -> Recall | None:
        """Return the recall of the bundle that was loaded, if the newest trust root of its sender has one."""
        return recall_of(load, self.roots, self.sender_roots)

    def root_of(self, load: KeptReceipt) -> TrustRoot | None:
        """Return the trust root under which a bundle was verified here; None if it is not installed."""
        roots = self.sender_roots.get(load.sender, {}) if load.sender else self.roots
        return roots.get(load.receipt.root_version)

    @property
    def period(self) -> tuple[LedgerEntry, ...]:
        """The entries of the period."""
        first = self.since
        return tuple(e for e in self.entries if first is None or e.time is None or e.time >= first)

    @property
    def odd(self) -> tuple[LedgerEntry, ...]:
        """The entries that were refused, failed, interrupted or not finished, and decisions of people."""
        return tuple(e for e in self.period if e.result not in _NORMAL or e.event == OVERRIDE)

    @property
    def alarms(self) -> tuple[str, ...]:
        """The alarms about receipts and files, and the refusals of content that does not agree."""
        refusals = [e for e in self.period if is_alarming(e) and not self._is_settled(e)]
        return (*self.review.alarms, *map(_refusal_line, refusals))

    def _is_settled(self, refusal: LedgerEntry) -> bool:
        """Return whether it is the refusal of a receipt that was imported later, byte for byte: the key of
        its site was not in the trust root yet.
        """
        sha256 = refusal.details.get("receipt_sha256")
        return refusal.event == "receipt" and any(
            entry.event == "receipt"
            and entry.seq > refusal.seq
            and entry.result == Outcome.OK
            and entry.details.get("receipt_sha256") == sha256
            for entry in self.entries
        )

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of the summary. A bundle is counted in one of the states."""
        states = [transfer.state for transfer in self.review.transfers]
        return {
            "sealed": len(states),
            "confirmed": states.count(TransferState.RECEIVED),
            "waiting": states.count(TransferState.WAITING) + states.count(TransferState.PARTIAL),
            "superseded": states.count(TransferState.SUPERSEDED),
            "overdue": states.count(TransferState.OVERDUE),
            "recalled": states.count(TransferState.RECALLED),
            "loaded": len(self.review.loads),
            "refused": sum(entry.result == Outcome.REFUSED for entry in self.period),
            "alarms": len(self.alarms),
        }


def make_report(
    site: Site, now: datetime, overdue_after: timedelta = timedelta(days=14), since: datetime | None = None
) -> Report:
    """Return the report of a site.

    Args:
        site: The site whose ledger, sealed bundles and receipts are read.
        now: The time of the report, which overdue receipts are measured by.
        overdue_after: How long a bundle may wait for its receipts.
        since: The beginning of the period for entries of the ledger; None for all.

    Raises:
        LedgerError: The ledger is not complete, was cut, or disagrees with a signed checkpoint.
    """
    kept = Kept.of(site)
    state, witnesses = check_witnessed(site, kept)
    found = tuple(entries(site.ledger_path, where=_is_shown))
    missing = kept.missing_receipts(found).values()
    return Report(
        site=site.name, time=now, ledger=state, witnesses=witnesses, entries=found, since=since,
        roots=kept.roots, sender_roots=kept.sender_roots, lost=lost_media(found, kept.receipts),
        review=review(kept, site.name, now, overdue_after, missing),
    )  # fmt: skip


def _is_shown(entry: LedgerEntry) -> bool:
    """Return whether a report may show more of the entry than a bundle's own records do."""
    return entry.event in _SHOWN or entry.result not in _NORMAL or bool(media_of(entry))


def is_alarming(entry: LedgerEntry) -> bool:
    """Return whether the entry is the refusal of content that is not what was signed, or not in order."""
    return entry.result == Outcome.REFUSED and entry.event in _CHECKING and entry.exit_code in _ALARMING


def _refusal_line(entry: LedgerEntry) -> str:
    when = f"{describe_time(entry.time)}: " if entry.time else ""
    what = f"{entry.event} {entry.title}".strip()
    return f"{when}{what} refused (line {entry.seq} of the ledger, by {entry.user}): {entry.reason}"


STATES = {TransferState.RECEIVED: "confirmed", TransferState.PARTIAL: "waiting"}
"""The words of states for people, where they differ from those in JSON."""


def state_words(transfer: Transfer) -> str:
    """Return `waiting: 3 of 5 answered; missing: plant-3, plant-5`."""
    return f"{STATES.get(transfer.state, transfer.state)}: {transfer.answers}"


def summary_line(report: Report) -> str:
    """Return the counts in one line."""
    return ", ".join(f"{name} {count}" for name, count in report.counts.items())


def complete_line(report: Report) -> str:
    """Return that the ledger is complete, and what it was compared with."""
    state = report.ledger
    lines = f"{state.size} line{'' if state.size == 1 else 's'}"
    return f"ledger complete: {lines}, root {state.root}, {compared_with(report)}"


def compared_with(report: Report) -> str:
    """Return what the ledger was compared with."""
    checkpoints = f"{report.witnesses} signed checkpoint{'' if report.witnesses == 1 else 's'}"
    return f"compared with {checkpoints} in bundles and receipts"


SENT = ("BUNDLE", "SEALED", "FOR", "IMAGES", "DETAILS", "STATE", "RECEIPTS")
LOADED = ("BUNDLE", "LOADED", "BY", "TARGET", "RESULT", "IMAGES")
ODD = ("SEQ", "TIME", "USER", "EVENT", "RESULT", "BUNDLE", "REASON")
LOST = ("MEDIUM", "LOST SINCE", "REASON", "BUNDLE", "CONFIRMED BY")
WRITTEN = ("TIME", "USER", "EVENT", "BUNDLE", "WHERE", "MEDIUM")


def sent_rows(report: Report) -> list[tuple[object, ...]]:
    """Return a row for each bundle that was sealed here."""
    return [_sent(transfer) for transfer in report.review.transfers]


def _sent(transfer: Transfer) -> tuple[object, ...]:
    statement = transfer.sealed.statement
    stated = "; ".join(f"{key}: {value}" for key, value in sorted(statement.transfer.items()))
    answers = "; ".join(
        f"{answer.receipt.site} {answer.receipt.result} {format_time(answer.receipt.time)}"
        + (" (disagrees with the bundle)" if answer in transfer.disputed else "")
        + (" (a step back)" if answer.receipt.step_back else "")
        for answer in transfer.receipts
    )
    return (
        statement.title, format_time(statement.created), transfer.audience,
        len(statement.images), stated, state_words(transfer), answers,
    )  # fmt: skip


def loaded_rows(report: Report) -> list[tuple[object, ...]]:
    """Return a row for each load here that has a receipt."""
    return [
        (load.title, format_time(load.receipt.time), load.receipt.by, load.receipt.target,
         load.receipt.result + (", recalled" if report.recall_of(load) else ""), len(load.receipt.images))
        for load in report.review.loads
    ]  # fmt: skip


def written_rows(report: Report) -> list[tuple[object, ...]]:
    """Return a row for each medium that was written or checked."""
    return [
        (_time(entry), entry.user, entry.event, entry.title, entry.place, medium_name(medium))
        for entry in report.period
        for medium in media_of(entry)
    ]


def lost_rows(report: Report) -> list[tuple[object, ...]]:
    """Return a row for each bundle on each medium that is marked as lost."""
    return [
        (
            lost.title, format_time(lost.since) if lost.since else "", lost.reason, bundle.title,
            bundle.arrival,
        )
        for lost in report.lost
        for bundle in lost.bundles
    ]  # fmt: skip


def odd_rows(report: Report) -> list[tuple[object, ...]]:
    """Return a row for each entry that needs attention."""
    return [
        (entry.seq, _time(entry), entry.user, entry.event, entry.result, entry.title,
         entry.reason or entry.place)
        for entry in report.odd
    ]  # fmt: skip


def _time(entry: LedgerEntry) -> str:
    return format_time(entry.time) if entry.time else ""


def by_statement(about: Iterable[LedgerEntry]) -> dict[str, list[LedgerEntry]]:
    """Return the entries about each bundle, by the SHA-256 of its statement."""
    found: dict[str, list[LedgerEntry]] = {}
    for entry in about:
        if sha256 := statement_of(entry):
            found.setdefault(sha256, []).append(entry)
    return found
