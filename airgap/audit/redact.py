"""Keeps secrets, and values that JSON cannot express, out of the ledger."""

from collections.abc import Mapping

from airgap.hiding import hide, is_secret_name

Json = str | int | bool | None | list["Json"] | dict[str, "Json"]
"""The values that a record may hold; airgap's documents contain no floats."""


def redact(value: object) -> Json:
    """Return `value` as JSON, with logins and tokens masked (`hide`) and unpaired surrogates escaped.

    `https://user:pw@host` becomes `https://user:***@host`; a user alone is masked for http(s), where
    it is often a token, and kept for other schemes (`ssh://admin@host`). Raises `ValueError`, a programming
    error, for a key that is named like a secret and for a value that is not JSON. Secrets in
    running text are not found.
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
    """Do the same as `redact` for the fields of a record."""
    return {_check_key(key): redact(value) for key, value in fields.items()}


def _redact_text(text: str) -> str:
    return hide(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _check_key(key: object) -> str:
    if not isinstance(key, str) or is_secret_name(key):
        raise ValueError(f"a ledger record cannot hold a secret, or a key that is not a string: {key!r}")
    return _redact_text(key)
