import errno
import http.client
import inspect
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap import errors
from airgap.cli.main import INTERRUPTED
from airgap.errors import (
    AirgapError,
    InterruptError,
    MediaError,
    NoSpaceError,
    describe_cause,
    disk_failed,
    printable,
)

CLASSES = [
    found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, AirgapError)
]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "broken"),
        ({"subject": "x"}, "broken: x"),
        ({"subject": "x", "want": 1, "got": 2}, "broken: x, want 1, got 2"),
        ({"got": 0}, "broken, got 0"),
        ({"want": ""}, "broken, want "),
        ({"subject": "a\nb\x1b[2J"}, "broken: a\\nb\\x1b[2J"),
        ({"hint": "do this"}, "broken"),
    ],
)
def test_the_line(fields, line):
    assert str(AirgapError("broken", **fields)) == line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢", "plain é 漢"),
        ("a\r\n\tb", "a\\r\\n\\tb"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("\u2066\u2069\u200b", "\\u2066\\u2069\\u200b"),
        ("\x9b2J", "\\x9b2J"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        (7, "7"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_nothing_but_what_is_printable_comes_out(text):
    shown = printable(text)
    assert shown.isprintable()
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    shown.encode("utf-8")


CHILDREN = [kind for kind in CLASSES if kind.__mro__[1] not in (AirgapError, Exception)]


@pytest.mark.parametrize("kind", CHILDREN, ids=lambda kind: kind.__name__)
def test_a_child_has_the_code_of_its_parent(kind):
    assert kind.exit_code == kind.__mro__[1].exit_code


def test_codes_are_different():
    codes = [found.exit_code for found in CLASSES if found.__mro__[1] in (AirgapError, Exception)]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes
    assert InterruptError.exit_code == INTERRUPTED


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (OSError(errno.EIO, "bad", "/x"), MediaError, "cannot be reached: /x, got bad"),
        (OSError(errno.EIO, "bad"), MediaError, "cannot be reached, got bad"),
        (OSError("odd"), MediaError, "cannot be reached, got odd"),
        (OSError(errno.ENOSPC, "full", "/x"), NoSpaceError, "cannot be reached: /x, got full"),
        (OSError(errno.EDQUOT, "full"), NoSpaceError, "cannot be reached, got full"),
    ],
)
def test_what_the_system_refused(error, kind, line):
    found = MediaError.of(error)
    assert (type(found), str(found)) == (kind, line)
    assert bool(found.hint) == (kind is NoSpaceError)


def test_who_knows_better_names_the_file():
    assert (
        str(MediaError.of(OSError(errno.EIO, "bad", "/x"), "cannot write", "/y"))
        == "cannot write: /y, got bad"
    )


@pytest.mark.parametrize(
    ("number", "disk"),
    [
        (errno.EIO, True),
        (errno.EROFS, True),
        (errno.ENOENT, False),
        (errno.EACCES, False),
        (errno.ELOOP, False),
    ],
)
def test_whom_to_blame(number, disk):
    assert disk_failed(OSError(number, "x")) == disk


@pytest.mark.parametrize(
    ("error", "want"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (FileNotFoundError(2, "No such file or directory", "/x"), "No such file or directory"),
        (
            ValueError("aborted", ConnectionResetError(104, "Connection reset by peer")),
            "Connection reset by peer",
        ),
        (TimeoutError("timed out"), "timed out"),
        (ValueError("it said [Errno -2] Name or service not known"), "it said Name or service not known"),
        (EOFError(), "the other side closed the connection"),
        (TimeoutError(), "no answer in time"),
        (http.client.IncompleteRead(b"", 5), "no reason given"),
        (RuntimeError(), "no reason given"),
    ],
)
def test_words_without_numbers(error, want):
    assert describe_cause(error) == want
