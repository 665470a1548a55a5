"""Keeps secrets, and what JSON cannot say, out of the ledger."""

import re
from collections.abc import Mapping

_SECRET_KEY = re.compile(r"passw|passphrase|token|authorization|secret|credential", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^\s/?#:@]*):[^\s/?#]*@")
_HTTP_USER = re.compile(r"(https?://)[^\s/?#:@]+@", re.IGNORECASE)
_MASK = "***"

Json = str | int | bool | None | list["Json"] | dict[str, "Json"]
"""What a record may hold; there are no floats in our documents."""


def redact(value: object) -> Json:
    """`value` as JSON, with the passwords of URLs masked and unpaired surrogates escaped.

    `https://user:pw@host` becomes `https://user:***@host`; a user alone is masked for http(s), where
    it is often a token, and kept elsewhere (`ssh://admin@host`). Raises `ValueError`, a programming
    error, for a key that is named like a secret and for a value that is not JSON. It does not find
    secrets in running text.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, list | tuple):
        return [redact(inner) for inner in value]
    if isinstance(value, Mapping):
        return {_check_key(key): redact(inner) for key, inner in value.items()}
    raise ValueError(f"a ledger record cannot hold {type(value).__name__}: {value!r}")


def redact_fields(fields: Mapping[str, object]) -> dict[str, Json]:
    """As `redact`, for the fields of a record."""
    return {_check_key(key): redact(value) for key, value in fields.items()}


def _redact_text(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return _HTTP_USER.sub(rf"\1{_MASK}@", _URL_PASSWORD.sub(rf"\1:{_MASK}@", text))


def _check_key(key: object) -> str:
    if not isinstance(key, str) or _SECRET_KEY.search(key):
        raise ValueError(f"a ledger record cannot hold a secret, or a key that is no string: {key!r}")
    return _redact_text(key)
