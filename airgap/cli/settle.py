"""`airgap audit settle`: a person decides which is right when a site's files and its ledger disagree."""

import sys
from typing import Annotated

import typer

from airgap.cli import console
from airgap.cli.options import Output

CHOICES = ("clock", "files", "ledger")


def settle_difference(
    what: Annotated[str, typer.Argument(metavar="clock|files|ledger", help="Which one is right.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    *,
    output: Output,
) -> None:
    """Decide what is right when this site's files, clock and ledger disagree. The decision is recorded.

    clock: the clock is right; a later time in the ledger was wrong.

    ledger: the marks in received/ and sent/ are written again from the ledger; others are removed.

    files: trust roots and marks without a ledger record are accepted, as after the loss of the ledger.

    Example: airgap audit settle clock
    """
    from airgap.admin.settle import Authority, settle
    from airgap.errors import UsageError
    from airgap.site import default_home

    if what not in CHOICES:
        raise UsageError("not a choice", want=" or ".join(CHOICES), got=repr(what))
    if not yes:
        if not (sys.stdin and sys.stdin.isatty()):
            raise UsageError("--yes is missing", want="a terminal, or --yes after an investigation")
        typer.confirm(f"Are you certain that you can trust the {what}?", abort=True, err=True)
    lines = settle(default_home(), Authority(what))
    console.show_result({"settled": what, "changes": lines}, lines or ["no changes were necessary"], output)
