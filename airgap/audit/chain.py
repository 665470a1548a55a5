"""Reads a ledger, and checks its chain from the first line to the last.

The chain reveals every changed, inserted, removed or swapped line except the last one. Lines missing at the
end, or a change of the last line, are only revealed by a checkpoint that another site keeps.
"""

import errno
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import Any, NoReturn, TypedDict

from airgap.audit.files import open_snapshot
from airgap.audit.merkle import MerkleTree
from airgap.audit.record import BEGIN, END, NO_PREVIOUS, TORN, Record, parse_record
from airgap.errors import FormatError, LedgerError
from airgap.limits import MAX_LEDGER_LINE_BYTES
from airgap.values import dataclass

SHELL_CHECK = r"""
n=1 prev=$(printf %064d 0); while IFS= read -r line || [ -n "$line" ]; do
case $line in "{\"seq\":$n,\"prev\":\"$prev\","*) ;; *) echo "line $n: torn, or the chain is broken" ;; esac
n=$((n + 1)) prev=$(printf %s "$line" | sha256sum | cut -c 1-64); done < ledger.jsonl
""".strip()
"""The same check of the chain with a POSIX shell and sha256sum; it prints nothing if the chain is intact.

After a break it continues from the line as it is, so each fault is reported once. A torn line is reported
unless its seq and prev were written in full."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """The result of checking a ledger whose chain is intact."""

    site: str
    """The site in the last record; empty if there is none."""
    size: int
    """The number of lines, including torn ones: the leaves of the tree."""
    head: str
    """The hex SHA-256 of the last line; 64 zeros if there is none."""
    root: str
    """The hex Merkle root (RFC 6962) over the raw lines."""
    open: tuple[Record, ...]
    """Begin records without an end."""
    torn: tuple[int, ...]
    """The numbers of the lines that a crash cut short, or that lacked their newline."""
    backwards: tuple[int, ...]
    """The numbers of the lines that are older than the line before, because the clock was set back."""
    first_time: str | None
    last_time: str | None
    roots: Mapping[int, str] = field(default_factory=dict, hash=False)
    """The Merkle roots of the first n lines, for each requested n that the ledger has."""


class LedgerCheckpoint(TypedDict):
    """A ledger's state in three values, which the other side keeps."""

    origin: str
    size: int
    root: str


def checkpoint(state: LedgerState) -> LedgerCheckpoint:
    """Return the checkpoint of `state`; it is not signed."""
    return {"origin": state.site, "size": state.size, "root": state.root}


def read_ledger(path: Path, number: int = 0, offset: int = 0) -> Iterator[Line]:
    """Yield the lines that the ledger had at one moment, also unreadable ones, after line `number`, which
    ends before byte `offset`. The chain is not checked.

    Only one line is in memory at a time. Raises `LedgerError` if the file cannot be read or a line is longer
    than 4 MiB.
    """
    file = str(path)  # making it for each line takes as long as reading the line
    with (
        _reading(path),
        open_snapshot(path) as (descriptor, size),
        os.fdopen(descriptor, "rb", closefd=False) as stream,
    ):
        stream.seek(offset)
        while offset < size:
            raw = stream.readline(min(MAX_LEDGER_LINE_BYTES + 1, size - offset))
            number += 1
            if not raw:
                raise LedgerError(_SHORTER, subject=path)
            yield parse_line(file, number, offset, raw)
            offset += len(raw)


def read_blocks(path: Path) -> Iterator[bytes]:
    """Yield the same bytes in blocks of whole lines. Raises as `read_ledger` does."""
    with (
        _reading(path),
        open_snapshot(path) as (descriptor, size),
        os.fdopen(descriptor, "rb", closefd=False) as stream,
    ):
        left = size
        while left:
            block = stream.read(min(_BLOCK_BYTES, left))
            if not block:
                raise LedgerError(_SHORTER, subject=path)
            block += stream.readline(min(MAX_LEDGER_LINE_BYTES + 1, left - len(block)))
            yield block
            left -= len(block)


def read_line(path: Path, number: int, offset: int, end: int) -> Line:
    """Return one line. Raises as `read_ledger` does.

    Args:
        path: The ledger.
        number: The number of the line, from 1.
        offset: The byte at which it begins.
        end: The byte after its newline.
    """
    with _reading(path), open_snapshot(path) as (descriptor, _):
        return parse_line(str(path), number, offset, os.pread(descriptor, end - offset, offset))


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


def parse_line(file: str, number: int, offset: int, data: bytes) -> Line:
    """Return a line, from its bytes. Raises `LedgerError` if it is longer than 4 MiB.

    Args:
        file: The name of the ledger, for errors.
        number: The number of the line, from 1.
        offset: The byte at which it begins.
        data: The bytes of the line, with the newline if it has one.
    """
    where = f"{file} line {number}"
    raw = data.removesuffix(b"\n")
    if len(raw) > MAX_LEDGER_LINE_BYTES:
        raise LedgerError(
            "line too long", subject=where, want=f"at most {MAX_LEDGER_LINE_BYTES:,} bytes", got="more"
        )
    ended = len(raw) < len(data)
    try:
        return Line(number=number, offset=offset, raw=raw, ended=ended, fields=parse_record(raw, where))
    except FormatError as error:
        return Line(number=number, offset=offset, raw=raw, ended=ended, fields=None, problem=str(error))


def check_ledger(path: Path, at: Collection[int] = ()) -> LedgerState:
    """Check the number and `prev` of every line, and that each torn line has its `torn` record. The state has
    the Merkle roots `at` the given numbers of lines.

    Torn lines at the very end are not an error, because the next append writes their record; the state lists
    them. Raises `LedgerError`, which names the line, the expected value and the actual one.
    """
    check = _Check(path, at)
    for line in read_ledger(path):
        check.take(line)
    return check.state()


class _Check:
    def __init__(self, path: Path, at: Collection[int]) -> None:
        self._path = path
        self._tree = MerkleTree()
        self._at = at
        self._roots = {0: self._tree.root()} if 0 in at else {}
        self._last: Line | None = None
        self._head = NO_PREVIOUS
        self._unreadable: list[Line] = []
        self._open: dict[int, Record] = {}
        self._torn: list[int] = []
        self._backwards: list[int] = []
        self._site = ""
        self._first_time: str | None = None
        self._last_time: str | None = None

    def take(self, line: Line) -> None:
        if line.fields is None:
            self._unreadable.append(line)
            self._torn.append(line.number)
        else:
            self._take_record(line, line.fields)
            self._unreadable.clear()
        self._tree.add(line.raw)
        if self._tree.size in self._at:
            self._roots[self._tree.size] = self._tree.root()
        self._last = line
        self._head = line.sha256

    def state(self) -> LedgerState:
        if self._last is not None and self._last.fields is not None and not self._last.ended:
            self._torn.append(self._last.number)
        return LedgerState(
            site=self._site, size=self._tree.size, head=self._head, root=self._tree.root(),
            open=tuple(self._open.values()), torn=tuple(self._torn), backwards=tuple(self._backwards),
            first_time=self._first_time, last_time=self._last_time, roots=self._roots,
        )  # fmt: skip

    def _take_record(self, line: Line, fields: dict[str, Any]) -> None:
        if self._unreadable and fields["event"] != TORN:
            first = self._unreadable[0]
            self._refuse("not a record", first, want="a record, or a torn record after it", got=first.problem)
        if fields["seq"] != line.number:
            what = "gap in seq" if fields["seq"] > line.number else "repeated seq"
            self._refuse(what, line, want=line.number, got=fields["seq"])
        if fields["prev"] != self._head:
            self._refuse("broken chain", line, want=f"prev {self._head}", got=fields["prev"])
        if fields["event"] == TORN:
            self._check_torn(line, fields)
        self._follow(line, fields)

    def _check_torn(self, line: Line, fields: dict[str, Any]) -> None:
        """Check that the record describes the unreadable lines, or the line that lacked its newline."""
        run = self._unreadable or ([self._last] if self._last is not None else [])
        data = b"\n".join(torn.raw for torn in run)
        offset = run[0].offset if run else 0
        want = (offset, len(data), hashlib.sha256(data).hexdigest())
        got = (fields.get("offset"), fields.get("size"), fields.get("sha256"))
        if want != got:
            self._refuse("torn record of other bytes", line, want=want, got=got)
        if not self._unreadable:
            self._torn.append(line.number - 1)

    def _follow(self, line: Line, fields: dict[str, Any]) -> None:
        """Collect the times, the site, and the attempts without an end."""
        if self._last_time is not None and fields["time"] < self._last_time:
            self._backwards.append(line.number)
        self._first_time = self._first_time or fields["time"]
        self._last_time = fields["time"]
        self._site = fields["site"]
        if fields["phase"] == BEGIN:
            self._open[line.number] = Record(line.number, line.sha256, line.raw)
        elif fields["phase"] == END and type(fields.get("begin")) is int:
            self._open.pop(fields["begin"], None)

    def _refuse(self, what: str, line: Line, *, want: object, got: object) -> NoReturn:
        raise LedgerError(
            what, subject=f"{self._path} line {line.number}", want=want, got=got,
            hint="leave the file unchanged, and compare it with the checkpoints that the other side holds",
        )  # fmt: skip
