"""Reads a ledger, and checks its chain from the first line to the last.

The chain shows an edit, insertion, removal or exchange of any line but the last ones; that lines are
missing at the end, or that the last one was edited, only shows in a checkpoint that somebody else keeps.
"""

import errno
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypedDict

from airgap.audit.files import open_snapshot
from airgap.audit.merkle import MerkleTree
from airgap.audit.record import BEGIN, END, MAX_LINE, NO_PREVIOUS, TORN, Record, parse_record
from airgap.errors import FormatError, LedgerError

SHELL_CHECK = r"""
n=1 prev=$(printf %064d 0); while IFS= read -r line || [ -n "$line" ]; do
case $line in "{\"seq\":$n,\"prev\":\"$prev\","*) ;; *) echo "line $n: torn, or the chain is broken" ;; esac
n=$((n + 1)) prev=$(printf %s "$line" | sha256sum | cut -c 1-64); done < ledger.jsonl
""".strip()
"""The same check of the chain with a POSIX shell and sha256sum; it prints nothing when the chain holds.

After a break it goes on from the line as it stands, so each fault is named once. A torn line is
reported unless the whole of its seq and prev were written."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file. `fields` is None where it is no record, and `problem` says why."""

    number: int
    offset: int
    """In bytes, of its first byte."""
    raw: bytes
    """Without the newline."""
    ended: bool
    """Whether a newline follows; only the last line can lack it."""
    fields: dict[str, Any] | None
    problem: str = ""

    @property
    def sha256(self) -> str:
        """Of the raw bytes, in hex."""
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What a check found in a ledger whose chain holds."""

    site: str
    """Of the last record; empty when there is none."""
    size: int
    """Lines, torn ones too: the leaves of the tree."""
    head: str
    """Hex SHA-256 of the last line; 64 zeros when there is none."""
    root: str
    """Hex Merkle root (RFC 6962) over the raw lines."""
    open: tuple[Record, ...]
    """Begin records without an end."""
    torn: tuple[int, ...]
    """Numbers of the lines that a crash cut short, or that lacked their newline."""
    backwards: tuple[int, ...]
    """Numbers of the lines that are older than the line before them: the clock was set back."""
    first_time: str | None
    last_time: str | None
    roots: Mapping[int, str] = field(default_factory=dict, hash=False)
    """The Merkle roots of its first lines, for those numbers of lines that were asked for and are there."""


class Checkpoint(TypedDict):
    """A ledger's state in three values, for the other side to keep."""

    origin: str
    size: int
    root: str


def checkpoint(state: LedgerState) -> Checkpoint:
    """The checkpoint of `state`; it is not signed."""
    return {"origin": state.site, "size": state.size, "root": state.root}


def read_ledger(path: Path, number: int = 0, offset: int = 0) -> Iterator[Line]:
    """The lines that the ledger had at one moment, unreadable ones too, after the line `number`, which ends
    before byte `offset`; the chain is not checked.

    Holds one line in memory at a time. Raises `LedgerError` when the file cannot be read or a line
    is longer than 4 MiB.
    """
    try:
        with open_snapshot(path) as (descriptor, size), os.fdopen(descriptor, "rb", closefd=False) as stream:
            stream.seek(offset)
            while offset < size:
                raw = stream.readline(min(MAX_LINE + 1, size - offset))
                number += 1
                if not raw:
                    raise LedgerError("the ledger became shorter while it was read", subject=path)
                yield _line(path, number, offset, raw)
                offset += len(raw)
    except OSError as error:
        hint = "a site's first record makes its ledger: airgap init" if error.errno == errno.ENOENT else None
        raise LedgerError(
            "cannot read the ledger", subject=path, got=error.strerror or error, hint=hint
        ) from error


def _line(path: Path, number: int, offset: int, data: bytes) -> Line:
    where = f"{path} line {number}"
    raw = data.removesuffix(b"\n")
    if len(raw) > MAX_LINE:
        raise LedgerError("line too long", subject=where, want=f"at most {MAX_LINE:,} bytes", got="more")
    ended = len(raw) < len(data)
    try:
        return Line(number, offset, raw, ended, parse_record(raw, where))
    except FormatError as error:
        return Line(number, offset, raw, ended, None, str(error))


def check_ledger(path: Path, at: Collection[int] = ()) -> LedgerState:
    """Check every line's number and `prev`, and that each torn line has its `torn` record; keep the roots
    `at` these numbers of lines.

    Torn lines at the very end, whose record the next append will write, are in the state and no error.
    Raises `LedgerError` naming the line, what was wanted and what was got.
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
            self._site, self._tree.size, self._head, self._tree.root(),
            tuple(self._open.values()), tuple(self._torn), tuple(self._backwards),
            self._first_time, self._last_time, self._roots,
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
        """The bytes that the record names are the unreadable lines, or the line that lacked its newline."""
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
        """Keep what the state tells: the times, the site, and what is begun and not ended."""
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
            hint="keep the file as it is; compare it with the checkpoints that the other side holds",
        )  # fmt: skip
