"""Shows what a delta builds on (FORMAT.md §3.1)."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airgap.bundle.delta_bases import DeltaBase

_SHOWN = 10
"""Receipts in one line."""


def builds_on_value(bases: Iterable["DeltaBase"]) -> list[dict[str, Any]]:
    """Return the JSON of the bases."""
    from airgap.times import format_time

    return [
        {
            "title": base.title,
            "epoch": base.epoch,
            "site": base.receipt.site if base.receipt else None,
            "receipt_sha256": base.receipt.sha256 if base.receipt else None,
            "time": format_time(base.receipt.time) if base.receipt else None,
        }
        for base in bases
    ]


def builds_on_lines(bases: Sequence["DeltaBase"]) -> list[str]:
    """Return one line for each bundle that the delta builds on."""
    titles: dict[str, list[DeltaBase]] = {}
    for base in bases:
        titles.setdefault(base.title, []).append(base)
    return [f"builds on {title}: {_reason(group)}" for title, group in titles.items()]


def _reason(bases: Sequence["DeltaBase"]) -> str:
    from airgap.times import format_time

    receipts = [base.receipt for base in bases if base.receipt]
    if len(receipts) < len(bases):
        return "assumed to be at every destination"
    shown = ", ".join(f"{receipt.site} ({format_time(receipt.time)})" for receipt in receipts[:_SHOWN])
    return f"receipts of {shown}" + (f" and {len(receipts) - _SHOWN} more" if receipts[_SHOWN:] else "")
