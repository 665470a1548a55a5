"""Reads entries from the ledger; the begin and end records of an attempt become one entry."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airgap.audit.facts import sender_in
from airgap.audit.lines import Line, read_backwards, read_ledger
from airgap.audit.record import BEGIN, END, HEAD, TORN, parse_instant, parse_record
from airgap.errors import FormatError
from airgap.values import dataclass

OPEN = "open"
"""The result of an entry without an end: the attempt is still running, or it was killed."""

UNREADABLE = "unreadable"
"""The result of an entry for a line that is not a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One attempt or note. Values that are missing or of another type are None or empty."""

    seq: int
    """The line number of the begin record or the note."""
    time: datetime | None
    event: str
    result: str
    exit_code: int | None
    user: str
    duration: timedelta | None
    """The time between begin and end, by the clock of the site."""
    details: Mapping[str, Any]
    """The details of begin and end; the value of the end overrides that of the begin."""
    site: str = ""
    host: str = ""

    @property
    def bundle(self) -> Mapping[str, Any]:
        """The stream, serial and statement_sha256 of the bundle; empty if the entry is not about a bundle."""
        bundle = self.details.get("bundle")
        return bundle if isinstance(bundle, dict) else {}

    @property
    def sender(self) -> str:
        """The sender that the entry is about; empty for the first one, and where there is none."""
        return sender_in(self.details)

    @property
    def title(self) -> str:
        """The title of the bundle, such as `stream-0007`; empty if the entry is not about a bundle. If the
        bundle is of a sender that is not the first one, its name is in front: `vendor/stream-0007`, or alone
        if the bundle was refused before it was known.
        """
        return "/".join(filter(None, (self.sender, self._title)))

    @property
    def _title(self) -> str:
        serial = self.bundle.get("serial")
        if "stream" not in self.bundle:
            return ""
        return f"{self.bundle['stream']}-{serial:04d}" if type(serial) is int else str(self.bundle["stream"])

    @property
    def streams(self) -> tuple[str, ...]:
        """The names by which the entry's stream or bundle is found, with and without that of the sender."""
        stream = self.bundle.get("stream")
        named = (f"{self.sender}/{stream}", self.sender) if self.sender else ()
        return tuple(filter(None, (*(named), str(stream or ""), self._title, self.title)))

    @property
    def place(self) -> str:
        """The target, host or folder that was written, or read by a command that writes none, if the ledger
        records it.
        """
        if target := self.details.get("target"):
            return str(target)
        keys = ("into", "to", "repairs", "path", "folder")
        return str(self.bundle.get("folder") or next(filter(None, map(self.details.get, keys)), ""))

    @property
    def reason(self) -> str:
        """Why the attempt was refused or failed, the reason that a person gave, or the alarms."""
        alarms = self.details.get("alarms")
        error = next(filter(None, map(self.details.get, ("error", "problem", "reason"))), "")
        return str(error or "") or "; ".join(map(str, alarms if isinstance(alarms, list) else ()))

    @property
    def images(self) -> tuple[Mapping[str, Any], ...]:
        """The reference and digest of each image."""
        images = self.details.get("images")
        return tuple(image for image in images if isinstance(image, dict)) if isinstance(images, list) else ()

    @property
    def effects(self) -> tuple[Mapping[str, Any], ...]:
        """What a load did with each name."""
        effects = self.details.get("effect")
        return tuple(item for item in effects if isinstance(item, dict)) if isinstance(effects, list) else ()


def entries(path: Path, **conditions: Any) -> list[LedgerEntry]:
    """Return the entries that match the conditions of `matching_entries`, in the order of the file."""
    return sorted(matching_entries(path, **conditions), key=lambda entry: entry.seq)


def matching_entries(
    path: Path,
    *,
    event: str | None = None,
    since: datetime | None = None,
    stream: str | None = None,
    digest: str | None = None,
    where: Callable[[LedgerEntry], bool] | None = None,
) -> Iterator[LedgerEntry]:
    """Yield the entries that match all conditions, as soon as their ends are read.

    `stream` is the name of a stream, a bundle or a sender: `edge`, `edge-0007`, `vendor` or `vendor/edge`.
    `digest` matches an entry that has the text anywhere in its details, so a bare hex form or its beginning
    is enough. `where` is any other condition. An unreadable line is an entry too, and matches every
    condition, since it could be about anything. The chain is not checked. Raises `LedgerError` if the file
    cannot be read.
    """

    def matches(entry: LedgerEntry) -> bool:
        return entry.result == UNREADABLE or (
            event in (None, entry.event)
            and (since is None or entry.time is None or entry.time >= since)
            and (stream is None or stream in entry.streams)
            and (digest is None or _mentions(entry.details, digest))
            and (where is None or where(entry))
        )

    return filter(matches, join_lines(read_ledger(path)))


def join_lines(lines: Iterable[Line]) -> Iterator[LedgerEntry]:
    """Yield entries as soon as their end is read, so that only open ones stay in memory."""
    begun: dict[int, dict[str, Any]] = {}
    for line in lines:
        fields = line.fields
        if fields is None:
            yield LedgerEntry(
                seq=line.number,
                time=None,
                event=TORN,
                result=UNREADABLE,
                exit_code=None,
                user="",
                duration=None,
                details={"problem": line.problem},
            )
        elif fields["phase"] == BEGIN:
            begun[line.number] = fields
        elif fields["phase"] == END and type(fields.get("begin")) is int and fields["begin"] in begun:
            yield _entry(fields["begin"], begun.pop(fields["begin"]), fields)
        else:
            yield _entry(line.number, fields)
    for number, fields in begun.items():
        yield _entry(number, fields)


def newest_first(path: Path) -> Iterator[LedgerEntry]:
    """Yield the entries from the last one to the first, without those of unreadable lines. Their numbers are
    those in the records; the chain is not checked. Raises `LedgerError` if the ledger cannot be read.
    """
    ends: dict[int, dict[str, Any]] = {}
    for raw in read_backwards(path):
        try:
            fields = parse_record(raw, "line")
        except FormatError:
            continue
        if fields["phase"] == BEGIN:
            yield _entry(fields["seq"], fields, ends.pop(fields["seq"], None))
        elif fields["phase"] == END and type(begin := fields.get("begin")) is int:
            if begin in ends:
                yield _entry(ends[begin]["seq"], ends[begin])
            ends[begin] = fields
        else:
            yield _entry(fields["seq"], fields)
    for end in ends.values():
        yield _entry(end["seq"], end)


def _entry(seq: int, first: dict[str, Any], end: dict[str, Any] | None = None) -> LedgerEntry:
    last = first if end is None else end
    began, ended = (parse_instant(fields["time"], "time") for fields in (first, last))
    exit_code = last.get("exit_code")
    return LedgerEntry(
        seq=seq, time=began, event=first["event"], result=_result(last),
        exit_code=exit_code if type(exit_code) is int else None,
        user=first["user"],
        duration=None if end is None else ended - began,
        details={key: value for key, value in (first | last).items() if key not in (*HEAD, "begin")},
        site=first["site"],
        host=first["host"],
    )  # fmt: skip


def _result(last: dict[str, Any]) -> str:
    if last["phase"] == BEGIN:
        return OPEN
    result = last.get("result")
    return result if isinstance(result, str) else str(last["phase"])


def _mentions(value: object, text: str) -> bool:
    if isinstance(value, Mapping):
        return any(_mentions(inner, text) for inner in value.values())
    if isinstance(value, list):
        return any(_mentions(inner, text) for inner in value)
    return isinstance(value, str) and text in value
