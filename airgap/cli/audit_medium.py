"""Mark a medium as lost, or as found again."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import console
from airgap.cli.options import Output, TableOutput
from airgap.cli.register import make_group, register
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.review.media import LostMedium

app = make_group()

MediumName = Annotated[
    str,
    typer.Argument(
        metavar="MEDIUM", help="Its serial, label or UUID, or its name as `airgap audit report` shows it."
    ),
]


@register(app, "lost")
def mark_lost(
    medium: MediumName,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="What happened; the ledger keeps it.")],
    *,
    output: TableOutput,
) -> None:
    """Mark a medium as lost, and show which bundles were on it.

    Reports name the medium from then on, and commands that write to it or read from it warn. Nothing is
    refused: a medium that you hold is not lost, and every byte on it is verified in any case.

    Example: airgap audit medium lost 4C530001 --reason 'left in a taxi'
    """
    from airgap.cli.opening import open_site
    from airgap.cli.reasons import checked_reason
    from airgap.review import media

    reason = checked_reason(reason)
    lost = media.mark_lost(open_site().site, medium, reason)
    rows = [(b.title, _time(b.time), b.arrival) for b in lost.bundles]
    lines: list[str | Table] = [
        f"lost: {lost.name}, since {_time(lost.since)}: {lost.reason}",
        Table(("BUNDLE", "LAST SEEN THERE", "CONFIRMED BY"), rows),
        media.NOT_ENCRYPTED,
    ]
    console.show_result(lost_value(lost), lines, output)


@register(app, "found")
def mark_found(medium: MediumName, *, output: Output) -> None:
    """Mark a lost medium as found.

    Before you use it, check its content with `airgap verify --media`: others may have had it.

    Example: airgap audit medium found 4C530001
    """
    from airgap.cli.opening import open_site
    from airgap.review import media

    name = media.mark_found(open_site().site, medium)
    console.show_result({"medium": name}, [f"found: {name}"], output)


def lost_value(lost: "LostMedium") -> dict[str, Any]:
    """Return the JSON of a lost medium."""
    from airgap.times import format_time

    return {
        "medium": lost.name,
        "since": format_time(lost.since) if lost.since else None,
        "user": lost.user,
        "reason": lost.reason,
        "seen_again": format_time(lost.seen_again) if lost.seen_again else None,
        "bundles": [
            {
                "bundle": bundle.title,
                "statement_sha256": bundle.statement_sha256,
                "time": format_time(bundle.time) if bundle.time else None,
                "confirmed_by": list(bundle.confirmed_at),
            }
            for bundle in lost.bundles
        ],
    }


def _time(time: Any) -> str:
    from airgap.times import format_time

    return format_time(time) if time else "an unknown time"
