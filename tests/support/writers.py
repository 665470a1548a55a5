"""A small bundle in two volumes, and a writer for it."""

from dataclasses import dataclass, field
from pathlib import Path

from airgap.bundle.contents import BundleContents, describe_contents
from airgap.bundle.folders import BundleFolders
from airgap.bundle.store import BlobStore
from airgap.bundle.volume_table import Cut, Part
from airgap.bundle.writer import BundleWriter
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from airgap.oci.reference import ImageReference
from tests.support.streams import Bytes

TITLE = "edge-0001"
LAYER, OTHER, DOCUMENT = b"0123456789" * 100, b"other layer", b'{"a document":1}'
WIDE = Digest.of(LAYER, "sha512")
STATEMENT = b"the statement"
KEYID = "0123456789abcdef" * 4
CUT = Cut(2, {Digest.of(OTHER): (Part(2, len(OTHER)),), WIDE: (Part(1, 400), Part(1, 100), Part(2, 500))})


@dataclass(frozen=True)
class Sealed:
    """What a writer needs of an envelope."""

    raw_signatures: dict[str, bytes] = field(default_factory=lambda: {KEYID: b"signature"})
    payload: bytes = STATEMENT

    def to_bytes(self) -> bytes:
        return b"envelope"


def fill(store: BlobStore) -> BlobStore:
    """All blobs."""
    for raw, algorithm in ((LAYER, "sha512"), (OTHER, "sha256"), (DOCUMENT, "sha256")):
        store.fetch(Descriptor("", Digest.of(raw, algorithm), len(raw)), lambda _, raw=raw: Bytes(raw))
    return store


def contents_of(store: BlobStore) -> BundleContents:
    image = (ImageReference.parse("r.test/x:1"), Descriptor(OCI_MANIFEST, Digest.of(DOCUMENT), len(DOCUMENT)))
    return describe_contents(store.sums, [image], [], {1: b"root"})


def writer_of(folders: BundleFolders) -> BundleWriter:
    return BundleWriter(folders=folders, store=folders.store())


def write(folders: BundleFolders) -> BundleWriter:
    """A whole bundle, as the sending side writes it."""
    writer = writer_of(folders)
    writer.mark_unfinished()
    fill(writer.store)
    writer.seal(contents_of(writer.store), Sealed())
    return writer


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


SMALL = {
    "SHA256SUMS",
    "VERIFY.txt",
    "bundle.dsse.json",
    "index.json",
    "manifest.json",
    "oci-layout",
    "sig/0123456789abcdef.sig",
    "statement.json",
    "trust/1.root.json",
    Digest.of(DOCUMENT).path,
}


def unsummed(cut: Cut) -> Cut:
    """The same as it is before the blobs are there."""
    parts = {
        digest: tuple(Part(part.volume, part.size) for part in found) for digest, found in cut.parts.items()
    }
    return Cut(cut.of, parts)
