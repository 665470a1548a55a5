"""Media that are marked as lost, by the ledger of a site, and the bundles that were on them.

A medium is known by what it says of itself when a bundle is written to it or checked on it. That can be equal
on two media, so a mark only warns and never refuses: every byte from a medium is verified in any case.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from airgap.audit.record import MEDIUM, NOTE, Outcome
from airgap.audit.report import LedgerEntry, entries
from airgap.audit.search import entries_of, entries_on
from airgap.bundle.medium import Medium
from airgap.errors import MediaError, UsageError
from airgap.ledger_summary import current_facts
from airgap.review.export import medium_name, statement_of
from airgap.review.records import Kept, KeptReceipt
from airgap.site import Site
from airgap.times import format_time
from airgap.values import dataclass

LOST, FOUND = "lost", "found"
"""The changes in these notes."""

NOT_ENCRYPTED = "Bundles are not encrypted: whoever has the medium can read their images, names and times."

MediumRecord = Mapping[str, Any]
"""A medium as a ledger record has it: `Medium.record`."""
MediumId = tuple[str, ...]

_NAMES = ("vendor", "product", "serial", "label", "uuid", "size", "format", "file_system")
"""What a mark keeps of a medium."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOnMedium:
    """A bundle, or a kit, that was written to a medium or checked on it."""

    title: str
    statement_sha256: str
    """In hex; empty for a kit without one."""
    time: datetime | None
    """When it was last seen there."""
    confirmed_at: tuple[str, ...] = ()
    """The sites whose receipts say that all of it arrived."""

    @property
    def arrival(self) -> str:
        """Where it arrived, for people."""
        return ", ".join(self.confirmed_at) or "no site"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostMedium:
    """A medium that is marked as lost."""

    name: str
    medium: MediumRecord
    since: datetime | None
    user: str
    reason: str
    bundles: tuple[BundleOnMedium, ...]
    seen_again: datetime | None
    """When a command last wrote to it or checked it after that; None if none did."""

    @property
    def title(self) -> str:
        """Its name, with a remark if it was seen again."""
        return f"{self.name} (used again since)" if self.seen_again else self.name


def medium_id(medium: MediumRecord) -> MediumId | None:
    """Return what a medium is recognised by: its serial; without one, the UUID or else the label of its file
    system; None without any of them.
    """
    if medium.get("serial"):
        return ("serial", *(str(medium.get(key) or "") for key in ("vendor", "product", "serial")))
    return next(((key, str(medium[key])) for key in ("uuid", "label") if medium.get(key)), None)


def media_of(entry: LedgerEntry) -> list[MediumRecord]:
    """Return the media that an entry wrote or checked."""
    media = entry.details.get("media")
    return [medium for medium in media if isinstance(medium, dict)] if isinstance(media, list) else []


def known_media(ledger: Iterable[LedgerEntry]) -> dict[MediumId, MediumRecord]:
    """Return the media in a ledger, each as its last record has it."""
    found: dict[MediumId, MediumRecord] = {}
    for entry in ledger:
        for medium in media_of(entry):
            if (identity := medium_id(medium)) is not None:
                found[identity] = medium
    return found


def find_medium(ledger: Iterable[LedgerEntry], text: str) -> MediumRecord:
    """Return the medium that a person means by its serial, label, UUID, or name as reports show it.

    Raises:
        UsageError: There is no such medium in the ledger, or there are several.
    """
    known = known_media(ledger)
    found = [medium for medium in known.values() if text in _names_of(medium)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(sorted(map(_described, found or known.values()))) or "no media with a name"
    raise UsageError(
        "several media match" if found else "there is no such medium in the ledger",
        subject=text, want="one serial, label or UUID" if found else "a serial, label or UUID", got=listed,
        hint="`airgap audit report --wide` lists the media that were written and checked",
    )  # fmt: skip


def _names_of(medium: MediumRecord) -> set[str]:
    texts = (medium.get("serial"), medium.get("label"), medium.get("uuid"), medium_name(medium))
    return {str(text) for text in texts if text}


def _described(medium: MediumRecord) -> str:
    uuid = medium.get("uuid")
    return medium_name(medium) + (f" (UUID {uuid})" if uuid else "")


# -- marks


def mark_lost(site: Site, text: str, reason: str) -> LostMedium:
    """Record that a medium is lost. A medium that is marked already keeps its first mark.

    Raises:
        UsageError: As `find_medium` does.
    """
    ledger = _entries_with_media(site)
    medium = find_medium(ledger, text)
    if medium_id(medium) not in _marks(ledger):
        _append(site, LOST, medium, reason=reason)
        ledger = _entries_with_media(site)
    lost = lost_media(ledger, Kept.of(site).receipts)
    return next(found for found in lost if medium_id(found.medium) == medium_id(medium))


def mark_found(site: Site, text: str) -> str:
    """Record that a lost medium was found, and return its name.

    Raises:
        UsageError: It is not marked as lost, or as `find_medium` does.
    """
    ledger = _entries_with_media(site)
    medium = find_medium(ledger, text)
    if medium_id(medium) not in _marks(ledger):
        raise UsageError("the medium is not marked as lost", subject=medium_name(medium))
    _append(site, FOUND, medium)
    return medium_name(medium)


def _entries_with_media(site: Site) -> list[LedgerEntry]:
    return entries(site.ledger_path, where=lambda entry: entry.event == MEDIUM or bool(media_of(entry)))


def _append(site: Site, change: str, medium: MediumRecord, **details: object) -> None:
    kept = {key: medium[key] for key in _NAMES if medium.get(key)}
    site.ledger().append(MEDIUM, NOTE, change=change, medium=kept, **details)


def _marks(ledger: Iterable[LedgerEntry]) -> dict[MediumId | None, LedgerEntry]:
    """Return the entries that mark media which were not found since."""
    marks: dict[MediumId | None, LedgerEntry] = {}
    for entry in ledger:
        medium = entry.details.get("medium")
        if entry.event != MEDIUM or not isinstance(medium, dict):
            continue
        if entry.details.get("change") == LOST:
            marks.setdefault(medium_id(medium), entry)
        else:
            marks.pop(medium_id(medium), None)
    return marks


def lost_media(ledger: Iterable[LedgerEntry], receipts: Iterable[KeptReceipt] = ()) -> tuple[LostMedium, ...]:
    """Return the media that are marked as lost, in the order of their marks.

    Args:
        ledger: All entries of the ledger, the oldest first.
        receipts: The receipts that this site keeps, which say where the bundles arrived.
    """
    ledger = list(ledger)
    sites: dict[str, set[str]] = {}
    for receipt in (kept.receipt for kept in receipts):
        if receipt.result == Outcome.OK:
            sites.setdefault(receipt.statement_sha256, set()).add(receipt.site)
    return tuple(
        _lost(mark, identity, ledger, sites) for identity, mark in _marks(ledger).items() if identity
    )


def _lost(
    mark: LedgerEntry, identity: MediumId, ledger: Iterable[LedgerEntry], sites: Mapping[str, set[str]]
) -> LostMedium:
    there = [entry for entry in ledger if identity in map(medium_id, media_of(entry))]
    later = [entry.time for entry in there if entry.seq > mark.seq and entry.time is not None]
    medium = mark.details["medium"]
    return LostMedium(
        name=medium_name(medium), medium=medium, since=mark.time, user=mark.user,
        reason=str(mark.details.get("reason") or ""), bundles=tuple(_bundles(there, sites)),
        seen_again=later[-1] if later else None,
    )  # fmt: skip


def _bundles(there: Iterable[LedgerEntry], sites: Mapping[str, set[str]]) -> Iterator[BundleOnMedium]:
    last = {statement_of(entry) or f"{entry.event} {entry.seq}": entry for entry in there}
    for entry in last.values():
        title, sha256 = entry.title or entry.event, statement_of(entry)
        yield BundleOnMedium(
            title=title, statement_sha256=sha256, time=entry.time,
            confirmed_at=tuple(sorted(sites.get(sha256, ()))),
        )  # fmt: skip


def lost_warnings(site: Site, paths: Iterable[Path]) -> list[str]:
    """Return a warning for each medium of these paths that is marked as lost; none for one that cannot be
    read.
    """
    notes = current_facts(site.home, site.ledger_path).media
    path = site.ledger_path
    marks = _marks(entries_of(path, MEDIUM) if notes is None else entries_on(path, notes))
    warnings = {}
    for path in paths:
        with contextlib.suppress(MediaError):
            medium = Medium.of(path).record()
            if (mark := marks.get(medium_id(medium))) is not None and medium_id(medium) is not None:
                since = format_time(mark.time) if mark.time else "an unknown time"
                warnings[medium_id(medium)] = (
                    f"{medium_name(medium)} is marked as lost since {since} ({mark.reason}): others may have "
                    "had it; if it is back, run `airgap audit medium found`"
                )
    return list(warnings.values())
