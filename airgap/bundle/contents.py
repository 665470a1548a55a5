"""The files of a bundle besides its blobs: their names and contents (FORMAT.md §2)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

from airgap.bundle.names import (
    INDEX_FILE,
    MANIFEST_FILE,
    OCI_LAYOUT,
    OCI_LAYOUT_FILE,
    DockerView,
    index_json,
    manifest_json,
    sha256sums,
)
from airgap.errors import FormatError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference

ENVELOPE_FILE = "bundle.dsse.json"
STATEMENT_FILE = "statement.json"
SUMS_FILE = "SHA256SUMS"
VERIFY_FILE = "VERIFY.txt"
FOLDERS = ("blobs", "blobs/sha256", "blobs/sha512", "sig", "trust")
SET_ASIDE = ENVELOPE_FILE + ".part"

_KEYID = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Contents:
    """The facts about files in a statement, and the small files themselves."""

    small: dict[str, bytes] = field(hash=False)
    """The bytes of all files except blobs, statement, signatures and envelope, by name."""
    subjects: dict[str, str] = field(hash=False)
    """The SHA-256 in hex of all files that the statement lists, by name."""
    total_bytes: int


def describe(
    blobs: Mapping[Digest, tuple[str, int]],
    images: Sequence[tuple[ImageReference, Descriptor]],
    views: Sequence[DockerView],
    roots: Mapping[int, bytes],
) -> Contents:
    """Return the contents of a bundle with these blobs (SHA-256 in hex and size, by digest)."""
    small = {
        OCI_LAYOUT_FILE: OCI_LAYOUT,
        INDEX_FILE: index_json(images),
        MANIFEST_FILE: manifest_json(views),
        VERIFY_FILE: resources.files("airgap.bundle").joinpath(VERIFY_FILE).read_bytes(),
        **{f"trust/{version}.root.json": raw for version, raw in roots.items()},
    }
    sums = {name: Digest.of(raw).hex for name, raw in small.items()}
    sums |= {digest.path: sha256 for digest, (sha256, _) in blobs.items()}
    small[SUMS_FILE] = sha256sums(sums)
    sums[SUMS_FILE] = Digest.of(small[SUMS_FILE]).hex
    total = sum(size for _, size in blobs.values()) + sum(map(len, small.values()))
    return Contents(small, sums, total)


def signature_file(keyid: str, envelope: str = ENVELOPE_FILE) -> str:
    """Return the file name of the raw signature by this key. An envelope may state any key id: raises
    `FormatError` for anything that is not one, such as a path to another folder.
    """
    if not _KEYID.fullmatch(keyid):
        want, got = "64 lower-case hex digits", repr(keyid[:80])
        raise FormatError("not a key id", subject=envelope, want=want, got=got)
    return f"sig/{keyid[:16]}.sig"
