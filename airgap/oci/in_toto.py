"""in-toto Statements v1 in the canonical bytes of FORMAT.md §3: those of bundles, kits and receipts."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from airgap.errors import FormatError
from airgap.oci.digest import Digest
from airgap.oci.strict_json import Fields, dump, parse_object
from airgap.values import dataclass

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


def statement_bytes(
    subjects: Sequence[Mapping[str, Any]], predicate_type: str, predicate: Mapping[str, bytes]
) -> bytes:
    """Return the canonical bytes, with one subject or predicate field a line."""
    fields = b",\n".join(dump(key) + b":" + value for key, value in predicate.items())
    head = b'{"_type":' + dump(STATEMENT_TYPE) + b',\n"subject":' + json_lines(subjects)
    return head + b',\n"predicateType":' + dump(predicate_type) + b',\n"predicate":{\n' + fields + b"}\n}\n"


def json_lines(values: Sequence[object]) -> bytes:
    """Return a JSON list with one element a line."""
    return b"[\n" + b",\n".join(dump(value) for value in values) + b"\n]" if values else b"[]"


def sha256_in(fields: Fields, key: str) -> str:
    """Return a SHA-256 in hex. Raises `FormatError` for anything else."""
    return Digest.parse(f"sha256:{fields.text(key)}", f"{fields.where}: {key}").hex


def one_of(wanted: Sequence[str], fields: Fields, key: str, hint: str | None = None) -> str:
    """Return the text of `key`.

    Raises:
        FormatError: It is not one of the `wanted`; the error has the `hint`.
    """
    got = fields.text(key)
    if got not in wanted:
        raise FormatError(
            "unexpected value", subject=f"{fields.where}: {key}", want=" or ".join(wanted),
            got=repr(got[:80]), hint=hint,
        )  # fmt: skip
    return got


@dataclass(frozen=True, slots=True)
class StatementFields:
    """The fields of a statement while it is read."""

    raw: bytes
    top: Fields
    predicate: Fields
    tool: Fields
    version: str
    """The version of airgap that wrote it."""
    hint: str

    @classmethod
    def of(cls, raw: bytes, where: str, predicate_type: str, what: str, max_bytes: int) -> Self:
        """Open authenticated bytes.

        Args:
            raw: The bytes. Writing the statement again must give the same bytes: see `end`.
            where: Their name in errors.
            predicate_type: The type that the predicate must have.
            what: The kind of statement, for people: `bundle`.
            max_bytes: The limit of `raw`.

        Raises:
            FormatError: They are not a statement of this type by airgap.
        """
        top = Fields(parse_object(raw, where, max_bytes=max_bytes, floats=False), where)
        one_of((STATEMENT_TYPE,), top, "_type")
        newer = f"this is not a {what} of format v1; a newer airgap may be able to read it"
        one_of((predicate_type,), top, "predicateType", newer)
        predicate = top.child("predicate")
        tool = predicate.child("tool")
        one_of(("airgap",), tool, "name")
        version = tool.text("version")
        hint = f"the {what} was written by airgap {version}; use that version or a later one"
        return cls(raw, top, predicate, tool, version, hint)

    def end(self, canonical: bytes) -> None:
        """Raise `FormatError` for a field that was not read, or for bytes that are not `canonical`."""
        for fields in (self.tool, self.predicate, self.top):
            fields.end(self.hint)
        if canonical != self.raw:
            raise FormatError("not in canonical form", subject=self.top.where, hint=self.hint)
