"""Checks the chain of a ledger from its first line to the last.

The chain reveals every changed, inserted, removed or swapped line except the last one. Lines missing at the
end, or a change of the last line, are only revealed by a checkpoint that another site keeps.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, NoReturn, TypedDict

from airgap.audit.forms import KnownForms, RecordHead, head_of
from airgap.audit.lines import Line, parse_line, read_lines
from airgap.audit.merkle import MerkleTree
from airgap.audit.record import BEGIN, END, NO_PREVIOUS, TORN, Record
from airgap.errors import LedgerError
from airgap.values import dataclass

SHELL_CHECK = r"""
n=1 prev=$(printf %064d 0); while IFS= read -r line || [ -n "$line" ]; do
case $line in "{\"seq\":$n,\"prev\":\"$prev\","*) ;; *) echo "line $n: torn, or the chain is broken" ;; esac
n=$((n + 1)) prev=$(printf %s "$line" | sha256sum | cut -c 1-64); done < ledger.jsonl
""".strip()
"""The same check of the chain with a POSIX shell and sha256sum; it prints nothing if the chain is intact.

After a break it continues from the line as it is, so each fault is reported once. A torn line is reported
unless its seq and prev were written in full."""


_BATCH_LINES, _BATCH_BYTES = 256, 64 << 10


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


def check_ledger(path: Path, at: Collection[int] = ()) -> LedgerState:
    """Check the number and `prev` of every line, and that each torn line has its `torn` record. The state has
    the Merkle roots `at` the given numbers of lines.

    Torn lines at the very end are not an error, because the next append writes their record; the state lists
    them. Raises `LedgerError`, which names the line, the expected value and the actual one.
    """
    check = _Check(path, at)
    for number, offset, raw, ended in read_lines(path):
        check.take(number, offset, raw, ended=ended)
    return check.state()


class _Check:
    def __init__(self, path: Path, at: Collection[int]) -> None:
        self._path = path
        self._file = str(path)
        self._forms = KnownForms()
        self._tree = MerkleTree()
        self._leaves: list[bytes] = []
        """The last lines, which are not in the tree yet: many are added faster than one at a time."""
        self._at = at
        self._roots = {0: self._tree.root()} if 0 in at else {}
        self._last: tuple[int, bytes] = 0, b""
        """The offset and the bytes of the last line."""
        self._head = NO_PREVIOUS
        self._unreadable: list[Line] = []
        self._open: dict[int, Record] = {}
        self._torn: list[int] = []
        self._backwards: list[int] = []
        self._site = ""
        self._first_time = ""
        self._last_time = ""
        self._is_cut = False
        """Whether the last line is a record without its newline."""

    def take(self, number: int, offset: int, raw: bytes, *, ended: bool) -> None:
        known = None if self._unreadable else self._forms.recognise(raw)
        head = hashlib.sha256(raw).hexdigest()
        if known is None or (known.seq, known.prev) != (number, self._head):
            self._take_parsed(parse_line(self._file, number, offset, raw, ended))
        else:
            self._follow(known, raw, head)
        self._leaves.append(raw)
        if number in self._at or len(self._leaves) >= _BATCH_LINES or len(raw) >= _BATCH_BYTES:
            self._grow(number)
        self._last, self._head = (offset, raw), head
        self._is_cut = not ended and not self._unreadable

    def _grow(self, number: int) -> None:
        self._tree.extend(self._leaves)
        self._leaves.clear()
        if number in self._at:
            self._roots[number] = self._tree.root()

    def state(self) -> LedgerState:
        self._tree.extend(self._leaves)
        if self._is_cut:
            self._torn.append(self._tree.size)
        return LedgerState(
            site=self._site, size=self._tree.size, head=self._head, root=self._tree.root(),
            open=tuple(self._open.values()), torn=tuple(self._torn), backwards=tuple(self._backwards),
            first_time=self._first_time or None, last_time=self._last_time or None, roots=self._roots,
        )  # fmt: skip

    def _take_parsed(self, line: Line) -> None:
        if line.fields is None:
            self._unreadable.append(line)
            self._torn.append(line.number)
            return
        self._check_record(line, line.fields)
        self._unreadable.clear()
        self._follow(head_of(line.fields), line.raw, line.sha256)
        self._forms.learn(line.raw, line.fields)

    def _check_record(self, line: Line, fields: dict[str, Any]) -> None:
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

    def _check_torn(self, line: Line, fields: dict[str, Any]) -> None:
        """Check that the record describes the unreadable lines, or the line that lacked its newline."""
        run = [(torn.offset, torn.raw) for torn in self._unreadable] or [self._last]
        data = b"\n".join(raw for _, raw in run)
        want = (run[0][0], len(data), hashlib.sha256(data).hexdigest())
        got = (fields.get("offset"), fields.get("size"), fields.get("sha256"))
        if want != got:
            self._refuse("torn record of other bytes", line, want=want, got=got)
        if not self._unreadable:
            self._torn.append(line.number - 1)

    def _follow(self, head: RecordHead, raw: bytes, sha256: str) -> None:
        """Collect the times, the site, and the attempts without an end."""
        if head.time < self._last_time:
            self._backwards.append(head.seq)
        self._first_time = self._first_time or head.time
        self._last_time = head.time
        self._site = head.site
        if head.phase == BEGIN:
            self._open[head.seq] = Record(head.seq, sha256, raw)
        elif head.phase == END and head.begin is not None:
            self._open.pop(head.begin, None)

    def _refuse(self, what: str, line: Line, *, want: object, got: object) -> NoReturn:
        raise LedgerError(
            what, subject=f"{self._path} line {line.number}", want=want, got=got,
            hint="leave the file unchanged, and compare it with the checkpoints that the other side holds",
        )  # fmt: skip
