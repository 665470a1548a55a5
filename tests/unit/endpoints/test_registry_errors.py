import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.endpoints.registry.errors import (
    TemporaryError,
    backoff,
    explain,
    parse_retry_after,
    status_error,
)
from airgap.errors import AccessDeniedError, EndpointError, NotFoundError
from airgap.limits import MAX_RETRY_AFTER_SECONDS

NOW = dt.datetime(2026, 1, 1, 12, 0, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AccessDeniedError), (403, AccessDeniedError), (404, NotFoundError), (408, TemporaryError),
        (429, TemporaryError), (500, TemporaryError), (502, TemporaryError), (503, TemporaryError),
        (504, TemporaryError), (400, EndpointError), (416, EndpointError), (501, EndpointError),
        (200, EndpointError), (302, EndpointError),
    ],
)  # fmt: skip
def test_status_error(status: int, kind: type[EndpointError]) -> None:
    error = status_error(status, {}, b"", "registry.example/a: 1.0", "registry.example")
    assert type(error) is kind
    assert f"registry.example/a: 1.0, got HTTP {status}" in str(error)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"errors": [{"code": "DENIED", "message": "no"}]}, "(DENIED: no)"),
        ({"errors": [{"code": "A", "message": "b"}, {"code": "C"}]}, "(A: b; C)"),
        ({"errors": [{"message": "only this", "detail": {"x": 1}}]}, "(only this)"),
        ({"details": "incorrect username or password"}, "(incorrect username or password)"),
        ({"error": "invalid_grant", "error_description": "expired"}, "(invalid_grant: expired)"),
        ({"errors": []}, ""),
        ({"errors": ["x", None, 7, {"code": 7}]}, ""),
        ({"errors": "x", "message": "m"}, "(m)"),
        ([], ""),
        ("text", ""),
    ],
)
def test_explain(body: object, text: str) -> None:
    assert explain(json.dumps(body).encode()) == text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b'{"errors":',
        b'{"a":1,"a":2}',
        b"[" * 5000,
        b" " * 9000,
        b'{"message":"\\ud800"}',
    ],
)
def test_an_unreadable_body_gives_no_explanation(body: bytes) -> None:
    assert explain(body) == ""


def test_an_explanation_is_short() -> None:
    assert len(explain(json.dumps({"message": "x" * 5000}).encode())) < 310


@given(st.binary(max_size=200))
def test_explain_never_raises(body: bytes) -> None:
    assert isinstance(explain(body), str)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0), ("", 0), ("0", 0), ("7", 7), ("75", 75), ("86401", MAX_RETRY_AFTER_SECONDS), ("9" * 5000, 0), ("-5", 0), ("1.5", 0),
        ("²", 0), ("soon", 0), ("Thu, 01 Jan 2026 12:00:30 GMT", 30), ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Thu, 01 Jan 2026 13:00:00 GMT", 3600), ("Sat, 03 Jan 2026 13:00:00 GMT", MAX_RETRY_AFTER_SECONDS), ("Thu, 01 Jan 2026 12:00:30 -0000", 30),
        ("Thu, 01 Jan 2026 14:00:09 +0200", 9), ("Thu, 99 Jan 2026 12:00:30 GMT", 0),
    ],
)  # fmt: skip
def test_retry_after(text: str | None, seconds: float) -> None:
    assert parse_retry_after(text, NOW) == seconds


def test_a_moment_to_wait_is_a_second() -> None:
    """Waits are bounded by their sum; moments could be asked for without end."""
    now = NOW.replace(second=29, microsecond=999_999)
    assert parse_retry_after("Thu, 01 Jan 2026 12:00:30 GMT", now) == 1


@given(st.text(max_size=40))
def test_retry_after_is_bounded(text: str) -> None:
    assert 0 <= parse_retry_after(text, NOW) <= MAX_RETRY_AFTER_SECONDS


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"),
    [(0, 0, 0.25), (0, 1, 0.5), (3, 1, 4), (3, 0, 2), (50, 1, 60), (5, 0, 8)],
)
def test_backoff(attempt: int, jitter: float, seconds: float) -> None:
    assert backoff(attempt, jitter) == seconds
