"""The files of a bundle besides its blobs: their names and contents (FORMAT.md §2), such as the two lists of
images that engines read, `index.json` and `manifest.json`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from airgap.bundle.upstream import trusted_root_file
from airgap.errors import AmbiguousError, FormatError
from airgap.limits import MAX_INDEX_BYTES
from airgap.oci.digest import Digest
from airgap.oci.documents import CONTAINERD_NAME, OCI_INDEX, REF_NAME, Descriptor, ImageManifest
from airgap.oci.reference import PASSING_NAME, ImageReference
from airgap.oci.strict_json import Fields, dump, parse_object
from airgap.values import dataclass

ENVELOPE_FILE = "bundle.dsse.json"
STATEMENT_FILE = "statement.json"
SUMS_FILE = "SHA256SUMS"
VERIFY_FILE = "VERIFY.txt"
SET_ASIDE = ENVELOPE_FILE + ".part"

_KEYID = re.compile(r"[0-9a-f]{64}", re.ASCII)
OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
OCI_LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, slots=True)
class DockerView:
    """The entry of one image in `manifest.json`: the paths of its config and its layers, bottom first."""

    name: ImageReference
    config: str
    layers: tuple[str, ...]

    @classmethod
    def of(cls, name: ImageReference, manifest: ImageManifest) -> "DockerView":
        """Return the view of an image manifest whose blobs are at their usual paths."""
        return cls(name, manifest.config.digest.path, tuple(layer.digest.path for layer in manifest.layers))


def named(descriptor: Descriptor, name: ImageReference) -> Descriptor:
    """Return the entry of `index.json` for an image: its bare descriptor with both name annotations."""
    notes = {REF_NAME: str(name), CONTAINERD_NAME: str(name)}
    return replace(descriptor, platform=None, annotations=notes, artifact_type=None)


def index_json(images: Iterable[tuple[ImageReference, Descriptor]]) -> bytes:
    """Return the bytes of `index.json`: one entry on each line, sorted by name."""
    entries = [
        named(descriptor, name) for name, descriptor in sorted(images, key=lambda image: str(image[0]))
    ]
    lines = b",\n".join(dump(entry.to_json()) for entry in entries)
    return b'{"schemaVersion":2,"mediaType":' + dump(OCI_INDEX) + b',"manifests":[\n' + lines + b"\n]}\n"


def check_names(images: Iterable[tuple[ImageReference, Digest | None]], where: str) -> None:
    """Raise `AmbiguousError` for a name that is not unique at every target (FORMAT.md §2.1): one whose digest
    is not that of the image, one with the same normal form as another name, and a temporary name of airgap.
    """
    seen: dict[ImageReference, ImageReference] = {}
    for name, digest in images:
        if name.digest not in (None, digest):
            raise AmbiguousError(
                "the name has the digest of another image", subject=f"{where}: {name}", want=digest
            )
        if name.is_passing:
            raise AmbiguousError(PASSING_NAME, subject=f"{where}: {name}")
        if (normal := name.normal) in seen:
            raise AmbiguousError(
                "two images have the same name", subject=where, got=f"{seen[normal]} and {name}"
            )
        seen[normal] = name


def read_index(raw: bytes) -> dict[ImageReference, Descriptor]:
    """Return the images of an `index.json` that airgap wrote, by name. Raises `FormatError` for any bytes
    that `index_json` would not write. It is not checked that a digest in a name is that of the image.
    """
    fields = Fields(parse_object(raw, INDEX_FILE, max_bytes=MAX_INDEX_BYTES), INDEX_FILE)
    images: dict[ImageReference, Descriptor] = {}
    for i, entry in enumerate(fields.items("manifests")):
        where = f"{INDEX_FILE}: manifests[{i}]"
        descriptor = Descriptor.parse(entry, where)
        images[ImageReference.parse(descriptor.annotations.get(REF_NAME, ""), where)] = descriptor
    check_names(((name, name.digest) for name in images), INDEX_FILE)
    if index_json(images.items()) != raw:
        raise AmbiguousError("not in canonical form", subject=INDEX_FILE)
    return images


def manifest_json(images: Iterable[DockerView]) -> bytes:
    """Return the bytes of `manifest.json`: one image on each line, sorted by name."""
    return b"[\n" + b",\n".join(map(dump, docker_entries(images))) + b"\n]\n"


def docker_entries(images: Iterable[DockerView]) -> list[dict[str, Any]]:
    """Return the entries of `manifest.json`. Docker accepts only names with a tag and without a digest."""
    return [
        {
            "Config": image.config,
            "RepoTags": [tag] if (tag := repo_tag(image.name)) else [],
            "Layers": list(image.layers),
        }
        for image in sorted(images, key=lambda image: str(image.name))
    ]


def repo_tag(name: ImageReference) -> str | None:
    """Return the name in the form of RepoTags; None if it has no tag."""
    return f"{name.name}:{name.tag}" if name.tag else None


def sha256sums(sums: dict[str, str]) -> bytes:
    """Return the bytes of `SHA256SUMS` for `sums`, the SHA-256 in hex by name."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(sums.items())).encode("ascii")


@dataclass(frozen=True, slots=True)
class BundleContents:
    """The facts about files in a statement, and the small files themselves."""

    small: dict[str, bytes] = field(hash=False)
    """The bytes of all files except blobs, statement, signatures and envelope, by name."""
    subjects: dict[str, str] = field(hash=False)
    """The SHA-256 in hex of all files that the statement lists, by name."""
    total_bytes: int


def describe_contents(
    blobs: Mapping[Digest, tuple[str, int]],
    images: Sequence[tuple[ImageReference, Descriptor]],
    views: Sequence[DockerView],
    roots: Mapping[int, bytes],
    trusted_roots: Iterable[bytes] = (),
) -> BundleContents:
    """Return the contents of a bundle with these blobs (SHA-256 in hex and size, by digest)."""
    small = {
        OCI_LAYOUT_FILE: OCI_LAYOUT,
        INDEX_FILE: index_json(images),
        MANIFEST_FILE: manifest_json(views),
        VERIFY_FILE: Path(__file__).with_name(VERIFY_FILE).read_bytes(),
        **{f"trust/{version}.root.json": raw for version, raw in roots.items()},
        **{trusted_root_file(Digest.of(raw).hex): raw for raw in trusted_roots},
    }
    sums = {name: Digest.of(raw).hex for name, raw in small.items()}
    sums |= {digest.path: sha256 for digest, (sha256, _) in blobs.items()}
    small[SUMS_FILE] = sha256sums(sums)
    sums[SUMS_FILE] = Digest.of(small[SUMS_FILE]).hex
    total = sum(size for _, size in blobs.values()) + sum(map(len, small.values()))
    return BundleContents(small, sums, total)


def signature_file(keyid: str, envelope: str = ENVELOPE_FILE) -> str:
    """Return the file name of the raw signature by this key. An envelope may contain any text as a key id,
    such as a path to another folder: raises `FormatError` if it is not one.
    """
    if not _KEYID.fullmatch(keyid):
        want, got = "64 lower-case hex digits", repr(keyid[:80])
        raise FormatError("not a key id", subject=envelope, want=want, got=got)
    return f"sig/{keyid[:16]}.sig"
