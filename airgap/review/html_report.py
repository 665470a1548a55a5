"""One HTML page to print and sign: bundles sent, loaded and unconfirmed. No scripts, no links."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from airgap.audit.chain import LedgerState
from airgap.audit.record import END, NOTE, Outcome
from airgap.audit.report import LedgerEntry
from airgap.errors import printable
from airgap.review.export import medium_name
from airgap.review.transfers import Review, Transfer, TransferState
from airgap.times import format_time

_NORMAL = (Outcome.OK, NOTE, END)
"""Results of entries that need no attention."""

_STYLE = """
body{font:14px/1.4 sans-serif;margin:2em;color:#111}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:1.6em}
table{border-collapse:collapse;width:100%}th,td{border:1px solid #999;padding:3px 6px;text-align:left;
vertical-align:top;overflow-wrap:anywhere}th{background:#eee}.bad{background:#fdd}
.sign td{height:3em;width:33%}code{font-size:.9em}@media print{body{margin:0}tr{break-inside:avoid}}
"""


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
    """The entries of the period, the oldest first."""

    @property
    def odd(self) -> tuple[LedgerEntry, ...]:
        """The entries that were refused, failed, interrupted or not finished."""
        return tuple(entry for entry in self.entries if entry.result not in _NORMAL)


SENT = ("BUNDLE", "SEALED", "FOR", "IMAGES", "DETAILS", "STATE", "RECEIPTS")
LOADED = ("BUNDLE", "LOADED", "BY", "TARGET", "RESULT", "IMAGES")
ODD = ("SEQ", "TIME", "USER", "EVENT", "RESULT", "BUNDLE", "REASON")
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
        for answer in transfer.receipts
    )
    state = f"{transfer.state}: {', '.join(transfer.missing)}" if transfer.missing else transfer.state
    return (
        statement.title, format_time(statement.created), ", ".join(statement.destinations) or "any site",
        len(statement.images), stated, state, answers,
    )  # fmt: skip


def loaded_rows(report: Report) -> list[tuple[object, ...]]:
    """Return a row for each load here that has a receipt."""
    return [
        (load.title, format_time(load.receipt.time), load.receipt.by, load.receipt.target,
         load.receipt.result, len(load.receipt.images))
        for load in report.review.loads
    ]  # fmt: skip


def written_rows(report: Report) -> list[tuple[object, ...]]:
    """Return a row for each medium that was written or checked."""
    return [
        (_time(entry), entry.user, entry.event, entry.title, entry.place,
         medium_name(medium))
        for entry in report.entries
        for medium in _media(entry)
    ]  # fmt: skip


def _media(entry: LedgerEntry) -> list[object]:
    media = entry.details.get("media")
    return list(media) if isinstance(media, list) else []


def odd_rows(report: Report) -> list[tuple[object, ...]]:
    """Return a row for each entry that needs attention."""
    return [
        (entry.seq, _time(entry), entry.user, entry.event, entry.result, entry.title,
         entry.reason or entry.place)
        for entry in report.odd
    ]  # fmt: skip


def _time(entry: LedgerEntry) -> str:
    return format_time(entry.time) if entry.time else ""


def complete_line(report: Report) -> str:
    """Return that the ledger is complete, and what it was compared with."""
    state = report.ledger
    lines = f"{state.size} line{'' if state.size == 1 else 's'}"
    checkpoints = f"{report.witnesses} signed checkpoint{'' if report.witnesses == 1 else 's'}"
    return f"ledger complete: {lines}, root {state.root}, compared with {checkpoints} in bundles and receipts"


def render(report: Report) -> str:
    """Return the page as self-contained HTML."""
    title = f"Transfers of {report.site}"
    overdue = [transfer.state == TransferState.OVERDUE for transfer in report.review.transfers]
    parts = [
        f"<!DOCTYPE html>\n<html lang=en><meta charset=utf-8><title>{_text(title)}</title>",
        f"<style>{_STYLE}</style>\n<h1>{_text(title)}</h1>",
        f"<p>As of {format_time(report.time)}. <code>{_text(complete_line(report))}</code></p>",
        _list("Alarms", report.review.alarms),
        _table("Sealed here", SENT, sent_rows(report), overdue),
        _table("Loaded here", LOADED, loaded_rows(report)),
        _table("Media", WRITTEN, written_rows(report)),
        _table("Refused, failed, unfinished", ODD, odd_rows(report)),
        "<h2>Approved</h2>\n<table class=sign><tr><th>Name<th>Date<th>Signature<tr><td><td><td></table>",
    ]
    return "\n".join(parts) + "\n</html>\n"


def _text(value: object) -> str:
    return html.escape(printable(value))


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return f"<h2>{_text(title)}</h2>\n<p>None.</p>"
    items = "".join(f"<li class=bad>{_text(line)}</li>\n" for line in lines)
    return f"<h2>{_text(title)}</h2>\n<ul>\n{items}</ul>"


def _table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[object]], bad: Iterable[bool] = ()
) -> str:
    if not rows:
        return f"<h2>{_text(title)}</h2>\n<p>None.</p>"
    marks = list(bad) or [False] * len(rows)
    head = "".join(f"<th>{_text(name.capitalize())}" for name in header)
    lines = [
        f"<tr{' class=bad' if mark else ''}>" + "".join(f"<td>{_text(cell)}" for cell in row)
        for row, mark in zip(rows, marks, strict=True)
    ]
    return f"<h2>{_text(title)}</h2>\n<table>\n<tr>{head}\n" + "\n".join(lines) + "\n</table>"
