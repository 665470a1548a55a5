"""Recognises lines of a ledger by their form, in a fraction of the time that the parser takes.

Commands write few forms of records, and records of one form differ only in their values. A form is a regular
expression, made from a line that the parser accepted. It has the keys and the punctuation of that line, and
lets plain values differ: strings of ASCII without escapes, and integers of at most 15 digits. Whatever
matches it is a record that the parser accepts too: keys cannot be doubled, and values cannot have other
types. All other lines are left to the parser.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import Any, NamedTuple

from airgap.audit.record import HEAD, TORN
from airgap.oci.strict_json import dump
from airgap.values import dataclass

_CHARACTERS = r'[^"\\\x00-\x1f\x7f-\xff]*+'
_TEXT = f'"{_CHARACTERS}"'
_INTEGER = r"(?:0|-?[1-9][0-9]{0,14}+)"
_HEAD = re.compile(
    r'\{"seq":([1-9][0-9]{0,14}+),"prev":"([0-9a-f]{64})",'
    r'"time":"(([0-9]{4}-[01][0-9]-[0-3][0-9])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z)",'
    rf'"utc_offset":{_TEXT},"boot_id":(?:null|{_TEXT}),"host":{_TEXT},"site":"({_CHARACTERS})","tool":{_TEXT},'
    rf'"user":{_TEXT},("event":"[a-z-]++","phase":"(?:begin|end|note)")'.encode()
)
_head_fields = itemgetter("seq", "prev", "time", "site", "event", "phase")
_MAX_BYTES = 64 << 10
"""A line of a form. The parser's limit on the number of values cannot be exceeded below that."""
_MAX_PATTERN = 8 << 10
_MAX_FORMS, _MAX_FORMS_OF_KIND, _MAX_COUNTED = 256, 32, 1024
_UNLEARNED, _SEEN = 512, 16
"""A form is not worth the time of making it in a short ledger, or for few lines."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a record."""

    event: str
    phase: str
    keys: frozenset[str]
    """The names of its details."""
    pattern: re.Pattern[bytes]
    """Matches what follows the phase. The group `begin` is the number of the begin record, where the form has
    one.
    """


class RecordHead(NamedTuple):
    """What a check of the chain needs of a record."""

    seq: int
    prev: str
    time: str
    site: str
    event: str
    phase: str
    begin: int | None
    """The number of the begin record, if the record names one."""
    keys: Collection[str]
    """The names of all details; more, if the record was parsed."""


def head_of(fields: Mapping[str, Any]) -> RecordHead:
    """Return the head of a record that was parsed."""
    begin = fields.get("begin")
    seq, prev, time, site, event, phase = _head_fields(fields)
    return RecordHead(
        seq, prev, time, site, event, phase, begin if type(begin) is int else None, fields.keys()
    )


class KnownForms:
    """The forms of the records of one ledger, which it learns from lines that the parser accepted."""

    def __init__(self) -> None:
        self._forms: dict[bytes, list[Form]] = {}
        self._dates: set[bytes] = set()
        self._parsed = 0
        self._counts: Counter[str] = Counter()
        self._made = 0

    def recognise(self, raw: bytes) -> RecordHead | None:
        """Return what a line has if its form is known; None if only the parser can judge it."""
        if (head := _HEAD.match(raw)) is None or len(raw) > _MAX_BYTES:
            return None
        seq, prev, time, date, site, kind = head.groups()
        if date not in self._dates:
            return None
        for form in self._forms.get(kind, ()):
            if rest := form.pattern.fullmatch(raw, head.end()):
                begin = int(rest["begin"]) if form.pattern.groups else None
                return RecordHead(
                    int(seq), prev.decode(), time.decode(), site.decode(),
                    form.event, form.phase, begin, form.keys,
                )  # fmt: skip
        return None

    def learn(self, raw: bytes, fields: Mapping[str, Any]) -> None:
        """Take a record that the parser accepted."""
        self._parsed += 1
        if self._parsed <= _UNLEARNED or len(raw) > _MAX_BYTES or (head := _HEAD.match(raw)) is None:
            return
        self._dates.add(head[4])
        if self._made >= _MAX_FORMS or fields["event"] == TORN or b"\\" in raw or dump(fields) != raw:
            return
        details = {key: value for key, value in fields.items() if key not in HEAD}
        with suppress(_NoFormError):
            self._count(head[6], fields["event"], fields["phase"], details)

    def _count(self, kind: bytes, event: str, phase: str, details: Mapping[str, Any]) -> None:
        """Make the form of a record, if enough records have had it."""
        pattern = _pattern_of_details(details)
        counted = f"{event} {phase} {pattern}"
        if len(self._counts) < _MAX_COUNTED or counted in self._counts:
            self._counts[counted] += 1
        known = self._forms.setdefault(kind, [])
        if self._counts[counted] == _SEEN and len(known) < _MAX_FORMS_OF_KIND:
            form = Form(event, phase, frozenset(details), re.compile(pattern.encode()))
            known.append(form)
            self._made += 1


class _NoFormError(ValueError):
    """The pattern would be too long."""


def _pattern_of_details(details: Mapping[str, Any]) -> str:
    members = (
        f'"begin":(?P<begin>{_INTEGER})' if key == "begin" and type(value) is int else _member(key, value)
        for key, value in details.items()
    )
    return _short("".join(f",{member}" for member in members) + r"\}")


def _member(key: str, value: object) -> str:
    return f"{re.escape(dump(key).decode())}:{_pattern(value)}"


def _pattern(value: object) -> str:
    if isinstance(value, str):
        return _TEXT
    if isinstance(value, Mapping):
        return _short(rf"\{{{','.join(_member(key, inner) for key, inner in value.items())}\}}")
    if isinstance(value, list):
        return _short(_pattern_of_list(value))
    return dump(value).decode() if value is None or isinstance(value, bool) else _INTEGER


def _pattern_of_list(items: Collection[object]) -> str:
    """Return the pattern of a list that has any number of such items, in any order."""
    patterns = "|".join(sorted({_pattern(item) for item in items}))
    return rf"\[(?:{patterns})(?:,(?:{patterns}))*+\]" if items else r"\[\]"


def _short(pattern: str) -> str:
    if len(pattern) > _MAX_PATTERN:
        raise _NoFormError
    return pattern
