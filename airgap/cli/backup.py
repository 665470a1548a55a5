"""Write an encrypted backup of AIRGAP_HOME: keys, trust roots, ledger and receipts.

The file is an age file: `age -d FILE | tar -t` lists it without airgap. Keep it away from the machine, and
its passphrase somewhere else. Make one after each change of the trust root, and after each bundle.

Example: airgap backup /media/safe/hq-2026-11-30.age
"""

from pathlib import Path
from typing import Annotated

import typer

from airgap.cli import console
from airgap.cli.options import Output, PassphraseFile


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup to write; it must not exist yet.")],
    passphrase_file: PassphraseFile = None,
    *,
    output: Output,
) -> None:
    from airgap.admin.backup import back_up
    from airgap.cli import passphrase
    from airgap.cli.opening import open_site

    site = open_site().site
    made = back_up(site, file, passphrase.chosen(passphrase_file, "the backup"))
    value = {
        "site": site.name,
        "backup": str(made.path),
        "files": made.files,
        "ledger_lines": made.ledger_lines,
    }
    lines = [
        f"backup of {site.name}: {made.path} ({made.files} files, {made.ledger_lines} lines of the ledger)",
        "Keep the passphrase somewhere else: without it, nobody can read the backup.",
    ]
    console.show_result(value, lines, output)
