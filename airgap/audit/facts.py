"""What a ledger says of the state of its site: trust roots, places in streams, the latest time.

The files of a site are compared with this at the start of each command. The facts grow record by record, so
that a summary of the records up to some line (`LedgerFacts.to_bytes`) saves reading them again. It counts
only for a ledger that has this very line at this place; the records after it are read from the ledger.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from airgap.audit.chain import Line, read_ledger
from airgap.audit.files import open_snapshot
from airgap.audit.record import BEGIN, NO_PREVIOUS, NOTE, check_sha256, parse_instant
from airgap.durable import exists
from airgap.errors import LedgerError
from airgap.oci.strict_json import Fields, dump, parse_object

MAX_SUMMARY = 4 << 20
OVERRIDE = "override"
"""The event of a note by which a person settles what the ledger and the files disagree on."""

_CHANGING = ("load", "serve", "pack", "trust-change")
_MAX_BEGUN = 64


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a stream: epoch, serial, and the SHA-256 of the statement there."""

    epoch: int
    serial: int
    statement_sha256: str

    @property
    def value(self) -> dict[str, object]:
        """In a mark's file, and in the ledger."""
        return {"epoch": self.epoch, "serial": self.serial, "statement_sha256": self.statement_sha256}


@dataclass(slots=True)
class LedgerFacts:
    """The facts after the line `number`, which begins at byte `last` and ends before byte `offset`."""

    number: int = 0
    last: int = 0
    offset: int = 0
    head: str = NO_PREVIOUS
    """SHA-256 of that line."""
    site: str = ""
    latest: str = ""
    """The latest time of a record, since a person last said that the clock is right; as in a record."""
    begun: dict[int, str] = field(default_factory=dict)
    """The attempts without an end that change the files, by the line of their begin: what may explain a file
    of which there is no record. The event; of the first trust root, the fingerprint that is expected.
    """
    roots: dict[int, str] = field(default_factory=dict)
    """The fingerprints of the trust roots that were installed, by version."""
    received: dict[str, Mark] = field(default_factory=dict)
    """The highest place that was accepted, by stream."""
    sent: dict[str, Mark] = field(default_factory=dict)
    """The highest place that was sealed, by stream."""

    @property
    def latest_time(self) -> datetime | None:
        """`latest` in whole seconds."""
        return parse_instant(self.latest, "latest").replace(microsecond=0) if self.latest else None

    def take(self, line: Line, path: Path) -> None:
        """Go on by one line. Raises `LedgerError` for a record that does not continue the chain; torn lines
        are for `check_ledger` to judge.
        """
        fields = line.fields
        if fields is not None:
            if (fields["seq"], fields["prev"]) != (line.number, self.head):
                raise LedgerError(
                    "broken chain", subject=f"{path} line {line.number}", want=f"prev {self.head}",
                    got=fields["prev"], hint="`airgap audit verify` tells more; keep the file as it is",
                )  # fmt: skip
            self._follow(fields, line.number)
        self.number, self.head = line.number, line.sha256
        self.last, self.offset = line.offset, line.offset + len(line.raw) + 1

    def _follow(self, fields: Mapping[str, Any], number: int) -> None:
        self.site = str(fields["site"])
        self.latest = max(self.latest, fields["time"])
        event, phase = fields["event"], fields["phase"]
        if event == OVERRIDE and fields.get("change") == "clock":
            self.latest = fields["time"]
        if phase == BEGIN and event in _CHANGING:
            self.begun[number] = str(fields.get("expects") or fields.get("change") or event)
            self.begun = dict(list(self.begun.items())[-_MAX_BEGUN:])
            return
        self.begun.pop(fields.get("begin", 0), "")
        if event == "trust-change":
            self._follow_change(fields)
        for name, known in (("accepted", self.received), ("sealed", self.sent)):
            if isinstance(value := fields.get(name), dict):
                _keep(known, value)

    def _follow_change(self, fields: Mapping[str, Any]) -> None:
        renamed = fields.get("renamed")
        if isinstance(renamed, dict):
            self.site = str(renamed.get("to"))
        version, fingerprint = fields.get("root_version"), fields.get("fingerprint")
        installed = fields["phase"] == NOTE or fields.get("result") == "ok"
        if installed and type(version) is int and isinstance(fingerprint, str):
            self.roots[version] = fingerprint

    def to_bytes(self) -> bytes:
        """The summary."""
        return dump(asdict(self))

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """The inverse of `to_bytes`. Raises `FormatError`."""
        fields = Fields(parse_object(raw, "summary", max_bytes=MAX_SUMMARY, floats=False), "summary")
        roots = fields.string_map("roots")
        found = cls(
            fields.integer("number"),
            fields.integer("last"),
            fields.integer("offset"),
            check_sha256(fields.text("head"), "summary: head"),
            fields.text("site"),
            fields.text("latest"),
            {int(number): event for number, event in fields.string_map("begun").items() if number.isdigit()},
            {int(version): fingerprint for version, fingerprint in roots.items() if version.isdigit()},
            _places(fields.child("received")),
            _places(fields.child("sent")),
        )
        fields.end()
        return found


def read_facts(path: Path, summary: LedgerFacts | None = None) -> LedgerFacts:
    """The facts of the whole ledger, from those of its first lines where there are such; those of an empty
    one where there is none.

    Raises `LedgerError` for a broken chain, and for a ledger that does not have the lines that were
    summarised: it was cut or written again.
    """
    if not exists(path):
        if summary is not None:
            raise _other_ledger(path, summary, "no file")
        return LedgerFacts()
    facts = LedgerFacts()
    if summary is not None:
        _check_prefix(path, summary)
        facts = summary
    for line in read_ledger(path, facts.number, facts.offset):
        if line.ended:
            facts.take(line, path)
    return facts


def _check_prefix(path: Path, summary: LedgerFacts) -> None:
    try:
        with open_snapshot(path) as (descriptor, size):
            raw = os.pread(descriptor, max(summary.offset - summary.last, 0), summary.last)
    except OSError as error:
        raise LedgerError("cannot read the ledger", subject=path, got=error.strerror or error) from error
    else:
        if summary.offset > size or hashlib.sha256(raw.removesuffix(b"\n")).hexdigest() != summary.head:
            raise _other_ledger(path, summary, f"{size:,} bytes")


def _other_ledger(path: Path, summary: LedgerFacts, got: str) -> LedgerError:
    return LedgerError(
        "the ledger was cut, or another one is in its place", subject=path,
        want=f"one that has grown out of {summary.number} lines, {summary.offset:,} bytes", got=got,
        hint="keep a copy and find out who wrote to it; a ledger that came out of a backup is taken with "
        "`airgap audit settle files`",
    )  # fmt: skip


def _keep(known: dict[str, Mark], value: Mapping[str, Any]) -> None:
    """Keep the place that a record tells, unless a higher one is known."""
    stream, epoch, serial = value.get("stream"), value.get("epoch"), value.get("serial")
    sha256 = value.get("statement_sha256")
    if isinstance(stream, str) and isinstance(sha256, str) and type(epoch) is type(serial) is int:
        place = Mark(int(str(epoch)), int(str(serial)), sha256)
        before = known.get(stream)
        if before is None or (place.epoch, place.serial) >= (before.epoch, before.serial):
            known[stream] = place


def _places(fields: Fields) -> dict[str, Mark]:
    found = {}
    for stream in fields.keys():  # noqa: SIM118  # a method, not a dict
        item = fields.child(stream)
        found[stream] = Mark(item.integer("epoch"), item.integer("serial"), item.text("statement_sha256"))
        item.end()
    return found
