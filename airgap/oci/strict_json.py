"""JSON that every parser interprets equally.

Go ignores the case of keys and uses the last of two equal ones; Python respects the case and also uses the
last. The same bytes can therefore name two different images. Ambiguous documents are refused.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

from airgap.errors import AmbiguousError, FormatError
from airgap.limits import MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_JSON_INTEGER
from airgap.times import parse_time

_VALUES, _LEAST_VALUE = 100_000, 16
"""The number of values that are always accepted, and the bytes that are required for each further one; real
documents have more. Megabytes of `[],[],[]` would need hundreds of megabytes of memory, and seconds.
"""

_PLAIN_DIGITS = len(str(MAX_JSON_INTEGER)) - 1
"""An integer with so many digits is never too large."""

_CONTAINERS = (dict, list)

_FREE_MAPS = frozenset({"annotations", "labels", "volumes", "exposedports"})
"""Maps whose keys are chosen by users, where both `Version` and `version` are allowed."""


def parse_object(
    raw: bytes, where: str, *, max_bytes: int = MAX_JSON_BYTES, floats: bool = True
) -> dict[str, Any]:
    """Return the JSON object in `raw`.

    Raises `FormatError` for anything but a UTF-8 JSON object within the limits, and
    `AmbiguousError` for duplicate keys and for keys that differ in case only.
    """
    if len(raw) > max_bytes:
        raise FormatError(
            "too large", subject=where, want=f"at most {max_bytes:,} bytes", got=f"{len(raw):,}"
        )
    limit = _VALUES + len(raw) // _LEAST_VALUE
    if (values := sum(map(raw.count, (b",", b"[", b"{")))) > limit:
        raise FormatError("too many values", subject=where, want=f"at most {limit:,}", got=f"{values:,}")
    if (plain := _decode_plain(raw)) is not None:
        return plain
    try:
        value = _decode(raw, where, floats=floats)
    except UnicodeDecodeError as error:
        raise FormatError("not UTF-8", subject=where, got=f"byte {error.start}") from error
    except RecursionError as error:
        raise FormatError("nested too deeply", subject=where, want=f"at most {MAX_JSON_DEPTH}") from error
    except json.JSONDecodeError as error:
        raise FormatError(
            "not JSON", subject=where, got=f"{error.msg} at line {error.lineno} column {error.colno}"
        ) from error
    if not isinstance(value, dict):
        raise FormatError("not a JSON object", subject=where, got=kind(value))
    _check(value, where)
    return value


class _UnusualError(ValueError):
    """The document has something that only `_decode` and `_check` can judge."""


def _decode_plain(raw: bytes) -> dict[str, Any] | None:
    """Return the object if nothing in it can be ambiguous; None if only a full check can say.

    Such an object is ASCII without escaped code points, has no key twice, not even in another case, and no
    integer of more than 15 digits. That is most records of a ledger and most documents, which are then read
    in less than half the time.
    """
    if not raw.isascii() or b"\\u" in raw:
        return None
    try:
        value = _PLAIN.decode(raw.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    is_flat = raw.count(b"{") + raw.count(b"[") < MAX_JSON_DEPTH
    return value if is_flat or not _is_too_deep(value) else None


def _is_too_deep(value: Any) -> bool:
    """Return whether a value has more than the allowed levels, of which scalars take one too."""
    level = [value]
    for _ in range(MAX_JSON_DEPTH - 1):
        if not level:
            return False
        values = [outer.values() if type(outer) is dict else outer for outer in level]
        level = [inner for outer in values for inner in outer if type(inner) in _CONTAINERS]
    return any(level)


def _plain_pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(items)
    keys = "".join(value)
    if len(value) != len(items) or (keys != keys.lower() and len(set(map(str.lower, value))) != len(value)):
        raise _UnusualError
    return value


def _plain_integer(text: str) -> int:
    if len(text) > _PLAIN_DIGITS or text == "-0":
        raise _UnusualError
    return int(text)


def _not_plain(_: str) -> NoReturn:
    raise _UnusualError


_PLAIN = json.JSONDecoder(
    object_pairs_hook=_plain_pairs,
    parse_int=_plain_integer,
    parse_float=_not_plain,
    parse_constant=_not_plain,
)


def _decode(raw: bytes, where: str, *, floats: bool) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(items)
        if len(value) != len(items):
            ((twin, _),) = Counter(key for key, _ in items).most_common(1)
            raise AmbiguousError("duplicate key", subject=where, got=repr(twin))
        return value

    def constant(name: str) -> NoReturn:
        raise FormatError("not JSON", subject=where, got=name)

    def integer(text: str) -> int:
        if len(text) > len(f"-{MAX_JSON_INTEGER}") or abs(int(text)) > MAX_JSON_INTEGER:
            raise FormatError(
                "integer too large", subject=where, want=f"at most {MAX_JSON_INTEGER}", got=text[:40]
            )
        if text == "-0":
            raise AmbiguousError("negative zero", subject=where, want="0")
        return int(text)

    def real(text: str) -> float:
        if not floats:
            raise FormatError("not an integer", subject=where, got=text[:40])
        if not math.isfinite(value := float(text)):
            raise AmbiguousError("number too large", subject=where, got=text[:40])
        return value

    return json.loads(
        raw.decode("utf-8"),
        object_pairs_hook=pairs,
        parse_constant=constant,
        parse_int=integer,
        parse_float=real,
    )


def _check(top: dict[str, Any], where: str) -> None:
    """Refuse too much depth, keys that differ in case only, and unpaired surrogates, without recursion."""
    open_values: list[tuple[Any, int, bool]] = [(top, 1, False)]
    while open_values:
        value, depth, free = open_values.pop()
        if depth > MAX_JSON_DEPTH:
            raise FormatError("nested too deeply", subject=where, want=f"at most {MAX_JSON_DEPTH}")
        if isinstance(value, dict):
            if not free:
                _refuse_case_twins(value, where)
            for key, inner in value.items():
                _check_text(key, where)
                open_values.append((inner, depth + 1, key.casefold() in _FREE_MAPS))
        elif isinstance(value, list):
            open_values.extend((inner, depth + 1, False) for inner in value)
        elif isinstance(value, str):
            _check_text(value, where)


def _refuse_case_twins(value: dict[str, Any], where: str) -> None:
    seen: dict[str, str] = {}
    for key in value:
        other = seen.setdefault(key.casefold(), key)
        if other != key:
            raise AmbiguousError("keys differ in case only", subject=where, got=f"{other!r} and {key!r}")


def _check_text(text: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError("unpaired surrogate", subject=where, got=repr(text[:40])) from error


def kind(value: object) -> str:
    """Return the name of the JSON type of `value`; `nothing` for a missing key."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "an integer"}
    return names.get(type(value), "nothing" if value is None else "a number")


class Fields:
    """Typed access to one object, with the location in errors; `end()` refuses unused keys."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise FormatError("wrong type", subject=where, want="an object", got=kind(value))
        self._value: Mapping[str, Any] = value
        self._taken: set[str] = set()
        self.where = where

    def take(self, key: str) -> Any:
        """Return the raw value of `key`, or None."""
        self._taken.add(key)
        return self._value.get(key)

    def has(self, key: str) -> bool:
        """Return whether `key` is present, also with the value null."""
        return key in self._value

    def _typed(self, key: str, want: type, name: str) -> Any:
        value = self.take(key)
        if type(value) is not want:
            raise FormatError("wrong type", subject=f"{self.where}: {key}", want=name, got=kind(value))
        return value

    def text(self, key: str) -> str:
        """Return a string."""
        return str(self._typed(key, str, "a string"))

    def optional_text(self, key: str) -> str | None:
        """Return a string, or None if the key is missing or null."""
        return None if self.take(key) is None else self.text(key)

    def integer(self, key: str) -> int:
        """Return an integer of at least 0."""
        value = int(self._typed(key, int, "an integer"))
        if value < 0:
            raise FormatError("negative", subject=f"{self.where}: {key}", got=value)
        return value

    def time(self, key: str) -> datetime:
        """Return a UTC time in whole seconds, `2026-01-31T12:00:00Z`."""
        return parse_time(self.text(key), f"{self.where}: {key}")

    def boolean(self, key: str) -> bool:
        """Return a boolean."""
        return bool(self._typed(key, bool, "a boolean"))

    def items(self, key: str) -> list[Any]:
        """Return a list."""
        return list(self._typed(key, list, "a list"))

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings."""
        found = self.items(key)
        for value in found:
            if not isinstance(value, str):
                raise FormatError(
                    "wrong type", subject=f"{self.where}: {key}", want="strings", got=kind(value)
                )
        return tuple(found)

    def child(self, key: str) -> "Fields":
        """Return an object, as `Fields`."""
        return Fields(self.take(key), f"{self.where}: {key}")

    def children(self, key: str) -> "list[Fields]":
        """Return a list of objects."""
        return [Fields(value, f"{self.where}: {key}[{i}]") for i, value in enumerate(self.items(key))]

    def string_map(self, key: str) -> dict[str, str]:
        """Return an object whose values are all strings; empty if the key is missing."""
        value = self.take(key)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise FormatError(
                "wrong type", subject=f"{self.where}: {key}", want="an object of strings", got=kind(value)
            )
        return dict(value)

    def keys(self) -> tuple[str, ...]:
        """Return all keys of the object."""
        return tuple(self._value)

    def end(self, hint: str | None = None) -> None:
        """Raise `FormatError` if the object has a key that was not read."""
        for key in self._value:
            if key not in self._taken:
                raise FormatError("unknown field", subject=self.where, got=repr(key), hint=hint)


def dump(value: object) -> bytes:
    """Return the canonical bytes of airgap's own documents: no spaces, keys as given, ASCII, no floats."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
