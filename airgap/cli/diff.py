"""Compare the images of two manifests, locks or bundles.

Images are compared by their names on the offline side. A manifest has the digests of the lock beside it.
Between two bundles, the bytes that only the second one has are counted too.

Example: airgap diff weekly-0006 /media/stick/weekly-0007
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import console
from airgap.cli.options import TableOutput
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.bundle.files import Files
    from airgap.carry.compare_images import ImageChange, ImageList
    from airgap.carry.receiver import Receiver


Before = Annotated[Path, typer.Argument(metavar="MANIFEST|LOCK|BUNDLE", readable=False, help="The old one.")]
After = Annotated[Path, typer.Argument(metavar="MANIFEST|LOCK|BUNDLE", readable=False, help="The new one.")]


def run(
    before: Before,
    after: After,
    every: Annotated[bool, typer.Option("--all", help="Also show images that are the same.")] = False,
    *,
    output: TableOutput,
) -> None:
    from airgap.carry.compare_images import Change, compare, new_bytes

    one, other = _read(before), _read(after)
    changes = compare(one, other)
    added = new_bytes(one, other)
    counts = {change: sum(item.change is change for item in changes) for change in Change}
    value: dict[str, Any] = {
        "before": one.title,
        "after": other.title,
        "images": [_value(item) for item in changes],
        "new_bytes": added,
        "same": counts[Change.SAME] == len(changes),
    }
    shown = [item for item in changes if every or item.change is not Change.SAME]
    lines: list[str | Table] = []
    if shown:
        lines.append(Table(("IMAGE", "CHANGE", "BEFORE", "AFTER", "NEW"), [_row(item) for item in shown]))
    total = ", ".join(f"{count} {change}" for change, count in counts.items() if count) or "no images"
    lines.append(f"{one.title} -> {other.title}: {total}")
    if added is not None:
        lines.append(f"new content: {console.size(added)}")
    console.show_result(value, lines, output)


def _read(path: Path) -> "ImageList":
    from airgap.carry.compare_images import read_images
    from airgap.cli.bundle_choice import take_named

    return read_images(take_named(path), _receiver)


def _receiver(folder: "Files") -> "Receiver":
    """Return this site's state, which only bundles need. Bundles may lack signatures."""
    from dataclasses import replace

    from airgap.carry.choose_sender import site_of
    from airgap.carry.verify_recorded import receiver
    from airgap.cli.opening import open_site

    opened = open_site(recording=False)
    return replace(receiver(site_of(folder, opened.site), opened.now), partly=True)


def _value(item: "ImageChange") -> dict[str, Any]:
    return {
        "name": item.name,
        "change": str(item.change),
        "before": str(item.before) if item.before else None,
        "after": str(item.after) if item.after else None,
        "new_bytes": item.new_bytes,
    }


def _row(item: "ImageChange") -> tuple[object, ...]:
    size = "-" if item.new_bytes is None else console.size(item.new_bytes)
    return item.name, item.change, item.before or "-", item.after or "-", size
