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
    from airgap.audit.files import may_have_event
    from airgap.audit.record import MEDIUM, NOTE

    if not may_have_event(site.ledger_path, MEDIUM):
        return
    from airgap.review.media import lost_warnings

    warnings = lost_warnings(site, paths)
    for text in warnings:
        console.say(printable(f"warning: {text}") + "\n")
    if warnings:
        site.ledger().append("alarm", NOTE, result="alarm", alarms=warnings)
