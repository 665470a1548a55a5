"""Recalls in a trust root: bundles that must no longer be used (FORMAT.md §11.1).

A recall names one statement by its SHA-256. Stream, epoch, serial, reason and time are for people, and decide
nothing: a reader that knows the statement compares them with it (`Recall.misnames`).
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from airgap.errors import FormatError, TrustError
from airgap.limits import MAX_REASON_CHARACTERS, MAX_RECALLS
from airgap.oci.strict_json import Fields
from airgap.times import describe_time, format_time, parse_time
from airgap.values import dataclass

KEY = "recalled"
"""The field of a trust root; present only if there are recalls, so that other roots keep their bytes."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_STREAM = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """One bundle that must no longer be used, and the reason."""

    statement_sha256: str
    """The SHA-256 of the statement in hex: the only value that decides."""
    stream: str
    epoch: int
    serial: int
    reason: str
    """The reason, as people on the sending side gave it; every site shows it."""
    time: datetime
    """When it was decided, in whole seconds."""

    @property
    def title(self) -> str:
        """The title of the bundle, such as `stack-0007`, as the recall names it."""
        return f"{self.stream}-{self.serial:04d}"

    @property
    def words(self) -> str:
        """The reason and the time, for people."""
        return f"{self.reason} ({describe_time(self.time)})"

    def misnames(self, stream: str, epoch: int, serial: int) -> bool:
        """Return whether the recall gives another place than this one, which the statement has."""
        return (self.stream, self.epoch, self.serial) != (stream, epoch, serial)

    @classmethod
    def from_json(cls, fields: Fields, hint: str) -> "Recall":
        """Read one recall. Only types are checked here (see `check_recalls`). Raises `FormatError`, with
        `hint` for an unknown field.
        """
        recall = cls(
            statement_sha256=fields.text("statement_sha256"),
            stream=fields.text("stream"),
            epoch=fields.integer("epoch"),
            serial=fields.integer("serial"),
            reason=fields.text("reason"),
            time=parse_time(fields.text("time"), f"{fields.where}: time"),
        )
        fields.end(hint=hint)
        return recall

    @property
    def value(self) -> dict[str, Any]:
        """The JSON value in a trust root."""
        return {
            "statement_sha256": self.statement_sha256,
            "stream": self.stream,
            "epoch": self.epoch,
            "serial": self.serial,
            "reason": self.reason,
            "time": format_time(self.time),
        }


def parse_recalls(fields: Fields, hint: str) -> tuple[Recall, ...]:
    """Read the recalls of a trust root. Raises `FormatError`, also for an empty list and for too many."""
    if not fields.has(KEY):
        return ()
    found = fields.items(KEY)
    if not 1 <= len(found) <= MAX_RECALLS:
        raise FormatError(
            "wrong number of recalls", subject=fields.where, want=f"1 to {MAX_RECALLS}, or no {KEY!r}",
            got=len(found),
        )  # fmt: skip
    return tuple(
        Recall.from_json(Fields(item, f"{fields.where}: {KEY}[{number}]"), hint)
        for number, item in enumerate(found)
    )


def check_recalls(recalls: Sequence[Recall], epoch: int, where: str) -> None:
    """Check the recalls of a trust root of this `epoch`.

    Raises:
        FormatError: There are too many, they are not in ascending order of their SHA-256, one is there twice,
            or a value is not one that a statement could have.
    """
    if len(recalls) > MAX_RECALLS:
        raise FormatError("too many recalls", subject=where, want=f"at most {MAX_RECALLS}", got=len(recalls))
    for recall in recalls:
        _check_recall(recall, epoch, f"{where}: recalled {recall.statement_sha256[:64]}")
    for one, other in pairwise(recalls):
        if one.statement_sha256 >= other.statement_sha256:
            raise FormatError(
                "the recalls are not in order", subject=where, want="each SHA-256 once, in ascending order",
                got=f"{one.statement_sha256} before {other.statement_sha256}",
            )  # fmt: skip


def _check_recall(recall: Recall, epoch: int, where: str) -> None:
    if not _SHA256.fullmatch(recall.statement_sha256):
        raise FormatError("not a SHA-256", subject=where, want="64 lower-case hex digits")
    if not _STREAM.fullmatch(recall.stream) or recall.serial < 1 or not 1 <= recall.epoch <= epoch:
        raise FormatError(
            "not a place in a stream", subject=where, want=f"a stream, an epoch up to {epoch}, a serial",
            got=f"{recall.stream[:80]!r}, epoch {recall.epoch}, serial {recall.serial}",
        )  # fmt: skip
    if not is_reason(recall.reason):
        want = f"1 to {MAX_REASON_CHARACTERS} printable characters"
        raise FormatError("not a reason", subject=where, want=want, got=repr(recall.reason[:80]))
    if recall.time.utcoffset() is None or recall.time.microsecond:
        raise FormatError("not a time in whole seconds with a zone", subject=where, got=recall.time)


def is_reason(text: str) -> bool:
    """Return whether a text may be a reason: it has no spaces around it, is not blank or too long, and has no
    control characters.
    """
    return text == text.strip() and 1 <= len(text) <= MAX_REASON_CHARACTERS and text.isprintable()


def refuse_dropped(old: Iterable[Recall], new: Iterable[Recall], where: str) -> None:
    """Raise `TrustError` unless every recall of the `old` root is in the `new` one, unchanged.

    Otherwise the next version could make a recalled bundle valid again, or change the reason.
    """
    kept = {recall.statement_sha256: recall for recall in new}
    for recall in old:
        now = kept.get(recall.statement_sha256)
        if now != recall:
            raise TrustError(
                "a recall must not be changed or dropped",
                subject=f"{where}: recalled {recall.statement_sha256}",
                want=_exactly(recall),
                got="no recall" if now is None else _exactly(now),
            )


def _exactly(recall: Recall) -> str:
    """Return all parts of a recall, with the time to the second."""
    return f"{recall.title}, epoch {recall.epoch}: {recall.reason} ({format_time(recall.time)})"
