from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.errors import FormatError
from airgap.times import format_time, parse_time


def test_reads_utc():
    assert parse_time("2026-01-31T12:00:00Z", "t") == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_writes_utc_whatever_the_zone():
    east = timezone(timedelta(hours=2))
    assert format_time(datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=east)) == "2026-01-31T10:00:00Z"


@given(st.datetimes(timezones=st.just(UTC)).map(lambda when: when.replace(microsecond=0)))
def test_round_trip(when):
    assert parse_time(format_time(when), "t") == when


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00Z",
        "2026-01-31T12:00:00z",
        "2026-01-31T12:00:00+00:00",
        "2026-01-31T12:00:00.0Z",
        "2026-01-31T12:00Z",
        "2026-02-30T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-01-31T24:00:01Z",
        "2026-12-31T23:59:60Z",
        "2026-01-31T12:00:00Z\n",
        " 2026-01-31T12:00:00Z",
        "٢٠٢٦-01-31T12:00:00Z",
        "W2026-01-31T12:00:0Z",
    ],
)
def test_refuses(text):
    with pytest.raises(FormatError, match=r"^not a time: t, want such as 2026"):
        parse_time(text, "t")
