"""Warnings about media that are marked as lost."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from airgap.cli import console
from airgap.errors import printable

if TYPE_CHECKING:
    from airgap.site import Site


def warn_of_lost(site: "Site", paths: Iterable[Path]) -> None:
    """Warn on stderr, and in the ledger, about media of these paths that are marked as lost at this site."""
    from airgap.durable import exists
    from airgap.ledger_summary import current_facts

    if not exists(site.ledger_path) or current_facts(site.home, site.ledger_path).media == {}:
        return
    from airgap.audit.record import NOTE
    from airgap.review.media import lost_warnings

    warnings = lost_warnings(site, paths)
    for text in warnings:
        console.say(printable(f"warning: {text}") + "\n")
    if warnings:
        site.ledger().append("alarm", NOTE, result="alarm", alarms=warnings)
