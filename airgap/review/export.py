"""Exports the ledger as a table for spreadsheets: one row for each image of each entry."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from datetime import UTC
from types import MappingProxyType
from typing import TextIO

from airgap.audit.report import LedgerEntry
from airgap.errors import printable
from airgap.values import dataclass

COLUMNS = (
    "seq", "time_utc", "site", "event", "result", "exit_code", "user", "claimed_user", "host", "bundle",
    "ticket", "transfer", "signer", "root_version", "reference", "digest", "platform", "bundle_bytes",
    "verdict", "before", "after", "where", "media", "error", "statement_sha256", "recalled", "lost_media",
)  # fmt: skip
BOM = "\ufeff"
"""At the start of a file, it makes spreadsheets read the file as UTF-8."""
_SIGNS = r"=+\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b\u207a-\u207c\u208a-\u208c\u2212\ufb29"
_FORMULA = re.compile(rf'(^|[;,|])([ "]*)([{_SIGNS}])')
"""The start of a formula: at the start of a cell, or after a character that separates cells in some locales,
quoted or not. Signs that are compatible with = + - @ in Unicode (NFKC) are included."""

SignersByStatement = Mapping[str, Iterable[str]]
"""The people who signed each bundle that was sealed here, by the SHA-256 of its statement."""
_NOBODY: SignersByStatement = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Remarks:
    """What became known about bundles and media after their entries were written."""

    recalled: Mapping[tuple[str, str], str] = field(default_factory=dict, hash=False)
    """The reason for each recall, by the sender and the SHA-256 of the statement."""
    lost: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The reason for the mark of each lost medium, by its name."""


_NO_REMARKS = Remarks()


def write_csv(
    entries: Iterable[LedgerEntry],
    out: TextIO,
    signers: SignersByStatement = _NOBODY,
    remarks: Remarks = _NO_REMARKS,
) -> None:
    """Write RFC 4180 with a header. `'` is added before text that a spreadsheet would read as a formula, and
    control characters are escaped, because the output may go to a terminal.
    """
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for entry in entries:
        for row in rows(entry, signers, remarks):
            writer.writerow([_harmless(row.get(name, "")) for name in COLUMNS])


def rows(
    entry: LedgerEntry, signers: SignersByStatement = _NOBODY, remarks: Remarks = _NO_REMARKS
) -> Iterator[dict[str, object]]:
    """Yield the cells of an entry by column: one row for each image, or one row without images."""
    common = _common(entry, signers) | _remarks(entry, remarks)
    effect = entry.details.get("effect")
    effects = (
        {e.get("reference"): e for e in effect if isinstance(e, dict)} if isinstance(effect, list) else {}
    )
    if not entry.images:
        yield common
    for image in entry.images:
        done = effects.get(image.get("reference"), {})
        yield (
            common
            | {name: image.get(name) or "" for name in ("reference", "digest")}
            | {"platform": " ".join(texts(image.get("platforms")))}
            | {name: done.get(name) or "" for name in ("verdict", "before", "after")}
        )


def _common(entry: LedgerEntry, signers: SignersByStatement) -> dict[str, object]:
    details = entry.details
    media = details.get("media")
    stated = stated_pairs(entry)
    checks = details.get("checks")
    checks = checks if isinstance(checks, dict) else {}
    sha256 = statement_of(entry)
    return {
        "seq": entry.seq,
        "time_utc": f"{entry.time.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if entry.time else "",
        "site": details.get("from_site") or entry.site,
        "event": entry.event,
        "result": entry.result,
        "exit_code": "" if entry.exit_code is None else entry.exit_code,
        "user": entry.user,
        "claimed_user": details.get("claimed_user") or "",
        "host": entry.host,
        "bundle": entry.title,
        "ticket": stated.get("ticket", ""),
        "transfer": "; ".join(f"{key}={value}" for key, value in stated.items()),
        "signer": "; ".join(
            texts(details.get("owners")) or texts(checks.get("owners")) or signers.get(sha256, ())
        ),
        "root_version": checks.get("root_version") or "",
        "statement_sha256": sha256,
        "bundle_bytes": details.get("bytes") or "",
        "where": entry.place,
        "media": "; ".join(map(medium_name, media)) if isinstance(media, list) else "",
        "error": entry.reason,
    }


def _remarks(entry: LedgerEntry, remarks: Remarks) -> dict[str, object]:
    media = entry.details.get("media")
    names = map(medium_name, media) if isinstance(media, list) else ()
    return {
        "recalled": remarks.recalled.get((entry.sender, statement_of(entry)), ""),
        "lost_media": "; ".join(f"{name}: {remarks.lost[name]}" for name in names if name in remarks.lost),
    }


def statement_of(entry: LedgerEntry) -> str:
    """Return the SHA-256 of the statement of the entry's bundle; empty if there is none."""
    return str(entry.bundle.get("statement_sha256") or entry.details.get("statement_sha256") or "")


def stated_pairs(entry: LedgerEntry) -> dict[str, str]:
    """Return what was stated under `transfer:`, as the entry records it."""
    pairs = (text.partition("=") for text in texts(entry.details.get("transfer")))
    return {key: value for key, _, value in pairs}


def texts(value: object) -> list[str]:
    """Return the items of a list in a record as texts; empty for a value of another type."""
    return [str(item) for item in value] if isinstance(value, list) else []


def medium_name(medium: object) -> str:
    """Return the name of a medium in a record, as `SanDisk Ultra 4C53 "STICK"`, or its mount point."""
    if not isinstance(medium, dict):
        return ""
    label = f'"{medium["label"]}"' if medium.get("label") else ""
    name = " ".join(filter(None, (str(medium.get(key) or "") for key in ("vendor", "product", "serial"))))
    return " ".join(filter(None, (name, label))) or str(medium.get("mount_point") or "")


def _harmless(value: object) -> object:
    return _FORMULA.sub(r"\1'\2\3", printable(value))
