"""The artifact that carries files: their names, their modes and the form of its manifest (FORMAT.md §4.1)."""

import re
from collections.abc import Iterable, Sequence
from enum import Enum, StrEnum
from typing import Any, Self

from airgap.errors import AmbiguousError, FormatError
from airgap.limits import (
    MAX_ARTIFACT_FILES,
    MAX_BLOB_BYTES,
    MAX_FILE_NAME_CHARACTERS,
    MAX_FILE_NAME_PART_CHARACTERS,
    MAX_FILE_NAME_PARTS,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, SCHEMA_VERSION, Descriptor, ImageManifest
from airgap.oci.strict_json import Fields, dump
from airgap.values import dataclass

FILES_ARTIFACT = "application/vnd.airgap.files.v1"
EMPTY_CONFIG = b"{}"
"""The content of the empty descriptor (OCI image-spec 1.1)."""
PART_SUFFIX = ".airgap-part"
"""The end of the name of a file while it is written into a folder."""

_EMPTY = Descriptor("application/vnd.oci.empty.v1+json", Digest.of(EMPTY_CONFIG), len(EMPTY_CONFIG))
_LAYER = "application/octet-stream"
_TITLE = "org.opencontainers.image.title"
"""As `oras pull` reads it: the name of the file to write."""
_MODE = "vnd.airgap.file.mode"
_PART = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._+@=,~() -]*", re.ASCII)
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]) *(?:\..*)?", re.ASCII | re.IGNORECASE)


class FileMode(StrEnum):
    """The permissions of a carried file."""

    DATA = "0644"
    PROGRAM = "0755"

    @property
    def bits(self) -> int:
        """The mode as `chmod` takes it."""
        return int(self, 8)


class FileState(Enum):
    """What is in a folder under the name of a carried file."""

    ABSENT = "absent"
    SAME = "the same"
    OTHER_MODE = "the same content with another mode"
    DIFFERENT = "other content"


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedFile:
    """One file of an artifact: its name in a folder, with `/`, its mode and its content."""

    name: str
    mode: FileMode
    digest: Digest
    size: int
    """The size in bytes."""

    @classmethod
    def from_json(cls, fields: Fields) -> Self:
        """Read an element of `files` in a statement. Raises `FormatError`."""
        carried = cls(
            name=check_file_name(fields.text("name"), fields.where),
            mode=_parse_mode(fields.text("mode"), fields.where),
            digest=_sha256(Digest.parse(fields.text("digest"), fields.where), fields.where),
            size=fields.integer("size"),
        )
        if carried.size > MAX_BLOB_BYTES:
            raise FormatError("too large", subject=fields.where, want=f"at most {MAX_BLOB_BYTES:,} bytes")
        fields.end()
        return carried

    def to_json(self) -> dict[str, Any]:
        """Return the element of `files` in a statement."""
        return {"name": self.name, "mode": str(self.mode), "digest": str(self.digest), "size": self.size}

    @property
    def layer(self) -> Descriptor:
        """The layer with the content of the file."""
        notes = {_TITLE: self.name, _MODE: str(self.mode)}
        return Descriptor(_LAYER, self.digest, self.size, annotations=notes)


def check_file_name(name: str, where: object) -> str:
    """Return `name` if every system can have such a file, below any folder. Raises `FormatError`."""
    parts = name.split("/")
    if len(name) > MAX_FILE_NAME_CHARACTERS or len(parts) > MAX_FILE_NAME_PARTS:
        want = f"at most {MAX_FILE_NAME_CHARACTERS} characters in {MAX_FILE_NAME_PARTS} parts"
        raise FormatError("the name of a file is too long", subject=where, want=want, got=repr(name[:80]))
    if not all(map(_is_plain_part, parts)):
        raise FormatError(
            "not the name of a file that can be carried",
            subject=where,
            want="ASCII letters, digits and ._-+@=,~(), not a name that a system reserves",
            got=repr(name),
        )
    return name


def _is_plain_part(part: str) -> bool:
    return (
        len(part) <= MAX_FILE_NAME_PART_CHARACTERS
        and _PART.fullmatch(part) is not None
        and not part.endswith((".", " ", PART_SUFFIX))
        and _DEVICE.fullmatch(part) is None
    )


def check_file_names(names: Iterable[str], where: object) -> None:
    """Raise `AmbiguousError` for two names that could not be in one folder: equal ones under case folding,
    and a name that is the folder of another.
    """
    files: dict[str, str] = {}
    for name in names:
        if (other := files.get(name.casefold())) is not None:
            raise AmbiguousError("two files have the same name", subject=where, got=f"{other!r} and {name!r}")
        files[name.casefold()] = name
    for folded, name in files.items():
        parts = folded.split("/")
        for count in range(1, len(parts)):
            if (other := files.get("/".join(parts[:count]))) is not None:
                got = f"{other!r} and {name!r}"
                raise AmbiguousError("a file has the name of a folder", subject=where, got=got)


def files_record(files: Iterable[CarriedFile]) -> list[dict[str, str]]:
    """Return the names and digests of files for a record in the ledger."""
    return [{"name": item.name, "digest": str(item.digest)} for item in files]


def artifact_manifest(files: Sequence[CarriedFile]) -> bytes:
    """Return the manifest of an artifact with these files, in any order."""
    return dump(
        {
            "schemaVersion": SCHEMA_VERSION,
            "mediaType": OCI_MANIFEST,
            "artifactType": FILES_ARTIFACT,
            "config": _EMPTY.to_json(),
            "layers": [item.layer.to_json() for item in sorted(files, key=lambda item: item.name)],
        }
    )


def artifact_descriptor(files: Sequence[CarriedFile]) -> Descriptor:
    """Return the descriptor of `artifact_manifest`."""
    raw = artifact_manifest(files)
    return Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw))


def files_of(manifest: ImageManifest, where: str) -> tuple[CarriedFile, ...]:
    """Return the files of an artifact; none of any other image or artifact.

    Raises:
        FormatError: It has the artifact type, but not the form of FORMAT.md §4.1.
    """
    if manifest.artifact_type != FILES_ARTIFACT:
        return ()
    if not 0 < len(manifest.layers) <= MAX_ARTIFACT_FILES:
        want = f"1 to {MAX_ARTIFACT_FILES:,}"
        raise FormatError("wrong number of files", subject=where, want=want, got=len(manifest.layers))
    files = tuple(_file(layer, where) for layer in manifest.layers)
    check_file_names((item.name for item in files), where)
    if artifact_manifest(files) != manifest.raw:
        raise AmbiguousError("the manifest of files is not in canonical form", subject=where)
    return files


def _file(layer: Descriptor, where: str) -> CarriedFile:
    return CarriedFile(
        name=check_file_name(layer.annotations.get(_TITLE, ""), where),
        mode=_parse_mode(layer.annotations.get(_MODE, ""), where),
        digest=_sha256(layer.digest, where),
        size=layer.size,
    )


def _parse_mode(text: str, where: str) -> FileMode:
    if text not in tuple(FileMode):
        want = " or ".join(FileMode)
        raise FormatError("not the mode of a carried file", subject=where, want=want, got=repr(text[:80]))
    return FileMode(text)


def _sha256(digest: Digest, where: str) -> Digest:
    if digest.algorithm != "sha256":
        raise FormatError("not a SHA-256", subject=where, got=digest)
    return digest
