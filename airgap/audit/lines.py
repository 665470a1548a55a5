"""Reads the lines of a ledger, whether or not they are records."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airgap.audit.files import open_snapshot
from airgap.audit.forms import KnownForms
from airgap.audit.record import parse_record
from airgap.errors import FormatError, LedgerError
from airgap.limits import MAX_LEDGER_LINE_BYTES
from airgap.values import dataclass

_BLOCK_BYTES = 256 << 10
_SHORTER = "the ledger became shorter while it was read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the file. If it is not a record, `fields` is None and `problem` is the reason."""

    number: int
    offset: int
    """The position of its first byte."""
    raw: bytes
    """Without the newline."""
    ended: bool
    """Whether a newline follows; only the last line can lack it."""
    fields: dict[str, Any] | None
    problem: str = ""

    @property
    def sha256(self) -> str:
        """The SHA-256 of the raw bytes in hex."""
        return hashlib.sha256(self.raw).hexdigest()


def read_ledger(path: Path, number: int = 0, offset: int = 0) -> Iterator[Line]:
    """Yield the lines that the ledger had at one moment, also unreadable ones, after line `number`, which
    ends before byte `offset`. The chain is not checked.

    Only a block of lines is in memory at a time. Raises `LedgerError` if the file cannot be read or a line is
    longer than 4 MiB.
    """
    file, forms = str(path), KnownForms()  # making the text for each line takes as long as reading the line
    for place in read_lines(path, number, offset):
        known = forms.recognise(place[2]) is not None
        line = parse_line(file, *place, known=known)
        if line.fields is not None and not known:
            forms.learn(line.raw, line.fields)
        yield line


def read_lines(path: Path, number: int = 0, offset: int = 0) -> Iterator[tuple[int, int, bytes, bool]]:
    """Yield the same lines as the first four fields of a `Line`. Raises as `read_ledger` does, but not for a
    long line.
    """
    for block in read_blocks(path, offset):
        yield from split_lines(block, number + 1, offset)
        number += block.count(b"\n")
        offset += len(block)


def read_backwards(path: Path) -> Iterator[bytes]:
    """Yield the lines from the last one to the first, without newlines. Raises as `read_ledger` does."""
    with _reading(path), open_snapshot(path) as (descriptor, size):
        end, rest = size, b""
        while end:
            start = max(0, end - _BLOCK_BYTES)
            rest, *lines = (os.pread(descriptor, end - start, start) + rest).split(b"\n")
            if len(rest) > MAX_LEDGER_LINE_BYTES:
                want = f"at most {MAX_LEDGER_LINE_BYTES:,} bytes"
                raise LedgerError("line too long", subject=path, want=want, got="more")
            yield from reversed(lines)
            end = start
        yield rest


def split_lines(block: bytes, number: int, offset: int) -> Iterator[tuple[int, int, bytes, bool]]:
    """Yield the same of the lines in a block, whose first line has this number and begins at this offset."""
    *lines, rest = block.split(b"\n")
    for raw in lines:
        yield number, offset, raw, True
        number += 1
        offset += len(raw) + 1
    if rest:
        yield number, offset, rest, False


def read_blocks(path: Path, offset: int = 0) -> Iterator[bytes]:
    """Yield the bytes from `offset` on in blocks of whole lines. Raises as `read_ledger` does."""
    with (
        _reading(path),
        open_snapshot(path) as (descriptor, size),
        os.fdopen(descriptor, "rb", closefd=False) as stream,
    ):
        stream.seek(offset)
        left = size - offset
        while left > 0:
            block = stream.read(min(_BLOCK_BYTES, left))
            if not block:
                raise LedgerError(_SHORTER, subject=path)
            if not block.endswith(b"\n"):
                block += stream.readline(min(MAX_LEDGER_LINE_BYTES + 1, left - len(block)))
            yield block
            left -= len(block)


def read_span(path: Path, start: int, end: int) -> bytes:
    """Return the bytes of a ledger from `start` up to `end`. Raises as `read_ledger` does."""
    with _reading(path), open_snapshot(path) as (descriptor, _):
        return os.pread(descriptor, end - start, start)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = (
            "the first record creates the ledger: run `airgap init`" if error.errno == errno.ENOENT else None
        )
        raise LedgerError(
            "cannot read the ledger", subject=path, got=error.strerror or error, hint=hint
        ) from error


def parse_line(file: str, number: int, offset: int, raw: bytes, ended: bool, *, known: bool = False) -> Line:
    """Return a line, from its bytes. Raises `LedgerError` if it is longer than 4 MiB.

    Args:
        file: The name of the ledger, for errors.
        number: The number of the line, from 1.
        offset: The byte at which it begins.
        raw: The bytes of the line, without its newline.
        ended: Whether it has one.
        known: The line has a known form, so it is a record.
    """
    if known:
        return Line(number=number, offset=offset, raw=raw, ended=ended, fields=json.loads(raw))
    where = f"{file} line {number}"
    if len(raw) > MAX_LEDGER_LINE_BYTES:
        raise LedgerError(
            "line too long", subject=where, want=f"at most {MAX_LEDGER_LINE_BYTES:,} bytes", got="more"
        )
    try:
        return Line(number=number, offset=offset, raw=raw, ended=ended, fields=parse_record(raw, where))
    except FormatError as error:
        return Line(number=number, offset=offset, raw=raw, ended=ended, fields=None, problem=str(error))
