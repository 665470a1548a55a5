"""Warnings about recalled bundles that are still the newest at a target of this site."""

from typing import TYPE_CHECKING, Any

from airgap.cli import console
from airgap.errors import printable

if TYPE_CHECKING:
    from airgap.site import Site


def recalled_loaded(site: "Site") -> list[dict[str, Any]]:
    """Return, as JSON, the names that recalled bundles still have here, and warn about them on stderr.

    Args:
        site: This site. The trust roots and receipts that it has now count.
    """
    from airgap.carry.recalled import recalled_here

    here = recalled_here(site)
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
