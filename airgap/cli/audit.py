"""Read the audit ledger, report from it, or check that it is complete."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import console, settle
from airgap.cli.options import Output, TableOutput
from airgap.cli.register import make_group, register
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.audit.chain import LedgerState
    from airgap.audit.report import LedgerEntry
    from airgap.review.html_report import Report
    from airgap.review.records import Kept

NAME = "audit"
PANEL = "Both sides"
app = make_group()

_MIN_SEARCH_CHARACTERS = 3


@register(app, "log")
def show_log(
    event: Annotated[
        str | None, typer.Option(metavar="EVENT", help="Only this event, such as pack, send, load or verify.")
    ] = None,
    stream: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this stream, or this one bundle.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Only entries with this digest (or prefix).")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the last N entries.")] = None,
    *,
    output: TableOutput,
) -> None:
    """Show what was done here, by whom, and with which result. The ledger is checked too.

    Example: airgap audit log --event load
    """
    from airgap.audit.chain import check_ledger
    from airgap.audit.record import EVENTS
    from airgap.audit.report import entries
    from airgap.errors import UsageError
    from airgap.site import Site, default_home

    if event not in (None, *EVENTS):
        raise UsageError("no such event", want=", ".join(EVENTS), got=repr(event))
    path = Site(default_home()).ledger_path
    matching = entries(path, event=event, stream=stream, digest=digest, limit=limit)
    header = ("SEQ", "TIME", "USER", "EVENT", "RESULT", "CODE", "BUNDLE", "IMAGES", "WHERE", "REASON")
    lines = [Table(header, [_row(entry) for entry in matching]) if matching else "no entries match"]
    console.show_result({"entries": [_value(entry) for entry in matching]}, lines, output)
    check_ledger(path)
    _compare()


def _compare() -> None:
    """Report on stderr where the site's files disagree with the ledger, and then exit with code 17."""
    from airgap.cli.opening import open_site
    from airgap.errors import LedgerError

    if open_site(reporting=True).alarms:
        raise typer.Exit(LedgerError.exit_code)


def _value(entry: "LedgerEntry") -> dict[str, Any]:
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


def _row(entry: "LedgerEntry") -> tuple[object, ...]:
    return (
        entry.seq,
        _time(entry.time),
        entry.user,
        entry.event,
        entry.result,
        "" if entry.exit_code is None else entry.exit_code,
        entry.title,
        len(entry.images) or "",
        entry.place,
        entry.reason,
    )


def _time(time: datetime | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ") if time else ""


@register(app, "show")
def show_entry(
    seq: Annotated[int, typer.Argument(metavar="SEQ", min=1, help="Its number in `airgap audit log`.")],
    *,
    output: Output,
) -> None:
    """Show everything that the ledger has about one entry.

    Example: airgap audit show 5
    """
    from airgap.audit.report import entries
    from airgap.errors import UsageError
    from airgap.site import Site, default_home

    matching = [entry for entry in entries(Site(default_home()).ledger_path) if entry.seq == seq]
    if not matching:
        raise UsageError("no such entry", subject=seq, hint="`airgap audit log` shows their numbers")
    value = _value(matching[0])
    head = {key: value[key] for key in ("seq", "time", "user", "event")}
    console.show_result(value, list(_outline(head | value["details"])), output)
    _compare()


def _outline(value: object, indent: str = "") -> Iterator[str]:
    """Yield nested values as indented lines."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value, 1)  # type: ignore[arg-type]
    for key, inner in pairs:
        if isinstance(inner, dict | list) and inner:
            yield f"{indent}{key}:"
            yield from _outline(inner, indent + "  ")
        elif inner not in (None, "", [], {}):
            yield f"{indent}{key}: {inner}"


@register(app, "find")
def find_transfers(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="A digest or its beginning, or a part of an image's name.")
    ],
    *,
    output: TableOutput,
) -> None:
    """Find the bundles that brought an image or a blob: when, by whom, and where to.

    Example: airgap audit find sha256:1cc8ad5c
    """
    from dataclasses import asdict

    from airgap.errors import UsageError
    from airgap.review.find import find
    from airgap.review.records import Kept
    from airgap.site import Site, default_home

    if len(what) < _MIN_SEARCH_CHARACTERS:
        want = f"{_MIN_SEARCH_CHARACTERS} characters or more"
        raise UsageError("search text is too short", want=want, got=repr(what))
    site = Site(default_home())
    matches = find(site.ledger_path, site.name, Kept.of(site), what)
    header = ("TIME", "SITE", "EVENT", "RESULT", "USER", "BUNDLE", "IMAGE", "DIGEST", "WHERE")
    rows = [
        (_time(f.time), f.site, f.event, f.result, f.user, f.bundle, f.reference, f.digest, f.where)
        for f in matches
    ]
    value = {"found": [asdict(f) | {"time": f.time.isoformat() if f.time else None} for f in matches]}
    lines = [Table(header, rows) if matches else f"no entries match {what}"]
    console.show_result(value, lines, output)
    _compare()


@register(app, "export")
def export(*, output: Output) -> None:
    """Write the whole ledger as CSV, a row for each image, or as JSON with all details.

    Example: airgap audit export > transfers.csv
    """
    from airgap.audit.report import entries
    from airgap.review.export import write_csv
    from airgap.site import Site, default_home

    ledger_entries = entries(Site(default_home()).ledger_path)
    if output.json:
        console.write_json({"entries": [_value(entry) for entry in ledger_entries]})
    else:
        write_csv(ledger_entries, sys.stdout)
    _compare()


@register(app, "report")
def report(
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
    from airgap.audit.report import entries
    from airgap.bundle.files import write_file
    from airgap.cli.opening import open_site
    from airgap.review.html_report import Report, render
    from airgap.review.records import Kept
    from airgap.review.transfers import review
    from airgap.review.witness import check_witnessed

    checked = open_site(reporting=True)
    site, time = checked.site, checked.now
    kept = Kept.of(site)
    state, witnesses = check_witnessed(site, kept)
    all_entries = entries(site.ledger_path)
    missing = kept.missing_receipts(all_entries).values()
    reviewed = review(kept, site.name, time, timedelta(days=overdue), missing)
    reviewed = replace(reviewed, alarms=(*checked.alarms, *reviewed.alarms))
    first = since.replace(tzinfo=UTC) if since else None
    shown = entries(site.ledger_path, since=first) if first else all_entries
    made = Report(
        site=site.name, time=time, ledger=state, witnesses=witnesses, review=reviewed, entries=tuple(shown)
    )
    if page is not None:
        write_file(page.absolute(), render(made).encode())
    console.show_result(_report_value(made), _report_lines(made, page), output)


def _report_value(made: "Report") -> dict[str, Any]:
    from airgap.times import format_time

    return {
        "site": made.site,
        "time": format_time(made.time),
        "ledger": {"size": made.ledger.size, "root": made.ledger.root, "compared_with": made.witnesses},
        "alarms": list(made.review.alarms),
        "sent": [
            {
                "bundle": transfer.sealed.statement.title,
                "statement_sha256": transfer.sealed.statement_sha256,
                "sealed": format_time(transfer.sealed.statement.created),
                "destinations": list(transfer.sealed.statement.destinations),
                "transfer": dict(transfer.sealed.statement.transfer),
                "state": transfer.state,
                "missing": list(transfer.missing),
                "receipts": [str(answer.path) for answer in transfer.receipts],
                "disputed": [str(answer.path) for answer in transfer.receipts if answer in transfer.disputed],
            }
            for transfer in made.review.transfers
        ],
        "loaded": [
            {
                "bundle": load.title,
                "time": format_time(load.receipt.time),
                "operator": load.receipt.operator,
                "claimed_operator": load.receipt.claimed_operator,
                "target": load.receipt.target,
                "result": load.receipt.result,
                "receipt": str(load.path),
            }
            for load in made.review.loads
        ],
        "odd": [_value(entry) for entry in made.odd],
    }


def _report_lines(made: "Report", page: Path | None) -> list[str | Table]:
    from airgap.review import html_report as pages

    lines: list[str | Table] = [
        pages.complete_line(made),
        *(f"alarm: {alarm}" for alarm in made.review.alarms),
    ]
    sections = (
        ("sealed here", pages.SENT, pages.sent_rows(made)),
        ("loaded here", pages.LOADED, pages.loaded_rows(made)),
        ("media", pages.WRITTEN, pages.written_rows(made)),
        ("refused, failed, unfinished", pages.ODD, pages.odd_rows(made)),
    )
    for title, header, rows in sections:
        if rows:
            lines += ["", f"{title}:", Table(header, rows)]
    return [*lines, *(["", f"written: {page}"] if page else [])]


@register(app, "verify")
def verify_ledger(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="WITNESS",
            readable=False,
            help="A bundle or a receipt that was made here and kept elsewhere.",
        ),
    ] = None,
    *,
    output: Output,
) -> None:
    """Check the ledger's whole chain, and that no lines were removed from its end.

    Bundles and receipts contain signed checkpoints of the ledger, and the ledger must agree with each. Those
    that are kept here are always compared. Only those that others have kept are proof against changes here.

    Example: airgap audit verify
    """
    from airgap.audit.report import entries
    from airgap.cli.opening import open_site
    from airgap.errors import LedgerError
    from airgap.review.records import Kept
    from airgap.review.witness import check_witnessed

    checked = open_site(reporting=True)
    kept = Kept.of(checked.site)
    state, witnesses = check_witnessed(checked.site, kept, files or ())
    gone = kept.missing_receipts(entries(checked.site.ledger_path))
    value = {
        "size": state.size,
        "head": state.head,
        "root": state.root,
        "witnesses": witnesses,
        "open": [record.seq for record in state.open],
        "torn": list(state.torn),
        "backwards": list(state.backwards),
        "unreadable": [str(path) for path in (*kept.unreadable, *gone)],
        "alarms": list(checked.alarms),
    }
    console.show_result(value, [*_verify_lines(state, witnesses, kept), *gone.values()], output)
    if kept.unreadable or gone or checked.alarms:
        raise typer.Exit(LedgerError.exit_code)


def _verify_lines(state: "LedgerState", witnesses: int, kept: "Kept") -> list[str]:
    lines = [f"complete: {state.size} lines, root {state.root}"]
    if witnesses:
        lines.append(f"agrees with {witnesses} signed checkpoint{'' if witnesses == 1 else 's'}")
    lines += [f"started but not finished: line {record.seq}" for record in state.open]
    lines += [f"incomplete after a crash: line {number}" for number in state.torn]
    lines += [f"earlier than the line before (the clock was set back): line {n}" for n in state.backwards]
    lines += [f"cannot be read, and so was not compared: {error}" for error in kept.unreadable.values()]
    return lines


register(app, "settle")(settle.settle_difference)
