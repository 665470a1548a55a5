"""The append-only audit log of one site: `ledger.jsonl` (the form of a line: record.py).

An append locks the file, reads the last line, writes the whole new line at once, and calls fsync. A record is
durable when `append` returns. A line that a crash cut short stays as it is: the next append ends it with a
newline and writes a `torn` record with its offset, size and SHA-256. No line is ever rewritten.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

from airgap import __version__
from airgap.account import claimed_user, user_name
from airgap.audit.files import Tail, open_locked, read_tail
from airgap.audit.record import (
    BEGIN,
    CLAIM,
    END,
    HEAD,
    NOTE,
    PHASES,
    TORN,
    Outcome,
    Record,
    format_instant,
    parse_record,
)
from airgap.audit.redact import Json, redact_fields
from airgap.durable import LOCKS_HINT, NO_LOCKS
from airgap.errors import (
    AirgapError,
    DestinationError,
    FormatError,
    IntegrityError,
    LedgerError,
    MediaError,
    PartialError,
    PolicyError,
    RollbackError,
    TrustError,
)
from airgap.limits import MAX_RECORDED_ERROR_CHARACTERS
from airgap.oci.strict_json import dump

_EVENT = re.compile(r"[a-z]+(-[a-z]+)*", re.ASCII)
_OWN = (*HEAD, CLAIM)
_OUTCOME = ("begin", "result", "exit_code", "error")
_REFUSALS = (TrustError, RollbackError, DestinationError, PolicyError, IntegrityError, FormatError)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Attempt:
    """The content of the end record of an attempt that ends without an error."""

    def __init__(self, seq: int) -> None:
        self.seq = seq
        """The number of the begin record."""
        self.result = Outcome.OK
        self.exit_code = 0
        self.details: dict[str, Json] = {}

    def add(self, **details: object) -> None:
        """Add `details` to the end record, whatever the result; a later value replaces an earlier one.

        Raises `ValueError` as `Ledger.append` does.
        """
        self.details |= _checked(details, (*_OWN, *_OUTCOME))


class Ledger:
    """Appends to the ledger at `path`; safe from several threads and processes at the same time."""

    def __init__(
        self,
        path: Path,
        *,
        site: str,
        clock: Callable[[], datetime],
        about: Mapping[str, object] = {},
    ) -> None:
        """Use `clock`, which returns the time in the local zone; every record has the fields of `about`.

        The file is not opened yet. Raises `ValueError` for an `about` that `append` would refuse.
        """
        self.path = path
        self._clock = clock
        self._about = _checked(about, _OWN)
        self._origin: dict[str, Json] = {
            "boot_id": _boot_id(),
            "host": os.uname().nodename,
            "site": site,
            "tool": f"airgap {__version__}",
            "user": user_name(),
        }
        claim = claimed_user()
        self._claim: dict[str, Json] = {} if claim is None else {CLAIM: claim}

    def append(self, event: str, phase: str, **details: object) -> Record:
        """Write one record durably; `details` override `about`.

        Raises `LedgerError` when it cannot be written or could not be read back (larger than 4 MiB,
        keys that differ in case only), and `ValueError` for a programming error: a secret, a value
        that is not JSON, a detail named as a field of the head, an unknown phase.
        """
        if not _EVENT.fullmatch(event) or event == TORN or phase not in PHASES:
            raise ValueError(f"no such event and phase: {event!r}, {phase!r}")
        fields = self._about | _checked(details, _OWN)
        with self._opened() as descriptor:
            tail = read_tail(descriptor, self.path)
            if tail.torn is not None:
                self._write(descriptor, tail, TORN, NOTE, dict(asdict(tail.torn)))
                tail = read_tail(descriptor, self.path)
            return self._write(descriptor, tail, event, phase, fields)

    def check_writable(self) -> None:
        """Raise `LedgerError` as `append` would, if there is a ledger, without writing to it."""
        if os.path.lexists(self.path):
            with self._opened() as descriptor:
                read_tail(descriptor, self.path)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            with open_locked(self.path) as descriptor:
                yield descriptor
        except OSError as error:
            remedy = "check that the file and its folder exist, belong to you, are writable and not full"
            raise LedgerError(
                "cannot write the ledger",
                subject=self.path,
                got=error.strerror or error,
                hint="airgap does not work without a record in the ledger: "
                f"{LOCKS_HINT if error.errno in NO_LOCKS else remedy}",
            ) from error

    @contextmanager
    def attempt(self, event: str, **details: object) -> Iterator[Attempt]:
        """Write a begin record before the body runs, and an end record after it, however it ends.

        Results: `ok`, or what the body set; `refused` for an error about trust, rollback, destination,
        policy, integrity or format; `partial` for a `PartialError`; `failed` for another error;
        `aborted` for Ctrl-C. The exception is raised again. Raises `LedgerError` when a record cannot be
        written: before the body, or after it, with the body's own exception as its context.
        """
        attempt = Attempt(self.append(event, BEGIN, **details).seq)
        try:
            yield attempt
        except BaseException as error:
            self._end(event, attempt, _outcome(error))
            raise
        self._end(event, attempt, {"result": attempt.result, "exit_code": attempt.exit_code})

    def _end(self, event: str, attempt: Attempt, outcome: Mapping[str, object]) -> None:
        self.append(event, END, begin=attempt.seq, **outcome, **attempt.details)

    def _write(
        self, descriptor: int, tail: Tail, event: str, phase: str, details: Mapping[str, Json]
    ) -> Record:
        """Write one line after `tail`; if the last line lacks its newline, the same write adds it."""
        now = self._clock()
        head = {
            "seq": tail.seq + 1,
            "prev": tail.sha256,
            "time": format_instant(now),
            "utc_offset": _format_offset(now.utcoffset()),
        }
        line = dump({**head, **self._origin, "event": event, "phase": phase, **self._claim, **details})
        try:
            parse_record(line, event)
        except FormatError as error:
            raise LedgerError("the record cannot be written", subject=self.path, got=error) from error
        data = (b"" if tail.ended else b"\n") + line + b"\n"
        written = os.write(descriptor, data)
        os.fsync(descriptor)
        if written != len(data):
            raise LedgerError(
                "only a part of the record was written to the ledger", subject=self.path,
                want=f"{len(data):,} bytes", got=f"{written:,}",
                hint="free some space on its disk; the part stays, and will be reported as torn",
            )  # fmt: skip
        return Record(tail.seq + 1, hashlib.sha256(line).hexdigest(), line)


def _checked(details: Mapping[str, object], reserved: tuple[str, ...]) -> dict[str, Json]:
    for key in details:
        if key in reserved:
            raise ValueError(f"a detail cannot be named {key!r}")
    return redact_fields(details)


def _outcome(error: BaseException) -> dict[str, object]:
    if isinstance(error, KeyboardInterrupt):
        return {"result": Outcome.ABORTED, "exit_code": 130}
    if isinstance(error, OSError):
        error = MediaError.of(error)
    if not isinstance(error, AirgapError):
        # The text of a foreign exception may contain anything, even a secret.
        return {"result": Outcome.FAILED, "exit_code": 1, "error": "a defect", "defect": type(error).__name__}
    result = Outcome.FAILED
    if isinstance(error, _REFUSALS):
        result = Outcome.REFUSED
    elif isinstance(error, PartialError):
        result = Outcome.PARTIAL
    return {
        "result": result,
        "exit_code": error.exit_code,
        "error": str(error)[:MAX_RECORDED_ERROR_CHARACTERS],
    }


def _format_offset(offset: timedelta | None) -> str:
    minutes = int((offset or timedelta()).total_seconds()) // 60
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"


def _boot_id() -> str | None:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
