"""One line of the ledger: its form, and its parser.

A record is one canonical JSON object (`airgap.oci.strict_json.dump`) of at most 4 MiB, in this order:

    seq         the number of the line in the file, from 1
    prev        hex SHA-256 of the line before, without its newline; 64 zeros in the first line
    time        UTC, RFC 3339 with milliseconds: 2026-01-31T12:00:00.000Z
    utc_offset  of the local clock: +02:00
    boot_id     the kernel's random name of this boot, or null
    host, site, tool
    user        the kernel's user of the process by name, or `uid 1234` where it has none
    event       lock, pack, sign, verify, load, …; `torn` is the ledger's own
    phase       begin | end | note
    claimed_user  absent, or the person who became `user` by su, sudo, doas or pkexec, as the login session or
                the environment says: a claim, since root and the environment's owner can change it
    …           the details of the event

An `end` names its `begin` by seq, and holds `result`, `exit_code` and, after a failure, `error`. Details
that reports understand: `bundle` {stream, serial, statement_sha256} and `images` [{reference, digest}].
"""

import re
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from operator import itemgetter
from typing import Any

from airgap.errors import FormatError
from airgap.limits import MAX_LEDGER_LINE_BYTES
from airgap.oci.strict_json import Fields, parse_object
from airgap.values import dataclass

NO_PREVIOUS = "0" * 64
"""`prev` of the first line."""

TORN = "torn"
"""The event that records that a crash left an incomplete line before this one."""

BEGIN, END, NOTE = "begin", "end", "note"
PHASES = (BEGIN, END, NOTE)
MEDIUM = "medium"
"""The event of the notes that a medium is lost, or was found."""

HEAD = ("seq", "prev", "time", "utc_offset", "boot_id", "host", "site", "tool", "user", "event", "phase")
"""The fields of every record; details cannot have these names."""

CLAIM = "claimed_user"
"""The optional field after them."""

EVENTS = (
    "pack", "sign", "kit", "send", "media-write", "media-verify", "receive", "verify", "load", "receipt",
    "kit-verify", "serve", "trust-change", "backup", "restore", "medium", "alarm", "override",
    TORN,
)  # fmt: skip
"""The events that commands record, for filters. `media-write` is the event of repack and repair."""


class Outcome(StrEnum):
    """The result of an attempt in its end record, and of a load in its receipt."""

    OK = "ok"
    PARTIAL = "partial"
    """Some images or hosts failed."""
    FAILED = "failed"
    REFUSED = "refused"
    """A rule or a signature forbade it."""
    ABORTED = "aborted"
    """A person interrupted it."""
    ALARM = "alarm"
    """It is complete, and what it found needs attention."""


_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_INSTANT = re.compile(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z", re.ASCII
)
_head_of = itemgetter(*HEAD)
_HEAD_TYPES = (int, *[str] * (len(HEAD) - 1))
"""Where `boot_id` is not null."""


@dataclass(frozen=True, slots=True)
class Record:
    """A line of the ledger without its newline, and its SHA-256 in hex."""

    seq: int
    sha256: str
    line: bytes


def parse_record(raw: bytes, where: str) -> dict[str, Any]:
    """Return the fields of one line, which is given without its newline; raises `FormatError`.

    The types of the head's fields are checked, not the chain.
    """
    value = parse_object(raw, where, max_bytes=MAX_LEDGER_LINE_BYTES, floats=False)
    if not _has_usual_head(value):
        _check_head(value, where)
    return value


def _has_usual_head(value: dict[str, Any]) -> bool:
    """Return whether the head's fields are as this version writes them; if not, `_check_head` decides."""
    try:
        head = _head_of(value)
    except KeyError:
        return False
    seq, prev, time, *_, phase = head
    return (
        tuple(map(type, head)) == _HEAD_TYPES
        and CLAIM not in value
        and seq >= 1
        and phase in PHASES
        and _SHA256.fullmatch(prev) is not None
        and _is_instant(time)
    )


def _check_head(value: dict[str, Any], where: str) -> None:
    fields = Fields(value, where)
    if fields.integer("seq") < 1:
        raise FormatError("wrong value", subject=f"{where}: seq", want="at least 1", got=0)
    check_sha256(fields.text("prev"), f"{where}: prev")
    parse_instant(fields.text("time"), f"{where}: time")
    fields.optional_text("boot_id")
    fields.optional_text(CLAIM)
    for key in ("utc_offset", "host", "site", "tool", "user", "event"):
        fields.text(key)
    if fields.text("phase") not in PHASES:
        raise FormatError(
            "wrong value", subject=f"{where}: phase", want=" or ".join(PHASES), got=repr(fields.text("phase"))
        )


def format_instant(moment: datetime) -> str:
    """Return `moment` in UTC, truncated to milliseconds. Raises `ValueError` without a time zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_instant(text: str, where: str) -> datetime:
    """Return the inverse of `format_instant`; raises `FormatError` for every other spelling."""
    if _INSTANT.fullmatch(text):
        with suppress(ValueError):  # no such day
            return datetime.fromisoformat(text)
    raise FormatError("not a time", subject=where, want="like 2026-01-31T12:00:00.000Z", got=repr(text))


def _is_instant(text: str) -> bool:
    try:
        parse_instant(text, "")
    except FormatError:
        return False
    return True


def check_sha256(text: str, where: str) -> str:
    """Return `text` if it is a SHA-256 in lower-case hex; else raise `FormatError`."""
    if not _SHA256.fullmatch(text):
        raise FormatError("not a SHA-256", subject=where, want="64 lower-case hex digits", got=repr(text))
    return text
