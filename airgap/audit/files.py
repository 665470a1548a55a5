"""Opens and locks the ledger's file, and reads its end without reading all of it."""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airgap.audit.record import NO_PREVIOUS, parse_record
from airgap.durable import sync_folder
from airgap.errors import FormatError, LedgerError
from airgap.limits import MAX_LEDGER_LINE_BYTES, MAX_UNREADABLE_LINES
from airgap.owned import refuse_shared
from airgap.values import dataclass

_FIRST_WINDOW = 64 << 10
_LAST_WINDOW = 2 * MAX_LEDGER_LINE_BYTES + 2


@dataclass(frozen=True, slots=True)
class TornBytes:
    """The bytes that a crash left at the end; the SHA-256 does not include a final newline."""

    offset: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Tail:
    """The number and SHA-256 of the last line, the torn bytes, and whether the file ends with a newline."""

    seq: int
    sha256: str
    torn: TornBytes | None
    ended: bool


@contextmanager
def open_locked(path: Path) -> Iterator[int]:
    """Open the file for reading and appending under an exclusive lock; a missing file is created.

    Raises `OSError`, and `LedgerError` as `refuse_shared` does. The parent directory must exist.
    """
    descriptor = os.open(
        path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600
    )
    try:
        _check_regular(descriptor, path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_size == 0:
            sync_folder(path.parent)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_snapshot(path: Path) -> Iterator[tuple[int, int]]:
    """Open the file for reading, and yield its size in bytes at a moment when no process was writing.

    The bytes before that size never change, so the lock is released before they are read, and the reader may
    append. Raises as `open_locked` does.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _check_regular(descriptor, path)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        size = os.fstat(descriptor).st_size
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        yield descriptor, size
    finally:
        os.close(descriptor)


def read_tail(descriptor: int, path: Path) -> Tail:
    """Return the end of the ledger; reads at most two lines (8 MiB). The chain is not checked.

    Raises `LedgerError` if a file that is not empty has no record near its end.
    """
    size = os.fstat(descriptor).st_size
    window = _FIRST_WINDOW
    while True:
        start = max(0, size - window)
        tail = _find_tail(_read(descriptor, start, size), start)
        if tail is not None:
            return tail
        if start == 0 or window == _LAST_WINDOW:
            raise LedgerError(
                "no record at the end of the ledger",
                subject=path,
                hint="keep this file as evidence, move it away, and find out who wrote to it",
            )
        window = min(window * 8, _LAST_WINDOW)


def _find_tail(data: bytes, start: int) -> Tail | None:
    """Return the tail, if `data` contains the last record or the start of the file.

    If `data` starts within a line, its first piece is not a record, because a part of a record never is one.
    """
    ended = not data or data.endswith(b"\n")
    body = data.removesuffix(b"\n")
    lines = body.split(b"\n") if data else []
    last = hashlib.sha256(lines[-1]).hexdigest() if lines else NO_PREVIOUS
    cut = len(body)
    for unreadable, raw in enumerate(reversed(lines[-MAX_UNREADABLE_LINES - 1 :])):
        seq = _seq(raw)
        if seq is not None:
            run_start = cut + 1 if unreadable else cut - len(raw)
            torn = None if ended and not unreadable else _torn(body, run_start, start)
            return Tail(seq + unreadable, last, torn, ended)
        cut -= len(raw) + 1
    if start > 0 or len(lines) > MAX_UNREADABLE_LINES:
        return None
    return Tail(len(lines), last, _torn(body, 0, 0) if lines else None, ended)


def _torn(body: bytes, run_start: int, start: int) -> TornBytes:
    run = body[run_start:]
    return TornBytes(start + run_start, len(run), hashlib.sha256(run).hexdigest())


def _seq(raw: bytes) -> int | None:
    try:
        return int(parse_record(raw, "last line")["seq"])
    except FormatError:
        return None


def _read(descriptor: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(descriptor, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _check_regular(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise LedgerError("the ledger is not a regular file", subject=path)
    refuse_shared(os.fstat(descriptor), path, LedgerError)
