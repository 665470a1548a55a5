import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import airgap
from airgap.audit.record import EVENTS, NO_PREVIOUS, format_instant, parse_instant, parse_record
from airgap.errors import FormatError
from airgap.limits import MAX_LEDGER_LINE_BYTES
from airgap.oci.strict_json import dump

GOOD = {
    "seq": 1, "prev": NO_PREVIOUS, "time": "2026-01-31T12:00:00.000Z", "utc_offset": "+00:00",
    "boot_id": None, "host": "h", "site": "s", "tool": "airgap 1", "user": "u", "event": "pack", "phase": "note",
}  # fmt: skip


def test_a_record():
    assert parse_record(dump({**GOOD, "more": [1]}), "x") == {**GOOD, "more": [1]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seq": 0}, "seq, want at least 1, got 0"),
        ({"seq": -1}, "negative"),
        ({"seq": "1"}, "seq, want an integer, got a string"),
        ({"seq": True}, "got a boolean"),
        ({"seq": 2**53}, "integer too large"),
        ({"prev": "0" * 63}, "prev, want 64"),
        ({"prev": "A" * 64}, "prev, want 64"),
        ({"prev": NO_PREVIOUS + "\n"}, "prev, want 64"),
        ({"prev": None}, "prev, want a string"),
        ({"time": "2026-01-31T12:00:00Z"}, "not a time"),
        ({"time": "2026-02-31T12:00:00.000Z"}, "not a time"),
        ({"time": "2026-01-31T12:00:00.000+00:00"}, "not a time"),
        ({"time": "2026-01-31T12:00:00.000"}, "not a time"),
        ({"time": 1}, "time, want a string"),
        ({"boot_id": 1}, "boot_id"),
        ({"host": None}, "host"),
        ({"site": []}, "site"),
        ({"tool": {}}, "tool"),
        ({"user": 0}, "user"),
        ({"event": False}, "event"),
        ({"phase": "middle"}, "phase, want begin or end or note"),
        ({"Seq": 1}, "differ in case only"),
        ({"more": 1.5}, "not an integer"),
    ],
)
def test_bad_fields(changes, message):
    with pytest.raises(FormatError, match=message):
        parse_record(dump({**GOOD, **changes}), "x")


@pytest.mark.parametrize("key", [key for key in GOOD if key != "boot_id"])
def test_missing_fields(key):
    with pytest.raises(FormatError, match=key):
        parse_record(dump({k: v for k, v in GOOD.items() if k != key}), "x")


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[]", b"1", b"\0" * 9, b"\xff", dump(GOOD)[:-1], dump(GOOD) + b"x", dump(GOOD) * 2,
     b'{"a":1,"a":2}', b" " * (MAX_LEDGER_LINE_BYTES + 1)],
)  # fmt: skip
def test_bad_lines(raw):
    with pytest.raises(FormatError):
        parse_record(raw, "x")


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_anything_is_a_record_or_a_format_error(raw):
    with pytest.raises(FormatError):
        parse_record(raw, "x")


@given(st.integers(1, len(dump(GOOD)) - 1))
def test_no_part_of_a_record_is_a_record(size):
    """What the handling of torn lines rests on."""
    for part in (dump(GOOD)[:size], dump(GOOD)[size:]):
        with pytest.raises(FormatError):
            parse_record(part, "x")


@given(
    st.integers(-(10**16), 10**17).map(
        lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    ),
    st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_instants_survive_to_the_millisecond(moment, zone):
    back = parse_instant(format_instant(moment.astimezone(zone)), "x")
    assert timedelta() <= moment - back < timedelta(milliseconds=1)
    assert back.tzinfo is not None


def test_instants():
    east = timezone(timedelta(hours=2))
    assert format_instant(datetime(2026, 1, 31, 12, 0, 0, 999_999, east)) == "2026-01-31T10:00:00.999Z"
    with pytest.raises(ValueError, match="time zone"):
        format_instant(datetime(2026, 1, 31, tzinfo=UTC).replace(tzinfo=None))
    with pytest.raises(FormatError):
        parse_instant("0001-01-01T00:00:00.000+05:00", "x")


@given(st.text())
def test_any_text_is_an_instant_or_a_format_error(text):
    with pytest.raises(FormatError):
        parse_instant(text, "x")


def test_every_event_that_is_recorded_is_one_to_look_for():
    """Those that stand in the code as words, at least."""
    words = set()
    for path in Path(airgap.__file__).parent.rglob("*.py"):
        text = path.read_text("utf-8")
        words |= set(re.findall(r"""\.attempt\(\s*"([a-z-]+)\"""", text))
        words |= set(
            re.findall(
                r"""(?:recorded|opened|bundle_attempt|_checked)\([a-z_.]+, (?:[a-z_.]+, )?"([a-z-]+)\"""",
                text,
            )
        )
    assert {"pack", "load", "verify", "media-write", "send", "receipt"} <= words
    assert words <= set(EVENTS)
