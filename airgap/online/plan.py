"""Plans which blobs a bundle of a lock carries, and which layers a delta leaves out (`left_out_layers`).

Only metadata is fetched, and except for exports every byte is known afterwards. Failures of single images are
collected.
"""

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path

from airgap.bundle.contents import check_names
from airgap.bundle.folders import SpaceNeeded, layers_of
from airgap.bundle.graph import CarriedManifest, ImageGraph, walk_image
from airgap.endpoints.ports import ContentSource, ExportSource, Source
from airgap.errors import (
    AirgapError,
    EndpointError,
    FormatError,
    IntegrityError,
    NotFoundError,
    PartialError,
    TrustError,
)
from airgap.limits import METADATA_JOBS
from airgap.manifest import Lock, LockedImage
from airgap.oci.digest import CheckedReader, Digest, copy
from airgap.oci.documents import (
    CONFIG_TYPES,
    DOCUMENT_TYPES,
    EMPTY_LAYER,
    Descriptor,
    check_size_and_digest,
    subject_of,
)
from airgap.oci.reference import ImageReference
from airgap.online.bases import Bases
from airgap.online.files_source import FilesSource
from airgap.online.platforms import EVERYTHING, Chosen, choose_platforms, has_of
from airgap.trust.cosign import is_material
from airgap.values import dataclass
from airgap.workers import Memo, run_all

OpenSource = Callable[[str, ImageReference | None, Path | None], Source]
"""Opens a source from its kind (`registry`, `docker…`, `archive`, `oci`), the requested
reference, and the file or folder of the source."""

Failures = dict[str, AirgapError]
"""The errors of single images, by name."""

PER_IMAGE = (EndpointError, FormatError, IntegrityError, TrustError)
"""Errors that do not affect other images."""


class DocumentCache:
    """Image manifests, indexes and configs, each read and checked once; for several threads."""

    def __init__(self) -> None:
        self._read: Memo[Digest, bytes] = Memo()

    def read(self, source: ContentSource, reference: ImageReference, descriptor: Descriptor) -> bytes:
        """Return the bytes that `descriptor` names, from the repository of `reference`.

        Raises `FormatError` for media types other than those of documents and configs, and `IntegrityError`
        if the size or the digest is wrong.
        """
        raw = self._read.get(descriptor.digest, lambda: _read(source, reference, descriptor))
        return check_size_and_digest(raw, descriptor, reference)


def _read(source: ContentSource, reference: ImageReference, descriptor: Descriptor) -> bytes:
    if descriptor.media_type in DOCUMENT_TYPES:
        return source.read_document(reference, descriptor)
    if descriptor.media_type not in CONFIG_TYPES:
        raise FormatError("not a config", subject=reference, got=descriptor.media_type)
    out = bytearray()
    stream = source.open_blob(reference, descriptor)
    subject = f"{reference}: config {descriptor.digest}"
    with contextlib.closing(CheckedReader(stream, descriptor.digest, descriptor.size, subject)) as reader:
        copy(reader, out.extend)
    return bytes(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """An image whose blobs are all known by digest."""

    locked: LockedImage
    source: ContentSource
    graph: ImageGraph
    small: dict[Digest, bytes] = field(hash=False)
    """Documents and configs, already read and checked."""
    chosen: Chosen = EVERYTHING


@dataclass(frozen=True, slots=True)
class PlannedExport:
    """Images that one engine or archive exports together; their sizes are known only afterwards."""

    source: ExportSource
    images: tuple[LockedImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlan:
    """The blobs to carry, and their sources."""

    lock: Lock
    images: tuple[PlannedImage, ...]
    exports: tuple[PlannedExport, ...]
    failures: Failures = field(default_factory=dict, hash=False)
    """Images that could not be resolved or planned."""
    held: frozenset[Digest] = frozenset()
    """The blobs that the receiving side has proved to have."""
    bases: Bases = field(default_factory=Bases)
    """The bases that `held` is made of, by site."""
    unknown: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Reasons, by reference: why attachments of an image are not all known, or why one is left out."""

    @property
    def blobs(self) -> dict[Digest, tuple[Descriptor, PlannedImage]]:
        """All blobs to carry, by digest, each with an image that contains it."""
        carried: dict[Digest, tuple[Descriptor, PlannedImage]] = {}
        left_out = self.left_out_layers()
        for image in reversed(self.images):
            contents = image.graph.contents
            carried |= {digest: (blob, image) for digest, blob in contents.items() if digest not in left_out}
        return carried

    def left_out_layers(self, exported: Iterable[ImageGraph] = ()) -> frozenset[Digest]:
        """Return the layers of the planned and the `exported` images that the bundle leaves out: the receiver
        has them, and can use them at their place in every image. Manifests and configs are always carried,
        because they are small and prove the base to the other side. So are foreign layers (FORMAT.md §4).
        """
        if not self.held:
            return frozenset()
        left_out, needed = set[Digest](), set[Digest]()
        for graph in (*(image.graph for image in self.images), *exported):
            for item in graph.manifests:
                usable = _usable_layers(item, self.held) - graph.foreign.keys()
                left_out |= usable
                needed |= {blob.digest for blob in item.manifest.blobs} - usable
        return frozenset(left_out - needed)

    @property
    def total_images(self) -> int:
        """The number of images if none had failed."""
        return len(set(map(str, (image.name for image in self.lock.images))) | set(self.failures))

    @property
    def total_bytes(self) -> int:
        """The bytes of all blobs, each counted once, without exports."""
        return sum(descriptor.size for descriptor, _ in self.blobs.values())

    @property
    def left_out_bytes(self) -> int:
        """The bytes of the layers that are left out, each counted once."""
        layers = {digest: blob for image in self.images for digest, blob in image.graph.blobs.items()}
        return sum(layers[digest].size for digest in self.left_out_layers())

    def left_out_bytes_with(self, held: frozenset[Digest]) -> int:
        """Return the `left_out_bytes` if the receiving side had these blobs."""
        return replace(self, held=_usable(held, self.images)).left_out_bytes


def unknown_value(unknown: Mapping[str, str]) -> list[dict[str, str]]:
    """Return `TransferPlan.unknown` for JSON output."""
    return [{"reference": reference, "reason": reason} for reference, reason in sorted(unknown.items())]


def _usable_layers(item: CarriedManifest, held: frozenset[Digest]) -> set[Digest]:
    """Return the layers of one manifest that the receiver can use from images with the blobs in `held`.

    Docker's classic store keeps a layer only on top of the layers below it. So these are carried: a layer
    above a new one; a layer that is in the image twice, because the base may have it once; and the empty
    layer, which BuildKit writes for each instruction that changes nothing, so that it is in many positions.
    Files have no positions.
    """
    if item.files:
        return {carried.digest for carried in item.files if carried.digest in held}
    layers = [layer.digest for layer in item.manifest.layers]
    diff_ids = item.config.diff_ids if item.config else ()
    counts = Counter(layers)
    known = itertools.takewhile(lambda link: link[0] in held, zip(layers, diff_ids, strict=False))
    return {layer for layer, diff_id in known if counts[layer] == 1 and diff_id != EMPTY_LAYER}


def make_plan(
    lock: Lock,
    open_source: OpenSource,
    held: frozenset[Digest] = frozenset(),
    failures: Failures | None = None,
    documents: DocumentCache | None = None,
) -> TransferPlan:
    """Read the manifests and configs of all locked images that are not in `documents`, and return the plan.

    Raises the error of the first image that failed. With `failures`, puts the errors there and plans the
    other images. Attachments that are not available, or do not match their listing, are left out of the plan
    and of its lock, unless they are required.
    """
    documents = documents or DocumentCache()
    check_names(((image.name, _known_digest(image)) for image in lock.images), "lock")
    lock = replace(lock, images=tuple(replace(image, name=image.name.kept) for image in lock.images))
    direct = [image for image in lock.images if image.descriptor is not None]
    planned: list[PlannedImage | None] = [None] * len(direct)

    def plan(number: int) -> None:
        planned[number] = _plan_image(direct[number], open_source, documents)

    errors = run_all(plan, range(len(direct)), METADATA_JOBS)
    failed = {image: e for image, e in zip(direct, errors, strict=True) if e is not None}
    optional = {i: e for i, e in failed.items() if i.is_optional and isinstance(e, PER_IMAGE)}
    sort_out({str(image.name): e for image, e in failed.items() if image not in optional}, failures)
    lock = replace(lock, images=tuple(image for image in lock.images if image not in optional))
    unknown = {str(i.reference): i.attachments_unknown for i in lock.images if i.attachments_unknown}
    unknown |= {str(image.reference): str(error) for image, error in optional.items()}
    images = tuple(filter(None, planned))
    return TransferPlan(
        lock=lock,
        images=images,
        exports=_plan_exports(lock, open_source),
        failures=failures or {},
        held=_usable(held, images),
        unknown=unknown,
    )


def _usable(held: frozenset[Digest], images: Iterable[PlannedImage]) -> frozenset[Digest]:
    return held - {digest for image in images for digest in image.graph.foreign}


def _known_digest(image: LockedImage) -> Digest | None:
    """Return the image's digest in the bundle; for an export without a pinned digest, None."""
    return image.name.digest if image.descriptor is None else image.descriptor.digest


def _plan_exports(lock: Lock, open_source: OpenSource) -> tuple[PlannedExport, ...]:
    groups: dict[tuple[str, object], list[LockedImage]] = {}
    for image in lock.images:
        if image.descriptor is None:
            groups.setdefault((image.source, image.path), []).append(image)
    exports = []
    for images in groups.values():
        source = open_source(images[0].source, images[0].reference, images[0].path)
        if not isinstance(source, ExportSource):
            raise FormatError(
                "the lock has no digest", subject=images[0].reference, hint="run `airgap lock` again"
            )
        exports.append(PlannedExport(source, tuple(images)))
    return tuple(exports)


def _plan_image(locked: LockedImage, open_source: OpenSource, documents: DocumentCache) -> PlannedImage:
    source = _source_of(locked, open_source)
    if isinstance(source, ExportSource) or locked.descriptor is None:
        raise FormatError("the lock has a digest for an exported image", subject=locked.reference)
    reader = MetadataReader(source, locked, documents)
    chosen = choose_platforms(locked, locked.descriptor, reader.read, has_of(source, locked))
    graph = walk_image(locked.descriptor, reader.read, chosen.entries, str(locked.reference))
    planned = PlannedImage(locked=locked, source=source, graph=graph, small=reader.small, chosen=chosen)
    _check_foreign_layers(planned)
    _check_subject(graph, locked)
    return planned


def _source_of(locked: LockedImage, open_source: OpenSource) -> Source:
    if locked.files:
        return FilesSource(locked, lambda url: open_source(url, None, None))
    return open_source(locked.source, locked.reference, locked.path)


def _check_foreign_layers(image: PlannedImage) -> None:
    """Raise `NotFoundError` if the source lacks a layer with `urls`, because airgap never requests those."""
    missing = {digest for digest, layer in image.graph.foreign.items() if not _source_has(image, layer)}
    items = [item for item in image.graph.manifests if item.config]
    without = [i.platform for i in items if missing & {layer.digest for layer in i.manifest.layers}]
    if without:
        others = ", ".join(dict.fromkeys(str(i.platform) for i in items if i.platform not in without))
        raise NotFoundError(
            "the source does not have a foreign layer, and airgap never requests the addresses in the image",
            subject=f"{image.locked.reference} for {without[0]}",
            want=min(missing),
            hint=f"`platforms: [{others}]` on this image leaves it out"
            if others
            else "use a tag whose base image has ordinary layers, or copy the layer to the source first",
        )


def _source_has(image: PlannedImage, layer: Descriptor) -> bool:
    try:
        stream = image.source.open_blob(image.locked.reference, layer)
    except NotFoundError:
        return False
    with contextlib.closing(stream):
        return True


@dataclass(frozen=True, slots=True)
class MetadataReader:
    """Reads manifests, indexes and configs of one image from its source, each once."""

    source: ContentSource
    locked: LockedImage
    documents: DocumentCache
    small: dict[Digest, bytes] = field(default_factory=dict)
    """The documents that were read, checked."""

    def read(self, descriptor: Descriptor) -> bytes:
        if descriptor.digest not in self.small:
            reference = self.locked.reference
            self.small[descriptor.digest] = self.documents.read(self.source, reference, descriptor)
        return self.small[descriptor.digest]


def _check_subject(graph: ImageGraph, locked: LockedImage) -> None:
    """Raise `IntegrityError` if a listed referrer refers to another image. Images with cosign tags have no
    subject to check.
    """
    if locked.subject is None or locked.reference.tag is not None:
        return
    _, raw = graph.documents[graph.root.digest]
    if (subject := subject_of(raw, str(locked.reference))) != locked.subject:
        raise IntegrityError(
            "the image is listed as an attachment, but refers to another image",
            subject=locked.reference,
            want=f"subject {locked.subject}",
            got=subject or "no subject",
        )


def sort_out(failed: Failures, failures: Failures | None) -> None:
    """Add errors that affect only single images to `failures`; raise any other error."""
    for name, error in failed.items():
        error.subject = error.subject or name  # a reader of one of many files may not name it
        if failures is None or not isinstance(error, PER_IMAGE):
            raise error
        failures[name] = error


def refuse_failures(failures: Failures, total: int, *, hint: str) -> None:
    """Raise the error of a run in which some of `total` images failed: their own error if all have the same
    one, else an error that lists them, with `hint`.
    """
    errors = list(dict.fromkeys(failures.values()))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        partial = PartialError("some images failed", failures, total, hint=hint)
        if len(failures) == total:
            partial.what, partial.got = f"all {total} images failed", None
        raise partial


def space_needed(plan: TransferPlan, title: str) -> SpaceNeeded:
    """Return the space that the bundle called `title` needs, without the exports."""
    blobs = {digest: blob.size for digest, (blob, _) in plan.blobs.items()}
    cut = layers_of((image.graph for image in plan.images), blobs, is_material)
    return SpaceNeeded(title, cut, blobs, len(plan.lock.images))
