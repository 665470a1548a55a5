"""The state of a site according to its ledger: trust roots, marks of streams, the latest time.

Each command compares the files of the site with these facts. The facts are collected record by record, so a
summary of the records up to a certain line (`LedgerFacts.to_bytes`) saves reading them again. The summary is
used only if the ledger has the same line at the same position; later records are read from the ledger.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from airgap.audit.files import open_snapshot
from airgap.audit.forms import KnownForms, RecordHead
from airgap.audit.lines import Line, parse_line, read_lines
from airgap.audit.merkle import MerkleTree
from airgap.audit.record import BEGIN, MEDIUM, NO_PREVIOUS, NOTE, Outcome, check_sha256, parse_instant
from airgap.durable import exists
from airgap.errors import FormatError, LedgerError
from airgap.limits import MAX_LEDGER_SUMMARY_BYTES, MAX_MEDIA_NOTES, MAX_OPEN_ATTEMPTS
from airgap.oci.strict_json import Fields, dump, parse_object
from airgap.values import dataclass

OVERRIDE = "override"
"""The event of a note that a person settled a difference between the ledger and the files."""

_CHANGING = ("load", "serve", "pack", "trust-change")
_DECIDING = ("trust-change", OVERRIDE, MEDIUM)
_TOLD = frozenset({"accepted", "sealed"})
"""The details of other events that are facts."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The position of a bundle in a stream: epoch, serial, and the SHA-256 of its statement."""

    epoch: int
    serial: int
    statement_sha256: str

    @property
    def value(self) -> dict[str, object]:
        """The JSON value in a mark's file and in the ledger."""
        return {"epoch": self.epoch, "serial": self.serial, "statement_sha256": self.statement_sha256}


@dataclass(slots=True, kw_only=True)
class SenderFacts:
    """The facts about one sender."""

    roots: dict[int, str] = field(default_factory=dict)
    """The fingerprints of the trust roots that were installed, by version."""
    received: dict[str, Mark] = field(default_factory=dict)
    """The newest bundle that was accepted, by stream."""
    settings: str = ""
    """What a person decided about the sender, as canonical JSON; empty if nothing was."""
    removed: bool = False
    """Whether a person removed the sender. Its roots and marks count again if it is installed again."""

    def take_change(self, fields: Mapping[str, Any]) -> None:
        """Take a record of a change of the trust root or the settings that succeeded."""
        if fields.get("removed") is True:
            self.removed, self.settings = True, ""
            return
        version, fingerprint = fields.get("root_version"), fields.get("fingerprint")
        if type(version) is int and isinstance(fingerprint, str):
            self.roots[version] = fingerprint
            self.removed = False
        if isinstance(settings := fields.get("settings"), dict):
            self.settings = dump(settings).decode()

    def fill(self, fields: Fields) -> None:
        """Take the values of a summary. Raises `FormatError`."""
        roots = fields.string_map("roots")
        self.roots = {int(version): sha256 for version, sha256 in roots.items() if version.isdigit()}
        self.received = _parse_marks(fields.child("received"))
        self.settings = fields.optional_text("settings") or ""
        self.removed = fields.has("removed") and fields.boolean("removed")


@dataclass(slots=True, kw_only=True)
class LedgerFacts(SenderFacts):
    """The facts after the line `number`, which begins at byte `last` and ends before byte `offset`."""

    number: int = 0
    last: int = 0
    offset: int = 0
    head: str = NO_PREVIOUS
    """The SHA-256 of that line."""
    site: str = ""
    latest: str = ""
    """The latest time of a record, since a person last confirmed the clock; spelled as in a record."""
    begun: dict[int, str] = field(default_factory=dict)
    """The attempts without an end that change files, by the line of their begin. They may explain a file that
    has no record. The value is the event; for the first trust root, the expected fingerprint.
    """
    sent: dict[str, Mark] = field(default_factory=dict)
    """The newest bundle that was sealed, by stream."""
    senders: dict[str, SenderFacts] = field(default_factory=dict)
    """The facts about the senders after the first one, by name; those about the first one are here."""
    media: dict[int, int] | None = field(default_factory=dict)
    """The offsets of the lines about lost media, by their numbers; None if there are too many."""
    tree: MerkleTree | None = field(default_factory=MerkleTree)
    """The Merkle tree over the lines; None after the summary of an older version, which did not have all that
    this one has.
    """

    def of(self, sender: str) -> SenderFacts:
        """Return the facts about a sender; empty for the first one."""
        return self.senders.setdefault(sender, SenderFacts()) if sender else self

    @property
    def latest_time(self) -> datetime | None:
        """`latest` in whole seconds."""
        return parse_instant(self.latest, "latest").replace(microsecond=0) if self.latest else None

    def take_known(self, head: RecordHead, raw: bytes, offset: int) -> bool:
        """Take the next line, by what is known of it without parsing it. Return False if that is not enough,
        and for a record that does not continue the chain.
        """
        changing = head.phase == BEGIN and head.event in _CHANGING
        if changing or head.event in _DECIDING or not _TOLD.isdisjoint(head.keys):
            return False
        if (head.seq, head.prev) != (self.number + 1, self.head):
            return False
        self.site, self.latest = head.site, max(self.latest, head.time)
        self.begun.pop(head.begin or 0, "")
        self._end_line(head.seq, raw, offset)
        return True

    def _end_line(self, number: int, raw: bytes, offset: int) -> None:
        if self.tree is not None:
            self.tree.add(raw)
        self.number, self.head = number, hashlib.sha256(raw).hexdigest()
        self.last, self.offset = offset, offset + len(raw) + 1

    def take(self, line: Line, path: Path) -> None:
        """Take the next line. Raises `LedgerError` for a record that does not continue the chain; torn lines
        are not checked here, but by `check_ledger`.
        """
        fields = line.fields
        if fields is not None:
            if (fields["seq"], fields["prev"]) != (line.number, self.head):
                raise LedgerError(
                    "broken chain", subject=f"{path} line {line.number}", want=f"prev {self.head}",
                    got=fields["prev"], hint="run `airgap audit verify`; leave the file unchanged",
                )  # fmt: skip
            self._follow(fields, line.number)
            if fields["event"] == MEDIUM and self.media is not None:
                self.media[line.number] = line.offset
                self.media = self.media if len(self.media) <= MAX_MEDIA_NOTES else None
        self._end_line(line.number, line.raw, line.offset)

    def _follow(self, fields: Mapping[str, Any], number: int) -> None:
        self.site = str(fields["site"])
        self.latest = max(self.latest, fields["time"])
        event, phase = fields["event"], fields["phase"]
        if event == OVERRIDE and fields.get("change") == "clock":
            self.latest = fields["time"]
        if phase == BEGIN and event in _CHANGING:
            self.begun[number] = str(fields.get("expects") or fields.get("change") or event)
            self.begun = dict(list(self.begun.items())[-MAX_OPEN_ATTEMPTS:])
            return
        if type(begin := fields.get("begin")) is int:
            self.begun.pop(begin, "")
        if event == "trust-change":
            self._follow_change(fields)
        for name, known in (("accepted", self.of(sender_in(fields)).received), ("sealed", self.sent)):
            if isinstance(value := fields.get(name), dict):
                _keep(known, value)

    def _follow_change(self, fields: Mapping[str, Any]) -> None:
        renamed = fields.get("renamed")
        if isinstance(renamed, dict):
            self.site = str(renamed.get("to"))
        if fields["phase"] == NOTE or fields.get("result") == Outcome.OK:
            self.of(sender_in(fields)).take_change(fields)

    def to_bytes(self) -> bytes:
        """Return the summary."""
        peaks = {} if self.tree is None else {"peaks": self.tree.peaks}
        fields = asdict(self)
        del fields["tree"]
        return dump(fields | peaks)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Return the inverse of `to_bytes`. Raises `FormatError`."""
        fields = Fields(
            parse_object(raw, "summary", max_bytes=MAX_LEDGER_SUMMARY_BYTES, floats=False), "summary"
        )
        facts = cls(
            number=fields.integer("number"),
            last=fields.integer("last"),
            offset=fields.integer("offset"),
            head=check_sha256(fields.text("head"), "summary: head"),
            site=fields.text("site"),
            latest=fields.text("latest"),
            begun={
                int(number): event for number, event in fields.string_map("begun").items() if number.isdigit()
            },
            sent=_parse_marks(fields.child("sent")),
        )
        facts.fill(fields)
        facts.tree = _parse_tree(facts.number, fields)
        facts.media = _parse_media(fields)
        if fields.has("senders"):  # older versions did not write it
            senders = fields.child("senders")
            for name in senders.keys():  # noqa: SIM118  # a method, not a dict
                facts.of(name).fill(item := senders.child(name))
                item.end()
        fields.end()
        return facts


def _parse_media(fields: Fields) -> dict[int, int] | None:
    if fields.take("media") is None:  # older versions did not write them
        return None
    media = fields.child("media")
    return {int(number): media.integer(number) for number in media.keys() if number.isdigit()}  # noqa: SIM118


def _parse_tree(size: int, fields: Fields) -> MerkleTree | None:
    if not fields.has("peaks"):  # older versions did not write them
        return None
    try:
        tree = MerkleTree.from_peaks(size, fields.texts("peaks"))
        return tree if fields.has("media") else None
    except ValueError as error:
        raise FormatError("wrong value", subject="summary: peaks", got=error) from error


def read_facts(path: Path, summary: LedgerFacts | None = None) -> LedgerFacts:
    """Return the facts of the whole ledger, starting from a `summary` of its first lines, if there is one. A
    missing ledger gives the facts of an empty one.

    Raises `LedgerError` for a broken chain, and for a ledger without the summarised lines: it was cut or
    replaced.
    """
    if not exists(path):
        if summary is not None:
            raise _other_ledger(path, summary, "no file")
        return LedgerFacts()
    facts = LedgerFacts()
    if summary is not None:
        _check_prefix(path, summary)
        facts = summary
    for _ in _take_lines(facts, path):
        pass
    return facts


def _take_lines(facts: LedgerFacts, path: Path) -> Iterator[Mapping[str, Any]]:
    """Take the lines after those of `facts`, and yield the records that have more than a head."""
    forms = KnownForms()
    for number, offset, raw, ended in read_lines(path, facts.number, facts.offset):
        head = forms.recognise(raw)
        if ended and not (head is not None and facts.take_known(head, raw, offset)):
            line = parse_line(str(path), number, offset, raw, ended)
            facts.take(line, path)
            if line.fields is not None:
                if head is None:
                    forms.learn(raw, line.fields)
                yield line.fields


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
        "the ledger was cut or replaced", subject=path,
        want=f"one that begins with the known {summary.number} lines, {summary.offset:,} bytes", got=got,
        hint="keep a copy and find out who wrote to it; if it was restored from a backup, run "
        "`airgap audit settle files`",
    )  # fmt: skip


@dataclass(slots=True)
class AcceptedRecords:
    """All bundles that were accepted, by the whole ledger. It is read when it is first asked for; after that,
    only lines that were added.
    """

    path: Path
    sender: str = ""
    """The sender whose bundles count; empty for the first one."""
    _facts: LedgerFacts = field(default_factory=LedgerFacts)
    _marks: dict[str, set[Mark]] = field(default_factory=dict)

    def of(self, stream: str) -> frozenset[Mark]:
        """Return the accepted bundles of a stream. Raises `LedgerError` for a broken chain."""
        self._read()
        return frozenset(self._marks.get(stream, ()))

    def statements(self) -> frozenset[str]:
        """Return the SHA-256 of all accepted statements, in hex. Raises `LedgerError` for a broken chain."""
        self._read()
        return frozenset(mark.statement_sha256 for marks in self._marks.values() for mark in marks)

    def _read(self) -> None:
        if exists(self.path):
            for fields in _take_lines(self._facts, self.path):
                value = fields.get("accepted") if sender_in(fields) == self.sender else None
                if isinstance(value, dict) and (named := _parse_accepted(value)):
                    self._marks.setdefault(named[0], set()).add(named[1])


def sender_in(fields: Mapping[str, Any]) -> str:
    """Return the sender of a record; empty for the first one."""
    sender = fields.get("sender")
    return sender if isinstance(sender, str) else ""


def _keep(known: dict[str, Mark], value: Mapping[str, Any]) -> None:
    """Keep the mark in a record, unless a newer one is known."""
    if named := _parse_accepted(value):
        stream, mark = named
        before = known.get(stream)
        if before is None or (mark.epoch, mark.serial) >= (before.epoch, before.serial):
            known[stream] = mark


def _parse_accepted(value: Mapping[str, Any]) -> tuple[str, Mark] | None:
    """Return stream and mark in a record; None for a value of another form."""
    stream, epoch, serial = value.get("stream"), value.get("epoch"), value.get("serial")
    sha256 = value.get("statement_sha256")
    if isinstance(stream, str) and isinstance(sha256, str) and type(epoch) is type(serial) is int:
        return stream, Mark(int(str(epoch)), int(str(serial)), sha256)
    return None


def _parse_marks(fields: Fields) -> dict[str, Mark]:
    marks = {}
    for stream in fields.keys():  # noqa: SIM118  # a method, not a dict
        item = fields.child(stream)
        marks[stream] = Mark(item.integer("epoch"), item.integer("serial"), item.text("statement_sha256"))
        item.end()
    return marks
