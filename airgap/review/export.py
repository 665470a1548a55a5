"""Exports the ledger as a table for spreadsheets: one row for each image of each entry."""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import TextIO

from airgap.audit.report import LedgerEntry
from airgap.errors import printable

COLUMNS = (
    "seq", "time", "user", "event", "result", "exit_code", "bundle", "statement_sha256", "reference",
    "digest", "verdict", "before", "after", "where", "media", "error",
)  # fmt: skip
_SIGNS = r"=+\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b\u207a-\u207c\u208a-\u208c\u2212\ufb29"
_FORMULA = re.compile(rf'(^|[;,|])([ "]*)([{_SIGNS}])')
"""The start of a formula: at the start of a cell, or after a character that separates cells in some locales,
quoted or not. Signs that are compatible with = + - @ in Unicode (NFKC) are included."""


def write_csv(entries: Iterable[LedgerEntry], out: TextIO) -> None:
    """Write RFC 4180 with a header. `'` is added before text that a spreadsheet would read as a formula, and
    control characters are escaped, because the output may go to a terminal.
    """
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for entry in entries:
        for row in rows(entry):
            writer.writerow([_harmless(row.get(name, "")) for name in COLUMNS])


def rows(entry: LedgerEntry) -> Iterator[dict[str, object]]:
    """Yield the cells of an entry by column: one row for each image, or one row without images."""
    details = entry.details
    media = details.get("media")
    common: dict[str, object] = {
        "seq": entry.seq,
        "time": entry.time.isoformat() if entry.time else "",
        "user": entry.user,
        "event": entry.event,
        "result": entry.result,
        "exit_code": "" if entry.exit_code is None else entry.exit_code,
        "bundle": entry.title,
        "statement_sha256": entry.bundle.get("statement_sha256") or details.get("statement_sha256") or "",
        "where": entry.place,
        "media": "; ".join(map(medium_name, media)) if isinstance(media, list) else "",
        "error": entry.reason,
    }
    effect = details.get("effect")
    effects = (
        {e.get("reference"): e for e in effect if isinstance(e, dict)} if isinstance(effect, list) else {}
    )
    if not entry.images:
        yield common
    for image in entry.images:
        done = effects.get(image.get("reference"), {})
        yield common | {name: image.get(name) or "" for name in ("reference", "digest")} | {
            name: done.get(name) or "" for name in ("verdict", "before", "after")
        }  # fmt: skip


def medium_name(medium: object) -> str:
    """Return the name of a medium in a record, as `SanDisk Ultra 4C53 "STICK"`, or its mount point."""
    if not isinstance(medium, dict):
        return ""
    label = f'"{medium["label"]}"' if medium.get("label") else ""
    name = " ".join(filter(None, (str(medium.get(key) or "") for key in ("vendor", "product", "serial"))))
    return " ".join(filter(None, (name, label))) or str(medium.get("mount_point") or "")


def _harmless(value: object) -> object:
    return _FORMULA.sub(r"\1'\2\3", printable(value))
