"""Report on transfers, as text, JSON or a page to sign, and export the ledger for spreadsheets."""

import io
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import console
from airgap.cli.audit_medium import lost_value
from airgap.cli.options import Output, TableOutput
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.audit.report import LedgerEntry
    from airgap.review.report import Report
    from airgap.review.transfers import Transfer


def export_ledger(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the CSV to this file, with a byte order mark for spreadsheets."
        ),
    ] = None,
    *,
    output: Output,
) -> None:
    """Write the whole ledger as CSV, a row for each image, or as JSON with all details.

    Times are in UTC, in a form that spreadsheets read as times.

    Example: airgap audit export --out transfers.csv
    """
    from airgap.audit.report import entries
    from airgap.bundle.files import write_file
    from airgap.review.export import BOM, Remarks, write_csv
    from airgap.review.media import lost_media
    from airgap.review.recalls import recalls_by_sender
    from airgap.review.records import Kept
    from airgap.review.signers import owners_of
    from airgap.site import Site, default_home

    site = Site(default_home())
    kept = Kept.of(site)
    ledger_entries = entries(site.ledger_path)
    remarks = Remarks(
        recalled={key: recall.reason for key, recall in recalls_by_sender(kept).items()},
        lost={lost.name: lost.reason for lost in lost_media(ledger_entries)},
    )
    value: dict[str, Any] = {"entries": [entry_value(e) for e in ledger_entries] if output.json else []}
    if out is not None:
        text = io.StringIO(newline="")
        write_csv(ledger_entries, text, owners_of(kept), remarks)
        write_file(out.absolute(), (BOM + text.getvalue()).encode())
        console.show_result(value | {"written": str(out)}, [f"written: {out}"], output)
    elif output.json:
        console.write_json(value)
    else:
        write_csv(ledger_entries, sys.stdout, owners_of(kept), remarks)
    compare_files()


def report_transfers(
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write one HTML page, to print and sign."),
    ] = None,
    overdue: Annotated[
        int, typer.Option(metavar="DAYS", min=1, help="Days after which a missing receipt is overdue.")
    ] = 14,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Only ledger entries from that date on."),
    ] = None,
    *,
    output: TableOutput,
) -> None:
    """Show which bundles were sent and confirmed, what was loaded here, and what needs attention.

    The ledger is checked first, also against the signed checkpoints in bundles and receipts.

    Example: airgap audit report --html transfers.html
    """
    from airgap.bundle.files import write_file
    from airgap.cli.opening import open_site
    from airgap.review.page.render import render
    from airgap.review.report import make_report

    checked = open_site(reporting=True)
    made = make_report(
        checked.site, checked.now, timedelta(days=overdue), since.replace(tzinfo=UTC) if since else None
    )
    made = replace(made, review=replace(made.review, alarms=(*checked.alarms, *made.review.alarms)))
    if page is not None:
        write_file(page.absolute(), render(made).encode())
    console.show_result(_report_value(made), _report_lines(made, page), output)


def _report_value(made: "Report") -> dict[str, Any]:
    from airgap.times import format_time

    return {
        "site": made.site,
        "time": format_time(made.time),
        "ledger": {"size": made.ledger.size, "root": made.ledger.root, "compared_with": made.witnesses},
        "counts": made.counts,
        "alarms": list(made.alarms),
        "sent": [_transfer_value(transfer) for transfer in made.review.transfers],
        "loaded": [
            {
                "bundle": load.title,
                "time": format_time(load.receipt.time),
                "operator": load.receipt.operator,
                "claimed_operator": load.receipt.claimed_operator,
                "target": load.receipt.target,
                "result": load.receipt.result,
                "recalled": recall.reason if (recall := made.recall_of(load)) else None,
                "receipt": str(load.path),
            }
            for load in made.review.loads
        ],
        "lost_media": [lost_value(lost) for lost in made.lost],
        "odd": [entry_value(entry) for entry in made.odd],
    }


def _transfer_value(transfer: "Transfer") -> dict[str, Any]:
    from airgap.times import format_time

    statement = transfer.sealed.statement
    return {
        "bundle": statement.title,
        "statement_sha256": transfer.sealed.statement_sha256,
        "sealed": format_time(statement.created),
        "destinations": list(statement.destinations),
        "transfer": dict(statement.transfer),
        "state": transfer.state,
        "missing": list(transfer.missing),
        "recalled": transfer.recall.reason if transfer.recall else None,
        "still_at": {site: sorted(targets) for site, targets in transfer.not_replaced.items()},
        "recipients": [
            {"site": recipient.site, "standing": recipient.standing, "superseded_by": recipient.later or None}
            for recipient in transfer.recipients
        ],
        "receipts": [str(answer.path) for answer in transfer.receipts],
        "disputed": [str(answer.path) for answer in transfer.receipts if answer in transfer.disputed],
    }


def _report_lines(made: "Report", page: Path | None) -> list[str | Table]:
    from airgap.review import report as reports
    from airgap.review.media import NOT_ENCRYPTED

    lines: list[str | Table] = [
        reports.complete_line(made),
        reports.summary_line(made),
        *(f"alarm: {alarm}" for alarm in made.alarms),
    ]
    sections = (
        ("sealed here", reports.SENT, reports.sent_rows(made)),
        ("loaded here", reports.LOADED, reports.loaded_rows(made)),
        ("lost media", reports.LOST, reports.lost_rows(made)),
        ("media", reports.WRITTEN, reports.written_rows(made)),
        ("refused, failed, unfinished, overridden", reports.ODD, reports.odd_rows(made)),
    )
    for title, header, rows in sections:
        if rows:
            lines += ["", f"{title}:", Table(header, rows)]
        if rows and header is reports.LOST:
            lines.append(NOT_ENCRYPTED)
    return [*lines, *(["", f"written: {page}"] if page else [])]


def entry_value(entry: "LedgerEntry") -> dict[str, Any]:
    """Return the JSON of an entry."""
    return {
        "seq": entry.seq,
        "time": entry.time.isoformat() if entry.time else None,
        "user": entry.user,
        "event": entry.event,
        "result": entry.result,
        "exit_code": entry.exit_code,
        "bundle": dict(entry.bundle),
        "images": [dict(image) for image in entry.images],
        "where": entry.place,
        "reason": entry.reason,
        "details": dict(entry.details),
    }


def compare_files() -> None:
    """Report on stderr where the site's files disagree with the ledger, and then exit with code 17."""
    from airgap.cli.opening import open_site
    from airgap.errors import LedgerError

    if open_site(reporting=True).alarms:
        raise typer.Exit(LedgerError.exit_code)
