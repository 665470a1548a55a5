"""Finds the entries of a ledger that may be about a text, and parses only their lines.

There is no index: a search of the raw bytes takes less than a second for a million records, cannot be out of
date, and cannot hide anything. It finds too much rather than too little: the caller compares the entries.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from airgap.audit.lines import Line, parse_line, read_blocks, read_lines, read_span, split_lines
from airgap.audit.record import BEGIN, END
from airgap.audit.report import LedgerEntry, entries, join_lines

_WORD = re.compile(r"[A-Za-z0-9]+", re.ASCII)
_STATEMENT = re.compile(rb'"statement_sha256"\s*+:\s*+"([0-9a-f]{64})"')
_BEGIN = re.compile(rb'"begin"\s*+:\s*+([0-9]{1,16})')
_SENDER = re.compile(r"[a-z0-9-]*/[^/]*|[0-9]*")
"""What may be in a title, and in a record only as words: a sender before a slash, or a part of a serial."""


def entries_with(path: Path, text: str, statements: Collection[str] = ()) -> list[LedgerEntry]:
    """Return all entries that can have `text` in any case in a value, in a bundle's title or in a number, and
    those about the bundles with these `statements`; in the order of the file.

    Other entries may be among them. Unreadable lines that do not have the text are not. The chain is not
    checked. Memory is needed for the entries.

    Args:
        path: The ledger.
        text: The text.
        statements: The SHA-256 of statements, in hex.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    may_match = matcher(text, statements)
    if may_match is None:
        return entries(path)
    lines = _matching_lines(path, may_match)
    return sorted(join_lines(lines), key=lambda entry: entry.seq)


def entries_of(path: Path, *events: str) -> list[LedgerEntry]:
    """Return all entries of some events, in the order of the file; unreadable lines are not among them. The
    chain is not checked. Raises `LedgerError` if the ledger cannot be read.
    """
    names = [f'"{event}"'.encode() for event in events]

    def may_match(data: bytes) -> bool:
        return any(name in data for name in names) or b"\\" in data

    found = (entry for entry in join_lines(_matching_lines(path, may_match)) if entry.event in events)
    return sorted(found, key=lambda entry: entry.seq)


def entries_on(path: Path, lines: Mapping[int, int]) -> list[LedgerEntry]:
    """Return the entries of some lines, given as their numbers and offsets. Raises as `entries_of` does."""
    first = (next(read_lines(path, number - 1, offset)) for number, offset in sorted(lines.items()))
    return list(join_lines(parse_line(str(path), *line) for line in first))


def entry_at(path: Path, seq: int) -> LedgerEntry | None:
    """Return the entry of this number, as `entries` does; None if there is none.

    Raises as `entries_of` does.
    """
    wanted = {seq, _begin_at(path, seq)}

    def lines() -> Iterator[Line]:
        for number, offset, raw, ended in read_lines(path):
            if number in wanted or _has_end(raw, wanted) or b"\\" in raw:
                yield parse_line(str(path), number, offset, raw, ended)

    return next((entry for entry in join_lines(lines()) if entry.seq == seq), None)


def _begin_at(path: Path, seq: int) -> int:
    """Return the number of the begin record that the record of this number ends; 0 if there is none."""
    for number, offset, raw, ended in read_lines(path):
        if number == seq:
            return _begin_of(parse_line(str(path), number, offset, raw, ended))
    return 0


def words_of(text: str) -> tuple[bytes, ...]:
    """Return parts of `text`, in lower case, that are all in the bytes of each record that has `text`, unless
    the record has escapes or is not ASCII; empty if there are none.

    A record has the stream and the serial of a bundle, and the title joins them: `edge-0007`. So words are
    what is between other characters, and those of digits count without leading zeros. The sender, which the
    title has before a slash, may be in the other record of an attempt.
    """
    if not text.isascii():
        return ()
    parts = (tuple(_words_of_part(part)) for part in text.lower().split("/"))
    return max(parts, key=lambda words: sum(map(len, words)))


def _words_of_part(text: str) -> Iterator[bytes]:
    for word in _WORD.findall(text):
        if shown := word.lstrip("0") if word.isdigit() else word:
            yield shown.encode()


def matcher(
    text: str, statements: Collection[str] = (), *, apart: bool = False
) -> Callable[[bytes], bool] | None:
    """Return a function that returns whether records may have `text` in any case, or name one of the
    `statements`; None if that cannot be seen in their bytes.

    Args:
        text: The text.
        statements: The SHA-256 of statements, in hex.
        apart: The words of the text may be apart, as those of a digest in `blobs/sha256/1cc8ad5c`.
    """
    if not words_of(text):
        return None
    may_have, named = _finder(text.lower(), apart=apart), {sha256.encode() for sha256 in statements}

    def may_match(data: bytes) -> bool:
        return (
            may_have(data.lower())
            or b"\\" in data
            or not data.isascii()
            or any(sha256 in named for sha256 in (_STATEMENT.findall(data) if named else ()))
        )

    return may_match


def _finder(text: str, *, apart: bool) -> Callable[[bytes], bool]:
    """Return a function that looks for `text` in bytes; both are in lower case."""
    whole, words = text.encode(), sorted(words_of(text), key=len, reverse=True)
    if title := re.fullmatch(r"(?P<stream>.*)-0*(?P<serial>(?:[1-9][0-9]*)?)", text, re.DOTALL):
        parts = words_of(title["stream"])
        serial = re.compile(rb'"serial"\s*+:\s*+-?' + title["serial"].encode())
        return lambda data: (
            whole in data or (all(part in data for part in parts) and serial.search(data) is not None)
        )
    if apart or _SENDER.fullmatch(text):
        return lambda data: all(word in data for word in words)
    return lambda data: whole in data


class _Blocks:
    """The blocks of a ledger that were read, as the numbers of their first lines and their first bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers, self._offsets = array("Q"), array("Q", [0])
        self._lines = 0

    def take(self, block: bytes) -> Iterator[tuple[int, int, bytes, bool]]:
        """Take the next block. Return its lines: number, offset, bytes, and whether a newline follows."""
        first, offset = self._lines + 1, self._offsets[-1]
        self._numbers.append(first)
        self._offsets.append(offset + len(block))
        self._lines += block.count(b"\n")
        return split_lines(block, first, offset)

    def line(self, number: int) -> Line | None:
        """Return a line of these blocks; None if there is none of this number."""
        place = bisect_left(self._numbers, number + 1) - 1
        start, end = self._offsets[place], self._offsets[place + 1]
        for found, offset, raw, ended in split_lines(
            read_span(self.path, start, end), self._numbers[place], start
        ):
            if found == number:
                return parse_line(str(self.path), number, offset, raw, ended)
        return None


def _matching_lines(path: Path, may_match: Callable[[bytes], bool]) -> Iterator[Line]:
    """Yield the lines that may match, and the begin or the end of the same attempt."""
    blocks, begun = _Blocks(path), set[int]()
    for block in read_blocks(path):
        lines = blocks.take(block)
        if may_match(block) or _has_end(block, begun):
            for number, offset, raw, ended in lines:
                if may_match(raw) or _has_end(raw, begun):
                    line = parse_line(str(path), number, offset, raw, ended)
                    yield from _with_begin(line, blocks, begun)


def _with_begin(line: Line, blocks: _Blocks, begun: set[int]) -> Iterator[Line]:
    """Yield a line after its begin record, unless that was yielded: it is one of `begun`."""
    begin = _begin_of(line)
    if 0 < begin < line.number and begin not in begun:
        first = blocks.line(begin)
        if first is not None and _has_phase(first, BEGIN):
            yield first
    begun.discard(begin)
    if _has_phase(line, BEGIN):
        begun.add(line.number)
    yield line


def _has_end(data: bytes, begun: Collection[int]) -> bool:
    return bool(begun) and any(int(begin) in begun for begin in _BEGIN.findall(data))


def _begin_of(line: Line) -> int:
    """Return the number of the begin record that an end record names; 0 if it is not an end record."""
    begin = line.fields.get("begin") if line.fields and _has_phase(line, END) else 0
    return begin if type(begin) is int else 0


def _has_phase(line: Line, phase: str) -> bool:
    return line.fields is not None and line.fields["phase"] == phase
