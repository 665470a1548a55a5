"""Points in time as signed documents write them: RFC 3339, UTC, whole seconds, one spelling."""

import re
from datetime import UTC, datetime

from airgap.errors import FormatError

_GRAMMAR = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


def parse_time(text: str, where: str) -> datetime:
    """Return the UTC time in `text`, such as `2026-01-31T12:00:00Z`; raises `FormatError`."""
    try:
        if _GRAMMAR.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass  # a date that does not exist is reported like any other wrong text
    raise FormatError("not a time", subject=where, want="such as 2026-01-31T12:00:00Z", got=repr(text))


def format_time(when: datetime) -> str:
    """Return the inverse of `parse_time`; parts of a second are dropped."""
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def describe_time(when: datetime) -> str:
    """Return the time for people, in UTC and in any locale: `31 Jan 2026, 12:00 UTC`."""
    utc = when.astimezone(UTC)
    return f"{utc.day} {_MONTHS[utc.month - 1]} {utc.year}, {utc:%H:%M} UTC"
