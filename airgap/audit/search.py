"""Finds the entries of a ledger that may be about a text, and parses only their lines.

There is no index: a search of the raw bytes takes less than a second for a million records, cannot be out of
date, and cannot hide anything. It finds too much rather than too little: the caller compares the entries.
"""

import re
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from airgap.audit.lines import Line, parse_line, read_blocks, read_line
from airgap.audit.record import BEGIN, END
from airgap.audit.report import LedgerEntry, entries, join_lines

_WORD = re.compile(r"[A-Za-z0-9]+", re.ASCII)
_STATEMENT = re.compile(rb'"statement_sha256"\s*+:\s*+"([0-9a-f]{64})"')
_BEGIN = re.compile(rb'"begin"\s*+:\s*+([0-9]{1,16})')
_LINE = re.compile(rb"[^\n]*+\n|[^\n]++")

_MayMatch = Callable[[bytes], bool]


def entries_with(path: Path, text: str, statements: Collection[str] = ()) -> list[LedgerEntry]:
    """Return all entries that can have `text` in any case in a value, in a bundle's title or in a number, and
    those about the bundles with these `statements`; in the order of the file.

    Other entries may be among them. Unreadable lines that do not have the text are not. The chain is not
    checked. Memory is needed for the entries, and eight bytes for each line.

    Args:
        path: The ledger.
        text: The text.
        statements: The SHA-256 of statements, in hex.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    words = words_of(text)
    if not words:
        return entries(path)
    lines = _matching_lines(path, _matcher(words, {sha256.encode() for sha256 in statements}))
    return sorted(join_lines(lines), key=lambda entry: entry.seq)


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


def _matcher(words: Collection[bytes], statements: Collection[bytes]) -> _MayMatch:
    def may_match(data: bytes) -> bool:
        lower = data.lower()
        return (
            all(word in lower for word in words)
            or b"\\" in data
            or not data.isascii()
            or any(sha256 in statements for sha256 in (_STATEMENT.findall(data) if statements else ()))
        )

    return may_match


def _matching_lines(path: Path, may_match: _MayMatch) -> Iterator[Line]:
    """Yield the lines that may match, and the begin or the end of the same attempt."""
    offsets, begun = array("Q", [0]), set[int]()
    for block in read_blocks(path):
        known = len(offsets)
        start = offsets[-1]
        offsets.extend(start + found.end() for found in _LINE.finditer(block))
        if not may_match(block) and not _has_end(block, begun):
            continue
        for number in range(known, len(offsets)):
            data = block[offsets[number - 1] - offsets[known - 1] : offsets[number] - offsets[known - 1]]
            if may_match(data) or _has_end(data, begun):
                line = parse_line(
                    str(path), number, offsets[number - 1], data.removesuffix(b"\n"), data.endswith(b"\n")
                )
                yield from _with_begin(path, line, offsets, begun)


def _with_begin(path: Path, line: Line, offsets: Sequence[int], begun: set[int]) -> Iterator[Line]:
    """Yield a line after its begin record, unless that was yielded: it is one of `begun`."""
    begin = _begin_of(line)
    if 0 < begin < line.number and begin not in begun:
        first = read_line(path, begin, offsets[begin - 1], offsets[begin])
        if _has_phase(first, BEGIN):
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
