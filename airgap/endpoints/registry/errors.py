"""The errors for a registry's refusals (OCI distribution-spec 1.1, "Error Codes")."""

import datetime as dt
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from airgap.endpoints.registry.hints import push_hint
from airgap.errors import (
    AccessDeniedError,
    EndpointError,
    FormatError,
    NotFoundError,
    SparseIndexError,
    UnavailableError,
)
from airgap.oci.strict_json import parse_object

MAX_ERROR_BODY = 8 << 10
MAX_WAIT = 86_400.0
"""The longest wait in seconds that a registry can ask for; the options limit how much of it is granted."""
_MAX_BACKOFF = 60.0
"""The longest wait in seconds that airgap chooses itself."""

_BUSY = 429
_TEMPORARY = frozenset({408, _BUSY, 500, 502, 503, 504})
_MAX_TEXT = 300


class TemporaryError(UnavailableError):
    """A failure after which the same request may be sent again, at the earliest in `wait` seconds."""

    wait: float = 0.0
    status: int = 0
    """The status of the answer; 0 if there was none."""
    reached: bool = True
    """True if there was a connection to the registry."""
    timed_out: bool = False

    @property
    def busy(self) -> bool:
        """Return whether the registry limits requests."""
        return self.status == _BUSY


class TlsFailedError(EndpointError):
    """A trusted connection to the registry could not be made."""


class LinkRefusedError(AccessDeniedError):
    """Blob storage refuses the link that the registry gave us: links expire."""


def failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    subject: str,
    host: str,
    *,
    writes: bool = False,
) -> EndpointError:
    """Return the error for an unexpected answer; `body` is its first `MAX_ERROR_BODY` bytes. `writes` is true
    if the request was part of a push: then other hints help.
    """
    error = _failure(status, headers, body, subject, host)
    error.status = status
    if writes:
        error.hint = push_hint(status, f"{explain(body)}", host) or error.hint
    return error


def _failure(status: int, headers: Mapping[str, str], body: bytes, subject: str, host: str) -> EndpointError:
    got = " ".join(filter(None, (f"HTTP {status}", explain(body))))
    login = f"docker login {host}"
    if status in (401, 403):
        return AccessDeniedError("access denied", subject=subject, got=got, hint=login)
    if status == 404:
        return NotFoundError("not found", subject=subject, got=got)
    if status in _TEMPORARY:
        hint = f"the registry limits requests; {login} may raise the limit" if status == _BUSY else None
        error = TemporaryError("unavailable", subject=subject, got=got, hint=hint)
        error.status = status
        error.wait = parse_retry_after(headers.get("Retry-After"), dt.datetime.now(dt.UTC))
        return error
    if status == 400 and b"MANIFEST_BLOB_UNKNOWN" in body:
        return SparseIndexError(
            "the registry lacks content that this document names", subject=subject, got=got
        )
    return EndpointError("unexpected answer", subject=subject, got=got)


def explain(body: bytes) -> str:
    """Return the reasons in an error body, in brackets; empty if it has none that can be read."""
    try:
        value = parse_object(body, "error body", max_bytes=MAX_ERROR_BODY)
    except FormatError:
        return ""
    reasons = [_reason(entry) for entry in _entries(value)]
    text = "; ".join(filter(None, reasons))
    return f"({text[:_MAX_TEXT]})" if text else ""


def _entries(value: dict[str, Any]) -> list[Any]:
    errors = value.get("errors")
    return errors[:10] if isinstance(errors, list) else [value]


def _reason(entry: object) -> str:
    """Return `CODE: message`, or what token services report instead."""
    if not isinstance(entry, dict):
        return ""
    keys = ("code", "error", "message", "error_description", "details", "detail")
    return ": ".join(entry[key] for key in keys if isinstance(entry.get(key), str))


def parse_retry_after(text: str | None, now: dt.datetime) -> float:
    """Return the seconds to wait, 1 to `MAX_WAIT`, from a number or an HTTP date (RFC 9110 §10.2.3). 0 for
    anything else. A part of a second counts as one, since waits are bounded by their sum and not by their
    number.
    """
    if text is None:
        return 0.0
    try:
        seconds = float(int(text)) if text.isdigit() else (_date(text) - now).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 1.0), MAX_WAIT) if seconds > 0 else 0.0


def _date(text: str) -> dt.datetime:
    date = parsedate_to_datetime(text)
    return date if date.tzinfo else date.replace(tzinfo=dt.UTC)


def backoff(attempt: int, wait: float, jitter: float) -> float:
    """Return the seconds to sleep after failed attempt `attempt` (0, 1, …): doubling from half a second.

    `jitter` in 0…1 spreads the clients that failed together; never less than `wait`.
    """
    return max(wait, min(0.5 * 2.0**attempt, _MAX_BACKOFF) * (0.5 + jitter / 2))
