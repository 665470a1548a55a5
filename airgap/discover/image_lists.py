"""Finds the images in text lists: `images.txt` of a vendor, mirror lists, the output of `docker images`.

A line has the name of an image, alone or in one of several columns (`image NAME REFERENCE`,
`SOURCE=TARGET`); `#` begins a comment.
"""

import re
from collections.abc import Iterator
from itertools import islice

from airgap.discover.context import Context
from airgap.discover.findings import Certainty, Place, Span
from airgap.discover.limits import MAX_VALUE_CHARACTERS
from airgap.discover.sources import SourceFile
from airgap.errors import FormatError
from airgap.oci.reference import ImageReference
from airgap.values import dataclass

_COMMENT = re.compile(r"(?:^|\s)(?:#|//).*")
_WORD = re.compile(r"[^\s,;|=]+")
_EXAMINED_LINES = 1_000
_QUOTES = "\"'`"
_MARKS = re.compile(r"[/:@]")
_TAGGED = re.compile(r":[^/]+$|@")
_USER = "list"


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    start: int
    """The offset of the line in the file."""
    text: str
    """The line without its comment."""


def is_image_list(text: str, *, is_strict: bool = False) -> bool:
    """Return whether `text` is a list of images: all lines have the name of one.

    Args:
        text: The file.
        is_strict: Whether each name needs a tag or digest, because nobody said that the file is a list:
            `src/main.py` could be the name of an image too.
    """
    is_empty = True
    for line in _lines(text):
        word = _word_in(line)
        if word is None or (is_strict and not _TAGGED.search(word.text)):
            return False
        is_empty = False
    return not is_empty


def is_mostly_images(text: str) -> bool:
    """Return whether more than half of the lines have the name of an image with a tag or digest; the first
    lines decide.
    """
    words = [_word_in(line) for line in islice(_lines(text), _EXAMINED_LINES)]
    return sum(bool(word and _TAGGED.search(word.text)) for word in words) * 2 > len(words)


def read_image_list(file: SourceFile, context: Context) -> None:
    """Add the images of a text list, and a problem for each line without one."""
    for line in _lines(file.text):
        word = _word_in(line)
        place = Place(file=file.name, line=line.number)
        if word is None:
            what = f"a line without the name of an image, got {line.text.strip()[:80]!r}"
            context.findings.add_problem(place, what)
            continue
        span = Span(word.start, word.start + len(word.text))
        place = Place(file=file.name, line=line.number, span=span)
        context.findings.add_image(word.text, place, certainty=Certainty.SURE, user=_USER)


def _lines(text: str) -> Iterator[_Line]:
    start = 0
    for number, raw in enumerate(text.splitlines(keepends=True), 1):
        content = _COMMENT.sub("", raw.rstrip("\r\n"))
        if content.strip():
            yield _Line(number, start, content)
        start += len(raw)


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    """The offset in the file."""
    text: str


def _word_in(line: _Line) -> _Word | None:
    """Return the name of an image in a line: its only word, or the first one with a slash, tag or digest."""
    if len(line.text) > MAX_VALUE_CHARACTERS:
        return None
    words = [_unquoted(line.start + match.start(), match[0]) for match in _WORD.finditer(line.text)]
    words = [word for word in words if word.text not in ("-", "*", "")]
    if len(words) > 1:
        words = [word for word in words if _MARKS.search(word.text)]
    return next((word for word in words if _is_name(word.text)), None)


def _unquoted(start: int, text: str) -> _Word:
    bare = text.lstrip(_QUOTES)
    start += len(text) - len(bare)
    bare = bare.rstrip(_QUOTES)
    if bare.startswith("docker://"):
        return _Word(start + len("docker://"), bare.removeprefix("docker://"))
    return _Word(start, bare)


def _is_name(text: str) -> bool:
    try:
        ImageReference.parse(text)
    except FormatError:
        return False
    return True
