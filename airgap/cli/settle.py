"""What a person decides when a site's files and its ledger disagree."""

import sys
from typing import Annotated

import typer

from airgap.cli.options import Debug, Json, Quiet

WHAT = ("clock", "files", "ledger")


def settle(
    what: Annotated[str, typer.Argument(metavar="clock|files|ledger", help="What is right.")],
    yes: Annotated[bool, typer.Option("--yes", help="Without the question.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what is right when this site's files, its clock and its ledger disagree. It is recorded.

    clock: the ledger has a record with a later time, which was wrong.
    ledger: marks in received/ and sent/ become what the ledger says; others are removed.
    files: trust roots and marks that the ledger has no record of count, as after a ledger that was lost.

    Example: airgap audit settle clock
    """
    from airgap.cli import console
    from airgap.errors import UsageError
    from airgap.site import default_home
    from airgap.site_check import settle

    if what not in WHAT:
        raise UsageError("what is right?", want=" or ".join(WHAT), got=repr(what))
    if not yes:
        if not (sys.stdin and sys.stdin.isatty()):
            raise UsageError("--yes is missing", want="a terminal, or --yes after looking into it")
        typer.confirm(f"Is it certain that the {what} is right?", abort=True, err=True)
    lines = settle(default_home(), what)
    console.show_result({"settled": what, "changes": lines}, lines or ["nothing had to change"], as_json=json)
