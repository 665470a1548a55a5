"""The statement of a kit: an in-toto Statement in the canonical bytes of FORMAT.md §3, with another
predicate type. It does not contain a time, so the same wheels give the same bytes.
"""

import re
from dataclasses import field
from typing import Self

from airgap.bundle.statement import parse_subjects, subjects_json
from airgap.errors import FormatError
from airgap.limits import MAX_KIT_STATEMENT_BYTES
from airgap.oci.in_toto import StatementFields, json_lines, statement_bytes
from airgap.oci.strict_json import Fields, dump
from airgap.values import dataclass

KIT_PREDICATE_TYPE = "urn:airgap:kit:v1"
KIT_ENVELOPE_FILE = "kit.dsse.json"

_PLATFORM = r"[a-z0-9]+-[a-z0-9_]+"
_PYTHON = r"3\.[1-9][0-9]?"
_TARGET = re.compile(rf"({_PLATFORM})-py({_PYTHON})", re.ASCII)
KIT_FILE_GRAMMAR = re.compile(
    r"SHA256SUMS|VERIFY\.txt|install\.(sh|py)|wheels/[A-Za-z0-9][A-Za-z0-9._+!-]{0,240}\.whl"
    rf"|requirements/{_PLATFORM}-py{_PYTHON}\.txt",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class KitTarget:
    """A machine that a kit can be installed on: `linux-x86_64` and the Python there, `3.11`."""

    platform: str
    python: str

    def __str__(self) -> str:
        return f"{self.platform}-py{self.python}"

    @property
    def minor(self) -> int:
        """11 for Python 3.11."""
        return int(self.python.partition(".")[2])

    @property
    def requirements_file(self) -> str:
        """The file that lists the packages for this target."""
        return f"requirements/{self}.txt"

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """Parse `linux-x86_64-py3.11`; raises `FormatError`."""
        match = _TARGET.fullmatch(text)
        if match is None:
            raise FormatError(
                "not a target", subject=where, want="like linux-x86_64-py3.11", got=repr(text[:80])
            )
        return cls(match[1], match[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class KitStatement:
    """The signed content. `subjects` maps each file's name to its SHA-256 in hex."""

    subjects: dict[str, str] = field(hash=False)
    targets: tuple[KitTarget, ...]
    total_bytes: int
    site: str
    """The site that made the kit."""
    version: str
    """The version of airgap that made the kit, and that it installs."""

    @property
    def title(self) -> str:
        """The name of the kit's folder."""
        return f"airgap-kit-{self.version}"

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        predicate = {
            "targets": json_lines([{"platform": t.platform, "python": t.python} for t in self.targets]),
            "total_bytes": dump(self.total_bytes),
            "site": dump(self.site),
            "tool": dump({"name": "airgap", "version": self.version}),
        }
        return statement_bytes(subjects_json(self.subjects), KIT_PREDICATE_TYPE, predicate)

    @classmethod
    def parse(cls, raw: bytes, where: str = "statement.json") -> Self:
        """Read authenticated bytes; raises `FormatError`, also for bytes that are not canonical."""
        statement = StatementFields.of(raw, where, KIT_PREDICATE_TYPE, "kit", MAX_KIT_STATEMENT_BYTES)
        predicate = statement.predicate
        parsed = cls(
            subjects=parse_subjects(statement.top, KIT_FILE_GRAMMAR, "kit"),
            targets=tuple(_parse_target(item) for item in predicate.children("targets")),
            total_bytes=predicate.integer("total_bytes"),
            site=predicate.text("site"),
            version=statement.version,
        )
        statement.end(parsed.to_bytes())
        return parsed


def _parse_target(fields: Fields) -> KitTarget:
    target = KitTarget.parse(f"{fields.text('platform')}-py{fields.text('python')}", fields.where)
    fields.end()
    return target
