"""A bundle's place in its stream: what may come after what was accepted."""

from dataclasses import replace

import pytest

from airgap.bundle.statement import Previous
from airgap.carry.rollback import check_place, left_fork
from airgap.errors import RollbackError
from airgap.limits import MAX_FIRST_SERIAL, MAX_SERIAL_RISE
from airgap.site import Mark
from tests.unit.bundle.test_statement import PLAIN

A, B = "a" * 64, "b" * 64
THIS = "f" * 64
TOP = 2**53 - 1


def statement(serial, previous=None, epoch=1):
    return replace(PLAIN, stream="edge", serial=serial, epoch=epoch, previous=previous)


GOOD = {
    "the first": (statement(1), None),
    "joins later": (statement(400, Previous(399, A)), None),
    "as late as can be": (statement(MAX_FIRST_SERIAL, Previous(MAX_FIRST_SERIAL - 1, A)), None),
    "the next": (statement(3, Previous(2, A)), Mark(1, 2, A)),
    "the next, and it names none": (statement(3), Mark(1, 2, A)),
    "some were missed": (statement(9, Previous(8, B)), Mark(1, 2, A)),
    "as many as can be": (statement(2 + MAX_SERIAL_RISE, Previous(1 + MAX_SERIAL_RISE, B)), Mark(1, 2, A)),
    "again": (statement(2, Previous(1, B)), Mark(1, 2, THIS)),
    "a new epoch": (statement(1, Previous(7, B), epoch=2), Mark(1, 2, A)),
    "a new epoch, after a serial without a next": (statement(1, Previous(7, B), epoch=2), Mark(1, TOP, A)),
    "a new epoch, from a fork": (statement(1, Previous(2, B), epoch=2), Mark(1, 2, A)),
}


@pytest.mark.parametrize(("given", "mark"), GOOD.values(), ids=GOOD)
def test_a_bundle_in_its_place_in_the_stream_is_accepted(given, mark):
    check_place(given, THIS, mark)


BAD = {
    "older": (statement(1), Mark(1, 2, A), "older than the last accepted"),
    "of an older epoch": (statement(3), Mark(2, 1, A), "older than the last accepted"),
    "equivocation": (statement(2, Previous(1, B)), Mark(1, 2, A), "two different bundles"),
    "a fork": (statement(3, Previous(2, B)), Mark(1, 2, A), f"forked.*sha256:{A}, got sha256:{B}"),
    "names itself": (statement(3, Previous(3, A)), Mark(1, 2, A), "want previous serial 2, got 3"),
    "leaves one out": (statement(4, Previous(2, A)), Mark(1, 2, A), "want previous serial 3, got 2"),
    "the second leaves one out": (statement(2, Previous(5, A)), None, "want previous serial 1, got 5"),
    "leaves one out, unseen": (statement(4, Previous(2, A)), None, "want previous serial 3, got 2"),
    "too far": (statement(3 + MAX_SERIAL_RISE), Mark(1, 2, A), "is too high: edge-1003, want at most 1002"),
    "too far at first": (
        statement(MAX_FIRST_SERIAL + 1),
        None,
        "is too high: edge-1000001, want at most 1000000",
    ),
    "the last there is": (statement(TOP, Previous(TOP - 1, A)), Mark(1, 2, A), "is too high"),
    "too far in a new epoch": (statement(1001, epoch=2), Mark(1, 5000, A), "want at most 1000"),
}


@pytest.mark.parametrize(("given", "mark", "message"), BAD.values(), ids=BAD)
def test_refused(given, mark, message):
    with pytest.raises(RollbackError, match=message):
        check_place(given, THIS, mark)


@pytest.mark.parametrize("name", [name for name in BAD if name.startswith("too far") or "last" in name])
def test_a_person_can_accept_a_jump(name):
    given, mark, _ = BAD[name]
    check_place(given, THIS, mark, accept_jump=True)


@pytest.mark.parametrize("name", [name for name in BAD if not (name.startswith("too far") or "last" in name)])
def test_and_nothing_else(name):
    given, mark, _ = BAD[name]
    with pytest.raises(RollbackError):
        check_place(given, THIS, mark, accept_jump=True)


def test_a_fork_that_was_left_is_reported():
    text = left_fork(statement(1, Previous(2, B), epoch=2), Mark(1, 2, A))
    assert A in text
    assert B in text


@pytest.mark.parametrize(
    ("given", "mark"),
    [
        (statement(1, Previous(2, A), epoch=2), Mark(1, 2, A)),
        (statement(1, Previous(3, B), epoch=2), Mark(1, 2, A)),
        (statement(1, None, epoch=2), Mark(1, 2, A)),
        (statement(1, Previous(2, B), epoch=2), None),
        (statement(3, Previous(2, B)), Mark(1, 2, A)),
        (statement(1, Previous(1, B)), Mark(1, 1, A)),
        (statement(2, Previous(2, B), epoch=2), Mark(1, 2, A)),
    ],
    ids=[
        "no fork",
        "others came between",
        "nothing before",
        "nothing accepted",
        "the same epoch",
        "the first of the same epoch",
        "the second of the epoch",
    ],
)
def test_no_fork_was_left(given, mark):
    assert left_fork(given, mark) is None
