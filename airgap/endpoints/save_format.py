"""The tables of contents of an image archive: `index.json` (OCI image layout) and `manifest.json` (Docker).

`docker save` writes only the latter before version 25, both since; containerd and skopeo write the former.
Each program reads the one it prefers, so an archive with both must name the same images in both.
"""

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from typing import Protocol

from airgap.bundle.tar_entries import TarEntry
from airgap.endpoints.naming import IndexEntry, Lookup, index_entries, usable_names
from airgap.errors import (
    AmbiguousError,
    DigestMismatchError,
    FormatError,
    MissingContentError,
    NotFoundError,
    SizeMismatchError,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import (
    DOCUMENT_TYPES,
    Descriptor,
    ImageConfig,
    ImageIndex,
    ImageManifest,
    check_size_and_digest,
    parse_document,
)
from airgap.oci.graph import Document, walk_documents
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import is_fallback_tag
from airgap.oci.spelling import SAVED_IMAGES, check_spelling
from airgap.oci.strict_json import Fields, parse_object
from airgap.values import dataclass

INDEX = "index.json"
MANIFEST = "manifest.json"
MARKER = "oci-layout"

_MAX_NODES = 10_000
_HEX_NAME = re.compile(r"(?:.*/)?(?:sha256:)?([0-9a-f]{64})(?:\.json)?", re.ASCII)


class ArchiveFiles(Protocol):
    """The files of an archive by name; links are followed one step, inside the archive only."""

    def size(self, name: str) -> int | None:
        """Return the file's size in bytes, or None if it does not exist."""

    def read(self, name: str) -> bytes:
        """Return all of an existing file. Raises `FormatError` if it has more than 4 MiB."""


@dataclass(slots=True)
class Listing:
    """Sizes of the files, and targets of links."""

    sizes: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def add(self, entry: TarEntry) -> None:
        if entry.kind == "file":
            self.sizes[entry.name] = entry.size
        elif entry.kind == "symlink":
            self.links[entry.name] = posixpath.normpath(
                posixpath.join(posixpath.dirname(entry.name), entry.target)
            )
        elif entry.kind == "hardlink":
            self.links[entry.name] = posixpath.normpath(entry.target)

    def resolve(self, name: str) -> str:
        """Return the name of the file itself: Docker 20.10 links identical layers."""
        return self.links.get(name, name)

    def size(self, name: str) -> int | None:
        return self.sizes.get(self.resolve(name))

    def unsaved_blob(self, digest: Digest) -> bytes | None:  # noqa: ARG002
        """Return a blob that is in memory and not in the sink."""
        return None


@dataclass(frozen=True, slots=True)
class OciImage:
    """An entry of `index.json`, with all of its content in the archive."""

    names: tuple[ImageReference, ...]
    descriptor: Descriptor
    documents: tuple[tuple[Descriptor, bytes], ...]
    """The document itself and those that it names: image indexes, and image manifests whose blobs are
    complete."""
    blobs: tuple[Descriptor, ...]
    """The configs and layers of these documents."""
    configs: frozenset[Digest]
    tag: str | None = None
    """Its tag, if it has no whole name."""
    problem: str = ""
    """The reason why one of its names cannot be used."""
    subject: Digest | None = None
    """The image that it is attached to, if it is a signature, an SBOM or the like."""

    @property
    def image_id(self) -> Digest:
        return self.descriptor.digest

    @property
    def ids(self) -> frozenset[Digest]:
        """The digests that identify this image and no other part of it."""
        return frozenset({self.descriptor.digest})


@dataclass(frozen=True, slots=True)
class DockerImage:
    """An entry of `manifest.json`."""

    names: tuple[ImageReference, ...]
    config: ImageConfig
    layers: tuple[str, ...]
    """Names of files, from the bottom layer up, as many as the config has diff IDs."""
    problem: str = ""
    """The reason why one of its names cannot be used."""

    tag = None
    subject = None

    @property
    def image_id(self) -> Digest:
        return Digest.of(self.config.raw)

    @property
    def ids(self) -> frozenset[Digest]:
        return frozenset({self.image_id})


SavedImage = OciImage | DockerImage


def read_images(files: ArchiveFiles, *, docker: bool | None = None) -> list[SavedImage]:
    """Return the images in the requested form; with None, those of `index.json` if it exists, followed by
    those without a name that only `manifest.json` has: Docker 25 and later list the second of two image IDs
    that way.

    Raises `FormatError`, `AmbiguousError` if both forms exist and differ, and `IntegrityError` if a document
    or blob is missing or wrong. Content of layers is not checked.
    """
    oci = _read_oci(files) if files.size(INDEX) is not None else None
    plain = _read_docker(files) if files.size(MANIFEST) is not None else None
    more = _compare(oci, plain) if oci is not None and plain is not None else []
    listed: list[SavedImage] | None = None if oci is None else [*oci, *more]
    wanted: Sequence[SavedImage] | None
    wanted = (listed if listed is not None else plain) if docker is None else plain if docker else listed
    if wanted is None:
        names = {None: f"{INDEX} or {MANIFEST}", True: MANIFEST, False: INDEX}
        raise FormatError(
            "not an image archive", want=names[docker], got="none",
            hint="it must come from `docker save`, or contain an OCI image layout at its top",
        )  # fmt: skip
    return list(wanted)


def choose_image(images: Lookup[SavedImage], reference: ImageReference) -> SavedImage:
    """Return the image that `reference` means; its digest (an image ID) takes precedence over its name.

    Raises `NotFoundError`, and `AmbiguousError` if several images have the name.
    """
    by_id = {image.image_id: image for image in images.matching(reference)}
    if not by_id:
        raise NotFoundError("no such image in the archive", subject=reference)
    if len(by_id) > 1:
        raise AmbiguousError(
            "several images have the same name", subject=reference, got=", ".join(sorted(map(str, by_id)))
        )
    return next(iter(by_id.values()))


def _read_oci(files: ArchiveFiles) -> list[OciImage]:
    raw = files.read(INDEX)
    if "manifests" in (value := parse_object(raw, INDEX)) and value["manifests"] is None:
        return []  # of an image without a name, as Docker 25.0.0 saves it
    walk = _Walk(files)
    images = [walk.image(entry) for entry in index_entries(raw, INDEX)]
    lists = [image for image in images if is_fallback_tag(image.tag)]
    return images + [walk.image(IndexEntry(node)) for image in lists for node, _ in image.documents[1:]]


class _Walk:
    """Follows descriptors through the archive, within limits."""

    def __init__(self, files: ArchiveFiles) -> None:
        self._files = files
        self._left = _MAX_NODES

    def image(self, entry: IndexEntry) -> OciImage:
        descriptor = entry.descriptor
        if descriptor.media_type not in DOCUMENT_TYPES:
            raise FormatError(
                "unsupported media type", subject=f"{INDEX}: {descriptor.digest}", got=descriptor.media_type
            )
        nodes = list(self._nodes(descriptor))
        manifests = [document for _, document in nodes if isinstance(document, ImageManifest)]
        if not manifests:
            raise MissingContentError("no platform of the image is complete", subject=descriptor.digest)
        root = nodes[0][1]
        return OciImage(
            entry.names,
            replace(descriptor, annotations={}),
            tuple((node, document.raw) for node, document in nodes),
            tuple({blob.digest: blob for manifest in manifests for blob in manifest.blobs}.values()),
            frozenset(manifest.config.digest for manifest in manifests),
            entry.tag,
            entry.problem,
            root.subject.digest if isinstance(root, ImageManifest) and root.subject else None,
        )

    def _nodes(self, root: Descriptor) -> Iterator[tuple[Descriptor, Document]]:
        for descriptor, document in walk_documents(
            root, lambda child: self._read(child, required=child is root)
        ):
            if isinstance(document, ImageIndex) or self._is_whole(document, required=descriptor is root):
                yield descriptor, document

    def _read(self, descriptor: Descriptor, *, required: bool) -> Document | None:
        self._left -= 1
        subject = str(descriptor.digest)
        if self._left < 0:
            raise FormatError("too many image manifests", subject=subject, want=f"at most {_MAX_NODES:,}")
        if self._files.size(descriptor.digest.path) is None:
            if required:
                raise MissingContentError("not in the archive", subject=subject)
            return None
        raw = check_size_and_digest(self._files.read(descriptor.digest.path), descriptor, descriptor.digest)
        return parse_document(raw, descriptor.media_type, subject)

    def _is_whole(self, manifest: ImageManifest, *, required: bool) -> bool:
        for blob in manifest.blobs:
            self._left -= 1
            size = self._files.size(blob.digest.path)
            if size is None and required:
                raise MissingContentError(
                    "not in the archive", subject=blob.digest, want=f"part of {manifest.digest}"
                )
            if size is None:
                return False
            if size != blob.size:
                raise SizeMismatchError(
                    "wrong size", subject=blob.digest, want=f"{blob.size:,} bytes", got=f"{size:,}"
                )
        return True


def _read_docker(files: ArchiveFiles) -> list[DockerImage]:
    document = parse_object(b'{"images":' + files.read(MANIFEST) + b"}", MANIFEST)
    check_spelling(document, SAVED_IMAGES, MANIFEST)
    top = Fields(document, MANIFEST)
    items = top.children("images")
    top.end()
    return [_docker_image(item, files) for item in items]


def _docker_image(item: Fields, files: ArchiveFiles) -> DockerImage:
    config = ImageConfig.parse(_config(item.text("Config"), files), f"{item.where}: Config")
    layers = item.texts("Layers") if item.take("Layers") is not None else ()
    tags = item.texts("RepoTags") if item.take("RepoTags") is not None else ()
    for layer in layers:
        if files.size(layer) is None:
            raise MissingContentError("not in the archive", subject=repr(layer))
    if len(layers) != len(config.diff_ids):
        raise FormatError(
            "the layers do not match the config",
            subject=item.where, want=f"{len(config.diff_ids)} layers", got=len(layers),
        )  # fmt: skip
    names, problem = usable_names(tags, Digest.of(config.raw))
    return DockerImage(names, config, layers, problem)


def _config(name: str, files: ArchiveFiles) -> bytes:
    """Return the config; if its file is named after a digest, the digest must be its own."""
    if files.size(name) is None:
        raise MissingContentError("not in the archive", subject=repr(name))
    raw = files.read(name)
    match, found = _HEX_NAME.fullmatch(name), Digest.of(raw)
    if match and match[1] != found.hex:
        raise DigestMismatchError("wrong digest", subject=repr(name), want=match[1], got=found.hex)
    return raw


def _compare(oci: list[OciImage], docker: list[DockerImage]) -> list[DockerImage]:
    """Return the images without a name that only `manifest.json` has. Every other one must be the image that
    `index.json` has under that name.

    The reverse does not hold for archives of the containerd image store: there `manifest.json`
    knows only the engine's own platform, and one of several names.
    """
    listed = {config for entry in oci for config in entry.configs}
    for image in docker:
        for name in image.names:
            entries = [entry for entry in oci if name in entry.names]
            entries = entries or [entry for entry in oci if not entry.names]
            if not any(image.image_id in entry.configs for entry in entries):
                raise AmbiguousError(
                    f"{INDEX} and {MANIFEST} disagree",
                    subject=name,
                    want=" or ".join(sorted(str(c) for entry in entries for c in entry.configs))
                    or "no image",
                    got=image.image_id,
                )
    return [image for image in docker if not image.names and image.image_id not in listed]
