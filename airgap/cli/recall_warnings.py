"""Warnings about recalled bundles that are still the newest at a target of this site."""

from typing import TYPE_CHECKING, Any

from airgap.cli import console
from airgap.errors import MediaError, printable

if TYPE_CHECKING:
    from pathlib import Path

    from airgap.site import Site


def recalled_loaded(site: "Site") -> list[dict[str, Any]]:
    """Return, as JSON, the names that recalled bundles still have here, and warn about them on stderr.

    The command has done its work, and the ledger says so: if the disk fails now, that is a warning too, and
    nothing is returned.

    Args:
        site: This site. The trust roots and receipts that it has now count.
    """
    from airgap.carry.recalled import recalled_here

    try:
        here = recalled_here(site)
    except (MediaError, OSError) as error:
        return not_shown(error, site.home)
    for item in here:
        console.say(printable(f"warning: {item.words}") + "\n")
    return [
        {
            "bundle": item.title,
            "statement_sha256": item.recall.statement_sha256,
            "reason": item.recall.reason,
            "target": item.target,
            "references": list(item.references),
        }
        for item in here
    ]


def not_shown(error: "MediaError | OSError", home: "Path") -> list[dict[str, Any]]:
    """Warn on stderr that the recalled bundles cannot be shown, and return none of them."""
    cause = error if isinstance(error, MediaError) else MediaError.of(error, subject=home)
    unknown = "warning: cannot show which recalled bundles are still loaded"
    console.say(printable(f"{unknown}: {cause}") + "\n")
    return []
