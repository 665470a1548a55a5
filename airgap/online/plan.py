"""What a lock would carry: every byte known, nothing fetched but metadata."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from airgap.bundle.graph import ImageGraph, walk
from airgap.endpoints.ports import ContentSource, ExportSource
from airgap.errors import FormatError, IntegrityError, NotFoundError
from airgap.manifest import Lock, LockedImage
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor, ImageIndex, subject_of
from airgap.oci.platform import Platform
from airgap.online.sources import METADATA_JOBS, PER_IMAGE, Documents, Failures, OpenSource, sort_out
from airgap.workers import run_all

ATTESTED = "vnd.docker.reference.digest"
"""Names, on an attestation's entry in an index, the image manifest that it is about (BuildKit)."""


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image whose every blob is known by digest."""

    locked: LockedImage
    source: ContentSource
    graph: ImageGraph
    small: dict[Digest, bytes] = field(hash=False)
    """Documents and configs, already read and checked."""


@dataclass(frozen=True, slots=True)
class PlannedExport:
    """Images that one engine or archive hands out whole; their sizes show only then."""

    source: ExportSource
    images: tuple[LockedImage, ...]


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """Which bytes, from where."""

    lock: Lock
    images: tuple[PlannedImage, ...]
    exports: tuple[PlannedExport, ...]
    failures: Failures = field(default_factory=dict, hash=False)
    """Images that could not be resolved or planned."""
    held: frozenset[Digest] = frozenset()
    """What the receiving side proved to hold: layers among it stay behind."""
    unknown: Mapping[str, str] = field(default_factory=dict, hash=False)
    """By reference, images whose attachments are not all known and attachments that are left out, and why."""

    @property
    def blobs(self) -> dict[Digest, tuple[Descriptor, PlannedImage]]:
        """Everything to carry, each digest once, and an image that has it."""
        found: dict[Digest, tuple[Descriptor, PlannedImage]] = {}
        for image in reversed(self.images):
            left = spared(image.graph, self.held)
            contents = image.graph.contents
            found |= {digest: (blob, image) for digest, blob in contents.items() if digest not in left}
        return found

    @property
    def total_images(self) -> int:
        """How many images there would be, had none failed."""
        return len(set(map(str, (image.name for image in self.lock.images))) | set(self.failures))

    @property
    def total_bytes(self) -> int:
        """Bytes of all blobs, each counted once; exports not counted."""
        return sum(descriptor.size for descriptor, _ in self.blobs.values())

    @property
    def spared_bytes(self) -> int:
        """Bytes of the layers that stay behind, each counted once."""
        layers = {d: layer for i in self.images for d, layer in spared(i.graph, self.held).items()}
        return sum(layer.size for layer in layers.values())


def unknown_value(unknown: Mapping[str, str]) -> list[dict[str, str]]:
    """`TransferPlan.unknown` in JSON."""
    return [{"reference": reference, "reason": reason} for reference, reason in sorted(unknown.items())]


def spared(graph: ImageGraph, held: frozenset[Digest]) -> dict[Digest, Descriptor]:
    """The layers of an image that stay behind. Manifests and configs always travel: they are small,
    and the other side proves its base by them.
    """
    layers = (layer for item in graph.manifests if item.config for layer in item.manifest.layers)
    return {layer.digest: layer for layer in layers if layer.digest in held}


def make_plan(
    lock: Lock,
    open_source: OpenSource,
    held: frozenset[Digest] = frozenset(),
    failures: Failures | None = None,
    documents: Documents | None = None,
) -> TransferPlan:
    """Read the manifests and configs of all locked images, as far as they are not in `documents`.

    Raises the first image's error, or, with `failures`, plans the others. Attachments that cannot be had, or
    are not what they are listed as, are left out of the plan, and of its lock, unless they are required.
    """
    documents = documents or Documents()
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
    return TransferPlan(lock, images, _plan_exports(lock, open_source), failures or {}, held, unknown)


def _plan_exports(lock: Lock, open_source: OpenSource) -> tuple[PlannedExport, ...]:
    groups: dict[tuple[str, object], list[LockedImage]] = {}
    for image in lock.images:
        if image.descriptor is None:
            groups.setdefault((image.source, image.path), []).append(image)
    found = []
    for images in groups.values():
        source = open_source(images[0].source, images[0].reference, images[0].path)
        if not isinstance(source, ExportSource):
            raise FormatError("the lock has no digest", subject=images[0].reference, hint="run `airgap lock`")
        found.append(PlannedExport(source, tuple(images)))
    return tuple(found)


def _plan_image(locked: LockedImage, open_source: OpenSource, documents: Documents) -> PlannedImage:
    source = open_source(locked.source, locked.reference, locked.path)
    if isinstance(source, ExportSource) or locked.descriptor is None:
        raise FormatError("the lock has a digest for an export", subject=locked.reference)
    small: dict[Digest, bytes] = {}

    def read(descriptor: Descriptor) -> bytes:
        if descriptor.digest not in small:
            small[descriptor.digest] = documents.read(source, locked.reference, descriptor)
        return small[descriptor.digest]

    where = str(locked.reference)
    graph = walk(locked.descriptor, read, lambda index: choose(index, locked.platforms, where), where)
    check_platform(graph, locked.platforms, where)
    _check_subject(graph, locked)
    return PlannedImage(locked, source, graph, small)


def _check_subject(graph: ImageGraph, locked: LockedImage) -> None:
    """Raise `IntegrityError` when a listed referrer refers to something else. Under cosign's tags there is no
    subject to check.
    """
    if locked.subject is None or locked.reference.tag is not None:
        return
    _, raw = graph.documents[graph.root.digest]
    if (found := subject_of(raw, str(locked.reference))) != locked.subject:
        raise IntegrityError(
            "listed as attached to an image that it does not refer to",
            subject=locked.reference,
            want=f"subject {locked.subject}",
            got=found or "no subject",
        )


def choose(index: ImageIndex, platforms: Iterable[Platform], where: str) -> list[Descriptor]:
    """The entries of `index` for `platforms` (all, when empty), and the attestations about them.

    Raises `NotFoundError` for a platform that the index does not have.
    """
    wanted = set(platforms)
    if not wanted:
        return list(index.manifests)
    missing = wanted - {entry.platform for entry in index.manifests}
    if missing:
        raise NotFoundError(
            "no image for the platform",
            subject=where,
            want=", ".join(map(str, sorted(missing))),
            got=", ".join(str(entry.platform) for entry in index.manifests if entry.platform),
        )
    chosen = {str(entry.digest) for entry in index.manifests if entry.platform in wanted}
    return [
        entry
        for entry in index.manifests
        if str(entry.digest) in chosen or entry.annotations.get(ATTESTED) in chosen
    ]


def check_platform(graph: ImageGraph, platforms: Iterable[Platform], where: str) -> None:
    """Raise `NotFoundError` when a single-platform image is not for any of `platforms`."""
    wanted = set(platforms)
    carried = [item.platform for item in graph.manifests if item.config]
    if wanted and carried and not wanted & set(carried):
        raise NotFoundError(
            "the image is for another platform",
            subject=where,
            want=" or ".join(map(str, sorted(wanted))),
            got=", ".join(map(str, carried)),
        )
