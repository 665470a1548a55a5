"""Read the audit ledger, report from it, or check that it is complete."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import nlargest
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import audit_compare, audit_medium, audit_report, console, settle
from airgap.cli.audit_report import compare_files, entry_value
from airgap.cli.options import Output, TableOutput
from airgap.cli.register import format_help, make_group, register
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.audit.chain import LedgerState
    from airgap.audit.report import LedgerEntry
    from airgap.review.find import Match
    from airgap.review.records import Kept

app = make_group()

_MIN_SEARCH_CHARACTERS = 3


@register(app, "log")
def show_log(
    event: Annotated[
        str | None, typer.Option(metavar="EVENT", help="Only this event, such as pack, send, load or verify.")
    ] = None,
    stream: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this stream, bundle or sender.")
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
    from airgap.audit.report import matching_entries
    from airgap.errors import UsageError
    from airgap.site import Site, default_home

    if event not in (None, *EVENTS):
        raise UsageError("no such event", want=", ".join(EVENTS), got=repr(event))
    path = Site(default_home()).ledger_path
    matching = matching_entries(path, event=event, stream=stream, digest=digest)
    shown = ((entry.seq, entry_value(entry) if output.json else _row(entry)) for entry in matching)
    rows = [row for _, row in _last(shown, limit)]  # a row needs a tenth of the memory of an entry
    header = ("SEQ", "TIME", "USER", "EVENT", "RESULT", "CODE", "BUNDLE", "IMAGES", "WHERE", "REASON")
    if output.json:
        console.write_json({"entries": rows})
    else:
        console.show_result({}, [Table(header, rows) if rows else "no entries match"], output)
    check_ledger(path)
    compare_files()


def _last(rows: Iterable[tuple[int, Any]], limit: int | None) -> list[tuple[int, Any]]:
    """Return the rows with the highest numbers, in the order of the numbers."""
    number = itemgetter(0)
    return sorted(rows if limit is None else nlargest(limit, rows, key=number), key=number)


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
    seq: Annotated[
        int, typer.Argument(metavar="SEQ", min=1, help="The number of the entry, from `airgap audit log`.")
    ],
    *,
    output: Output,
) -> None:
    """Show everything that the ledger has about one entry.

    Example: airgap audit show 5
    """
    from airgap.audit.search import entry_at
    from airgap.errors import UsageError
    from airgap.site import Site, default_home

    entry = entry_at(Site(default_home()).ledger_path, seq)
    if entry is None:
        raise UsageError("no such entry", subject=seq, hint="`airgap audit log` shows their numbers")
    value = entry_value(entry)
    head = {key: value[key] for key in ("seq", "time", "user", "event")}
    console.show_result(value, list(_outline(head | value["details"])), output)
    compare_files()


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
        str,
        typer.Argument(
            metavar="WHAT",
            help="A digest or its beginning, or a part of the name of an image, bundle, ticket, site, host "
            "or person.",
        ),
    ],
    *,
    output: TableOutput,
) -> None:
    """Find the bundles that brought an image or a blob: when, by whom, and where to.

    WHAT can also be a ticket or other text under `transfer:`, a bundle, a site, a host, a target or a person.
    The exit code is 4 if nothing matches.

    Example: airgap audit find sha256:1cc8ad5c
    """
    from dataclasses import asdict

    from airgap.errors import NoMatchError, UsageError
    from airgap.review.find import find
    from airgap.review.kept_search import kept_about
    from airgap.site import Site, default_home

    if len(what) < _MIN_SEARCH_CHARACTERS:
        want = f"{_MIN_SEARCH_CHARACTERS} characters or more"
        raise UsageError("search text is too short", want=want, got=repr(what))
    site = Site(default_home())
    matches = find(site.ledger_path, site.name, kept_about(site, what), what)
    header = ("TIME", "SITE", "EVENT", "RESULT", "USER", "BUNDLE", "IMAGE", "DIGEST", "WHERE")
    rows = [_found_row(match) for match in matches]
    value = {"found": [asdict(f) | {"time": f.time.isoformat() if f.time else None} for f in matches]}
    lines = [Table(header, rows) if matches else f"no entries match {what}"]
    console.show_result(value, lines, output)
    compare_files()
    if not matches:
        raise typer.Exit(NoMatchError.exit_code)


def _found_row(match: "Match") -> tuple[object, ...]:
    bundle = f"{match.bundle} (recalled)" if match.recalled else match.bundle
    return (
        _time(match.time), match.site, match.event, match.result, match.user, bundle, match.reference,
        match.digest, match.where,
    )  # fmt: skip


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

    Bundles and receipts contain signed checkpoints of the ledger, and the ledger must agree with each. The
    checkpoints that are kept here are always compared, but whoever changes the ledger could change them too:
    only checkpoints that other people have kept prove that nothing was changed.

    Example: airgap audit verify
    """
    from airgap.audit.search import entries_of
    from airgap.cli.opening import open_site
    from airgap.errors import LedgerError
    from airgap.review.records import RECEIPT_EVENTS, Kept
    from airgap.review.witness import check_witnessed

    checked = open_site(reporting=True)
    kept = Kept.of(checked.site)
    state, witnesses = check_witnessed(checked.site, kept, files or ())
    gone = kept.missing_receipts(entries_of(checked.site.ledger_path, *RECEIPT_EVENTS))
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


register(app, "export")(audit_report.export_ledger)
register(app, "report")(audit_report.report_transfers)
register(app, "compare")(audit_compare.compare_target)
register(app, "settle")(settle.settle_difference)
app.add_typer(audit_medium.app, name="medium", help=format_help(audit_medium.__doc__))
