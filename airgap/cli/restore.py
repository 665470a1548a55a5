"""Restore AIRGAP_HOME from a backup.

AIRGAP_HOME must be empty or missing: a site is never overwritten. If this side sealed bundles or wrote
receipts after the backup, name them with --compare. Then no serial is used twice, and a backup that lacks
lines of the ledger is refused unless you give a --reason. Do not use the old machine afterwards, because two
machines would continue the same ledger.

Example: airgap restore /media/safe/hq-2026-11-30.age --compare /media/stick/weekly-0009
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.cli import console
from airgap.cli.options import Output, PassphraseFile
from airgap.errors import LedgerError

if TYPE_CHECKING:
    from airgap.admin.backup import Restored
    from airgap.site import Site


def run(
    backup: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")],
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="BUNDLE|RECEIPT",
            help="A bundle or receipt of this side, newer than the backup; may be repeated.",
        ),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Restore a backup that lacks lines of the ledger; the reason is recorded."
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    *,
    output: Output,
) -> None:
    from airgap import site
    from airgap.admin.backup import restore
    from airgap.advice import BACKUP, refuse_other
    from airgap.cli import passphrase
    from airgap.times import format_time

    refuse_other(backup, BACKUP)
    newer = compare or []
    ask = passphrase.existing(passphrase_file, "the backup")

    def check(restored: "Site") -> None:
        _compare(restored, newer, reason)

    made = restore(backup, site.default_home(), ask, site.now(), check, newer=newer, reason=reason)
    value = {
        "site": made.site.name,
        "home": str(made.site.home),
        "files": made.files,
        "ledger_lines": made.ledger_lines,
        "latest": format_time(made.latest),
        "adopted": list(made.adopted),
        "alarms": list(made.alarms),
    }
    console.show_result(value, _lines(made, newer), output)


def _lines(made: "Restored", newer: list[Path]) -> list[str]:
    sealed_later = "sealed here after the backup, so its serial is not used again"
    lines = [
        f"restored: site {made.site.name} at {made.site.home} ({made.files} files)",
        f"its ledger has {made.ledger_lines} lines",
        *(f"{sealed_later}: {title}" for title in made.adopted),
        *(f"alarm: {alarm}" for alarm in made.alarms),
    ]
    if not newer:
        lines.append(
            "If this side has sealed a bundle since the backup, pack would use its serial again: "
            "restore into an empty AIRGAP_HOME with --compare BUNDLE instead."
        )
    return lines


def _compare(restored: "Site", newer: list[Path], reason: str | None) -> None:
    """Compare the ledger with what left this side later. Raises `LedgerError` if the backup lacks lines."""
    from airgap.review.records import Kept
    from airgap.review.witness import CUT, check_witnessed

    try:
        check_witnessed(restored, Kept.of(restored), newer)
    except LedgerError as error:
        if error.what != CUT:
            raise
        if reason is None:
            error.what = "the backup is older than this side's last records"
            error.hint = (
                "use a newer backup; if there is none, add --reason TEXT: the ledger then continues "
                "without these lines, and the reason is recorded"
            )
            raise
