"""The audit ledger: read it, or check that it is whole."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli.options import Debug, Json, Quiet

if TYPE_CHECKING:
    from airgap.audit.report import Entry

NAME = "audit"
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("log")
def log(
    event: Annotated[
        str | None, typer.Option(metavar="EVENT", help="Only this event: pack, verify, load, …")
    ] = None,
    stream: Annotated[str | None, typer.Option(metavar="NAME", help="Only bundles of this stream.")] = None,
    digest: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Only what mentions this digest (or a prefix).")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the last so many.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show what was done here, by whom, with which result.

    Example: airgap audit log --event load
    """
    from airgap.audit.report import entries
    from airgap.cli import console
    from airgap.site import Site, default_home

    found = entries(Site(default_home()).ledger_path, event=event, stream=stream, digest=digest, limit=limit)
    header = ("SEQ", "TIME", "USER", "EVENT", "RESULT", "CODE", "BUNDLE", "IMAGES")
    lines = console.table(header, [_row(entry) for entry in found])
    console.show_result({"entries": [_value(entry) for entry in found]}, lines, as_json=json)


def _value(entry: "Entry") -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "time": entry.time.isoformat() if entry.time else None,
        "user": entry.user,
        "event": entry.event,
        "result": entry.result,
        "exit_code": entry.exit_code,
        "bundle": dict(entry.bundle),
        "images": [dict(image) for image in entry.images],
    }


def _row(entry: "Entry") -> tuple[object, ...]:
    return (
        entry.seq,
        entry.time.strftime("%Y-%m-%d %H:%M:%SZ") if entry.time else "",
        entry.user,
        entry.event,
        entry.result,
        "" if entry.exit_code is None else entry.exit_code,
        _bundle_title(entry.bundle),
        len(entry.images) or "",
    )


def _bundle_title(bundle: Any) -> str:
    if "stream" not in bundle:
        return ""
    return f"{bundle['stream']}-{bundle.get('serial', 0):04d}"


@app.command("verify")
def verify(json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Check the ledger's chain from its first line to its last.

    Example: airgap audit verify
    """
    from airgap.audit.chain import check_ledger
    from airgap.cli import console
    from airgap.site import Site, default_home

    state = check_ledger(Site(default_home()).ledger_path)
    value = {
        "size": state.size,
        "head": state.head,
        "root": state.root,
        "open": [record.seq for record in state.open],
        "torn": list(state.torn),
    }
    lines = [f"whole: {state.size} lines, root {state.root}"]
    lines += [f"begun and not ended: line {record.seq}" for record in state.open]
    lines += [f"torn by a crash: line {number}" for number in state.torn]
    console.show_result(value, lines, as_json=json)
