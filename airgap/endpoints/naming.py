"""The names of the images in an archive or layout: one rule for all formats that are read.

An entry of `index.json` has its name in an annotation. containerd, Docker and BuildKit write the whole
name as `io.containerd.image.name` and the tag alone as `org.opencontainers.image.ref.name`; podman, crane
and skopeo write a whole name or a tag as the latter, whichever they were given.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Generic, Protocol, TypeVar

from airgap.errors import AmbiguousError, FormatError
from airgap.oci.digest import Digest
from airgap.oci.documents import CONTAINERD_NAME, OCI_INDEX, REF_NAME, Descriptor, ImageIndex, parse_document
from airgap.oci.reference import PASSING_HOST, ImageReference
from airgap.oci.strict_json import dump, parse_object
from airgap.values import dataclass

EMPTY_INDEX = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})

TEMPORARY = f"{PASSING_HOST}/loading"
"""Temporary names in engines are `airgap.invalid/loading/PID:HEX`. Bundles cannot have a name on that host
(FORMAT.md §2.1)."""

_KEYS = (CONTAINERD_NAME, REF_NAME)
_IDS = ("sha256:", "sha512:")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_SHOWN = 120
_PLACEHOLDER = "i-was-a-digest"
"""The tag that crane writes if it was given none."""

_KIND = re.compile(r"dev\.(?:cosignproject\.cosign|hauler)/(\w+)(?:/.*)?", re.ASCII)
"""The annotation `kind`, by which `cosign save` and Hauler distinguish an image from its attachments.
cosign does not name attachments, and Hauler gives all of them the name of the image.
"""
_IMAGES = frozenset({"image", "imageIndex"})
_EXTRAS = {"sigs": "sig", "atts": "att", "sboms": "sbom", "referrers": None}


class Named(Protocol):
    """An image with its names."""

    @property
    def names(self) -> tuple[ImageReference, ...]:
        """Whole names."""

    @property
    def tag(self) -> str | None:
        """Its tag, if it has no whole name."""

    @property
    def ids(self) -> frozenset[Digest]:
        """Digests that mean this image."""


N = TypeVar("N", bound=Named)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An entry of `index.json`, and the name that its annotations give it."""

    descriptor: Descriptor
    names: tuple[ImageReference, ...] = ()
    tag: str | None = None
    problem: str = ""
    """The reason why a name in the annotations cannot be used; the entry then has no name, and remains
    usable."""

    @property
    def ids(self) -> frozenset[Digest]:
        """The digests that identify this entry."""
        return frozenset({self.descriptor.digest})


@lru_cache(maxsize=4)
def index_entries(raw: bytes, where: str) -> tuple[IndexEntry, ...]:
    """Return the entries of an `index.json`, in order. The same bytes are parsed once, as a layout's are read
    for every image.

    Attachments that `cosign save` and Hauler store beside an image have their registry tag and no name.

    Raises:
        FormatError: for bytes that are not an image index.
        AmbiguousError: for an entry with two different whole names.
    """
    index = parse_document(raw, None, where)
    if not isinstance(index, ImageIndex):
        raise FormatError("not an image index", subject=where, got=index.media_type)
    entries = [_named_entry(descriptor, where) for descriptor in index.manifests]
    kinds = [_kind(descriptor.annotations) for descriptor in index.manifests]
    owners: dict[tuple[ImageReference, ...], set[Digest]] = {}
    for entry, kind in zip(entries, kinds, strict=True):
        if kind in _IMAGES:
            owners.setdefault(entry.names, set()).add(entry.descriptor.digest)
    return tuple(
        IndexEntry(entry.descriptor, tag=_extra_tag(owners.get(entry.names, set()), kind))
        if kind in _EXTRAS
        else entry
        for entry, kind in zip(entries, kinds, strict=True)
    )


def _kind(annotations: Mapping[str, str]) -> str:
    match = _KIND.fullmatch(annotations.get("kind", ""))
    return match[1] if match else ""


def _extra_tag(owners: set[Digest], kind: str) -> str | None:
    """Return the tag at which cosign keeps an attachment of this kind for the one image that owns it."""
    suffix = _EXTRAS[kind]
    if suffix is None or len(owners) != 1:
        return None
    [digest] = owners
    return f"{digest.algorithm}-{digest.hex}.{suffix}"


def _named_entry(descriptor: Descriptor, where: str) -> IndexEntry:
    annotations, digest = descriptor.annotations, descriptor.digest
    texts = [text for key in _KEYS if is_whole_name(text := annotations.get(key, ""))]
    names, problem = usable_names(texts, digest)
    if not texts and (named := annotations.get(CONTAINERD_NAME)):
        problem = f"not a whole name: {named[:_SHOWN]!r}"
    if len({name.normal for name in names}) > 1:
        raise AmbiguousError(
            "an image has two names", subject=f"{where} {digest}", got=" and ".join(map(repr, texts))
        )
    if names:
        return IndexEntry(descriptor, names[:1])
    tag = annotations.get(REF_NAME, "").partition("@")[0]
    return IndexEntry(descriptor, (), tag if _TAG.fullmatch(tag) else None, problem)


def temporary_name(image_id: Digest) -> ImageReference:
    """Return the name under which this process gives an image to an engine before its own name moves."""
    return ImageReference.parse(f"{TEMPORARY}/{os.getpid()}:{image_id.hex[:64]}")


def usable_names(texts: Iterable[str], *digests: Digest) -> tuple[tuple[ImageReference, ...], str]:
    """Return the names that can be used, and the problem with the first that cannot.

    A name with a digest must have one of `digests`: otherwise it would give one image another's digest.
    """
    names: dict[ImageReference, None] = {}
    problem = ""
    for text in texts:
        try:
            name = ImageReference.parse(text)
        except FormatError as error:
            problem = problem or f"unusable name {text[:_SHOWN]!r}: {error.what}"
            continue
        if name.digest is not None and name.digest not in digests:
            problem = problem or f"unusable name {text[:_SHOWN]!r}: it has the digest of another image"
        elif text.startswith(_IDS) or name.tag == _PLACEHOLDER or name.is_passing:
            problem = problem or f"not a name of its own: {text[:_SHOWN]!r}"
        else:
            names[name] = None
    return tuple(names), problem


def is_whole_name(text: str) -> bool:
    """Return whether `text` is meant as a whole name. A bare tag (`1.27`, `1.27@sha256:…`) and a bare digest,
    as the kubelet's containerd has it, would read as the short name of an image.
    """
    name, _, _ = text.partition("@")
    return any(mark in name for mark in "/:") and not name.startswith(_IDS)


class Lookup(Generic[N]):
    """Finds images by digest, by name and by tag; made once for a list of images."""

    def __init__(self, images: Sequence[N]) -> None:
        self.images = images
        self._by_digest: dict[Digest, list[N]] = {}
        self._by_name: dict[ImageReference, list[N]] = {}
        self._by_tag: dict[str, list[N]] = {}
        for image in images:
            for digest in image.ids:
                self._by_digest.setdefault(digest, []).append(image)
            for name in {name.normal for name in image.names}:
                self._by_name.setdefault(name, []).append(image)
            if image.tag is not None:
                self._by_tag.setdefault(image.tag, []).append(image)

    def by_digest(self, digest: Digest | None) -> list[N]:
        """Return the images with this digest."""
        return [] if digest is None else self._by_digest.get(digest, [])

    def by_name(self, reference: ImageReference) -> list[N]:
        """Return the images with the whole name of `reference`, ignoring its digest."""
        return [] if reference.tag is None else self._by_name.get(reference.normal, [])

    def by_tag(self, reference: ImageReference) -> list[N]:
        """Return the image whose only name is the tag of `reference`, if there is exactly one."""
        tagged = self._by_tag.get(reference.tag or "", [])
        return tagged if len(tagged) == 1 else []

    def matching(self, reference: ImageReference) -> list[N]:
        """Return the images that match `reference`: by digest first, then by name, then by tag alone."""
        if reference.digest is not None:
            return self.by_digest(reference.digest)
        return self.by_name(reference) or self.by_tag(reference)


def with_entries(raw: bytes, where: str, named: Mapping[ImageReference, Descriptor]) -> bytes:
    """Return `raw` with each descriptor as the one entry of its name, and all others unchanged.

    A reference without a tag gets an entry named by its digest, unless there is one of that digest. Raises
    `FormatError` if the result could not be read again, for example for too many entries.
    """
    entries = index_entries(raw, where)
    present = {entry.descriptor.digest for entry in entries}
    new = {
        reference.normal if reference.tag else descriptor.digest: _entry_json(reference, descriptor)
        for reference, descriptor in named.items()
        if reference.tag or descriptor.digest not in present
    }
    if not new:
        return raw
    index = parse_object(raw, where)
    kept = zip(index["manifests"], entries, strict=True)
    index["manifests"] = [
        value for value, entry in kept if not any(name.tag and name.normal in new for name in entry.names)
    ]
    index["manifests"] += new.values()
    changed = dump(index)
    index_entries(changed, where)
    return changed


def without_entry(raw: bytes, where: str, reference: ImageReference) -> bytes:
    """Return `raw` without the entries of that name, and all others unchanged."""
    index, entries = parse_object(raw, where), index_entries(raw, where)
    kept = zip(index["manifests"], entries, strict=True)
    index["manifests"] = [
        value for value, entry in kept if not any(name.normal == reference.normal for name in entry.names)
    ]
    return dump(index)


def _entry_json(reference: ImageReference, descriptor: Descriptor) -> dict[str, object]:
    name = str(reference.with_digest(descriptor.digest).kept)
    others = {key: text for key, text in descriptor.annotations.items() if key not in _KEYS}
    return descriptor.to_json() | {"annotations": others | dict.fromkeys(_KEYS, name)}
