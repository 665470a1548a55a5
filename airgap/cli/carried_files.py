"""Shows the files that a bundle carries besides images."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airgap.cli import console
from airgap.cli.tables import Table

if TYPE_CHECKING:
    from airgap.oci.files_artifact import CarriedFile


def value(files: "Iterable[CarriedFile]") -> list[dict[str, Any]]:
    """Return the files of one image for `--json`; there are none unless it is an artifact of files."""
    return [
        {"name": item.name, "mode": str(item.mode), "digest": str(item.digest), "bytes": item.size}
        for item in files
    ]


def lines(files: "Iterable[CarriedFile]") -> list[Table]:
    """Return a table of the files of all images; nothing if there are none."""
    rows = [(item.name, item.mode, console.size(item.size), item.digest) for item in files]
    return [Table(("FILE", "MODE", "SIZE", "DIGEST"), rows)] if rows else []


def contents_of(platforms: Iterable[str], files: "Iterable[CarriedFile]") -> str:
    """Return what an image has, for a table: its platforms, or the number of its files."""
    count = len(list(files))
    if not count:
        return ", ".join(platforms)
    return f"{count} file" if count == 1 else f"{count} files"
