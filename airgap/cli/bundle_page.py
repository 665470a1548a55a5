"""What a person reads of a bundle's statement, in `inspect` and before `sign`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airgap.cli import carried_files, console
from airgap.cli.delta_bases import builds_on_lines
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.bundle.statement import Statement
    from airgap.trust.document import TrustRoot
    from airgap.trust.policy import SignatureVerdict


def statement_lines(statement: "Statement", signers: Sequence[str], total: str) -> list[str | Table]:
    """Return what the statement says.

    Args:
        statement: The statement.
        signers: Lines about who signed it.
        total: The number of its files, their size, and where they are.
    """
    from airgap.times import format_time

    maker = f"airgap {statement.tool_version}" + (f" at {statement.sender.site}" if statement.sender else "")
    rows = [
        (
            image.name,
            carried_files.contents_of((record.platform for record in image.platforms), image.files),
            image.digest,
            image.source,
        )
        for image in statement.images
    ]
    return [
        f"{statement.title} (epoch {statement.epoch}), made {format_time(statement.created)} by {maker}",
        *signers,
        f"for {', '.join(statement.destinations) or 'any site'}, until {format_time(statement.expires)}",
        *(f"{key}: {text}" for key, text in statement.transfer.items()),
        Table(("IMAGE", "PLATFORMS", "DIGEST", "SOURCE"), rows),
        *carried_files.lines(item for image in statement.images for item in image.files),
        total,
        *console.requires_lines(statement),
        *builds_on_lines(statement.bases),
    ]


def signer_lines(verdict: "SignatureVerdict", root: "TrustRoot") -> list[str]:
    """Return who signed, with which keys, and how many must."""
    count = f"{len(verdict.keyids)} of {verdict.threshold}"
    return [
        f"signed by {', '.join(verdict.owners)}: {count}, root {verdict.root_version}",
        *(f"  key {keyid} of {root.keys[keyid].owner}" for keyid in verdict.keyids),
    ]


def total_line(statement: "Statement") -> str:
    """Return the number of files and their size."""
    return f"{len(statement.subjects)} files, {console.size(statement.total_bytes)}"
