"""The errors for a registry's refusals (OCI distribution-spec 1.1, "Error Codes"), and hints about them.

Registries agree on error codes, but not on when to use which.
"""

import datetime as dt
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from airgap.errors import (
    AccessDeniedError,
    EndpointError,
    FormatError,
    NotFoundError,
    SparseIndexError,
    UnavailableError,
)
from airgap.limits import MAX_BACKOFF_SECONDS, MAX_ERROR_BODY_BYTES, MAX_RETRY_AFTER_SECONDS
from airgap.oci.strict_json import parse_object

_BUSY = 429
_TEMPORARY = frozenset({408, _BUSY, 500, 502, 503, 504})
_MAX_SHOWN = 300
"""Characters of a registry's reasons in a message."""

_LOCKED = re.compile(
    r"immutable|already exists|overwrit|not allow updating|cannot be updated|redeploy|is locked|protected",
    re.IGNORECASE,
)
"""Amazon ECR, Harbor, Quay, Nexus, Artifactory and GitLab each use other words for a tag that cannot be
changed."""

_CREATE = (
    "create the repository first, if the registry does not create it by itself, or use another "
    "name: --map FROM=TO"
)
_PROJECT = re.compile(
    r"(?:project|namespace|organi[sz]ation|user) [^:;]{0,200}(?:not found|not exist)", re.IGNORECASE
)
_RENAME = "this registry does not accept the name; use fewer parts or your own namespace: --map FROM=TO"
_READ_ONLY = "the registry may be read-only, for example during maintenance"
_TOO_LARGE = "a proxy in front of the registry limits the size of a request (nginx: client_max_body_size 0)"
_KIND = "this registry does not accept documents of this type"


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


def status_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    subject: str,
    host: str,
    *,
    writes: bool = False,
) -> EndpointError:
    """Return the error for an unexpected answer.

    Args:
        status: The answer's status.
        headers: The answer's headers.
        body: The first `MAX_ERROR_BODY_BYTES` of the answer's body.
        subject: The request's name in errors.
        host: The registry's name, for hints.
        writes: True if the request was part of a push: then other hints help.
    """
    error = _error(status, headers, body, subject, host)
    error.status = status
    if writes:
        error.hint = push_hint(status, explain(body), host) or error.hint
    return error


def _error(status: int, headers: Mapping[str, str], body: bytes, subject: str, host: str) -> EndpointError:
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
        value = parse_object(body, "error body", max_bytes=MAX_ERROR_BODY_BYTES)
    except FormatError:
        return ""
    errors = value.get("errors")
    entries = errors[:10] if isinstance(errors, list) else [value]
    text = "; ".join(filter(None, map(_reason, entries)))
    return f"({text[:_MAX_SHOWN]})" if text else ""


def _reason(entry: object) -> str:
    """Return `CODE: message`, or what token services report instead."""
    if not isinstance(entry, dict):
        return ""
    keys = ("code", "error", "message", "error_description", "details", "detail")
    return ": ".join(entry[key] for key in keys if isinstance(entry.get(key), str))


def parse_retry_after(text: str | None, now: dt.datetime) -> float:
    """Return the seconds to wait, 1 to `MAX_RETRY_AFTER_SECONDS`, from a number or an HTTP date (RFC 9110
    §10.2.3). 0 for anything else. A part of a second counts as one, since waits are bounded by their sum and
    not by their number.
    """
    if text is None:
        return 0.0
    try:
        seconds = float(int(text)) if text.isdigit() else (_date(text) - now).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 1.0), MAX_RETRY_AFTER_SECONDS) if seconds > 0 else 0.0


def _date(text: str) -> dt.datetime:
    date = parsedate_to_datetime(text)
    return date if date.tzinfo else date.replace(tzinfo=dt.UTC)


def backoff(attempt: int, jitter: float) -> float:
    """Return the seconds to sleep after failed attempt `attempt` (0, 1, …): doubling from half a second.

    `jitter` in 0…1 spreads the clients that failed together.
    """
    return min(0.5 * 2.0**attempt, MAX_BACKOFF_SECONDS) * (0.5 + jitter / 2)


def says_tag_is_immutable(text: str) -> bool:
    """Return whether a refusal says that an existing tag may not be replaced."""
    return _LOCKED.search(text) is not None


def push_hint(status: int, text: str, host: str) -> str | None:
    """Return the hint for a refusal with this status; `text` is the registry's explanation."""
    if _PROJECT.search(text):
        return "create the project first, or map the images to another one: --map FROM=TO"
    if status == 404 and ("NAME_UNKNOWN" in text or "REPOSITORY_NOT_FOUND" in text or not text):
        return _CREATE
    if "NAME_INVALID" in text:
        return _RENAME
    if status in (401, 403):
        return (
            f"docker login {host} with an account that may push; some registries give the same answer "
            "if the project or namespace does not exist, or the name has too many parts: change it with "
            "--map FROM=TO"
        )
    if status in (405, 503) or "READ_ONLY" in text.upper().replace(" ", "_").replace("-", "_"):
        return _READ_ONLY
    if status == 413:
        return _TOO_LARGE
    if status == 415 or "MANIFEST_INVALID" in text:
        return _KIND
    return None
