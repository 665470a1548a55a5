"""Fetches a plan's blobs into a blob store: each of them once, in parallel, and checked."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace

from airgap.bundle.graph import ImageGraph, walk_image
from airgap.bundle.statement import REPACKED, ImageRecord
from airgap.bundle.store import BlobStore, Store, fill
from airgap.bundle.upstream import Upstream
from airgap.endpoints.ports import ExportedImage
from airgap.errors import AirgapError, IntegrityError, MissingContentError, UnsignedError
from airgap.limits import MAX_JSON_BYTES
from airgap.manifest import LockedImage
from airgap.oci.digest import Advance, ByteStream
from airgap.oci.documents import Descriptor, ImageIndex
from airgap.oci.reference import ImageReference
from airgap.online.files_source import FilesSource
from airgap.online.plan import PER_IMAGE, Failures, PlannedExport, PlannedImage, TransferPlan, refuse_failures
from airgap.online.platforms import EVERYTHING, Chosen, choose_platforms
from airgap.progress import Progress
from airgap.values import dataclass

_PACK_AGAIN = "run the same command again (fetched content is kept), or seal without them: --allow-partial"


@dataclass(frozen=True, slots=True)
class CollectedImage:
    """An image whose blobs are all in the store, and checked."""

    record: ImageRecord
    graph: ImageGraph
    chosen: Chosen = EVERYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Fetches blobs that are missing or damaged in a store.

    `held` has the exported images that the folder should contain from an earlier run. `before_change` is
    called before existing content changes.
    """

    store: BlobStore
    jobs: int
    progress: Progress
    held: Mapping[ImageReference, Descriptor]
    before_change: Callable[[], None]
    engines: set[str] = field(default_factory=set)
    """The engines that images were saved from; filled by `collect`."""

    def collect(self, plan: TransferPlan) -> tuple[list[CollectedImage], Failures]:
        """Return the images that are now in the store, checked, and the failures by image. A failure of the
        medium affects all images, so it is raised. The store may contain more than they need: see `prune`.
        """
        failures = fetch_blobs(plan, self.store, self.jobs, self.progress, self.before_change)
        collected = [image for image in planned_images(plan) if str(image.record.name) not in failures]
        for export in plan.exports:
            try:
                collected += self._export(export)
            except PER_IMAGE as error:
                failures |= {str(image.name): error for image in export.images}
        order = {image.name: number for number, image in enumerate(plan.lock.images)}
        return sorted(collected, key=lambda image: order[image.record.locked_name]), plan.failures | failures

    def _export(self, export: PlannedExport) -> list[CollectedImage]:
        with self.progress.phase(f"saving from {export.source.name}", 0) as advance:
            exported = self._held_exports(export, advance)
            if exported is None:
                self.before_change()
                self._note_engine(export.source.describe_engine())
                references = [image.reference for image in export.images]
                exported = export.source.export(references, self.store, advance)
        collected = []
        for locked, image in zip(export.images, exported, strict=True):
            if image.image_id != locked.image_id:
                raise IntegrityError(
                    "the image changed after it was locked",
                    subject=locked.reference,
                    want=locked.image_id,
                    got=image.image_id,
                    hint="run `airgap lock` again",
                )
            graph, chosen = _exported_graph(locked, image.descriptor, self.store)
            collected.append(CollectedImage(_record(locked, graph, repacked=image.repacked), graph, chosen))
        return collected

    def _note_engine(self, engine: str) -> None:
        if engine:
            self.engines.add(engine)
            self.progress.note(f"saving from {engine}")

    def _held_exports(self, export: PlannedExport, advance: Advance) -> list[ExportedImage] | None:
        """Return the exported images of an earlier complete run; None if they are not all correct."""
        exported = []
        for locked in export.images:
            root = self.held.get(locked.name)
            if root is None or locked.image_id is None or not _check_held(root, locked, self.store, advance):
                return None
            repacked = root.digest != locked.image_id
            graph, _ = _exported_graph(locked, root, self.store)
            configs = {item.manifest.config.digest for item in graph.manifests}
            if repacked and locked.image_id not in configs:
                return None
            exported.append(ExportedImage(locked.reference, root, locked.image_id, repacked=repacked))
        return exported


def with_upstream(
    images: Iterable[CollectedImage], upstream: Mapping[str, Upstream]
) -> tuple[list[CollectedImage], Failures]:
    """Return the images with their valid upstream signatures, and a failure for each image whose signature is
    not in the bundle: a receiver could not check it, and would refuse the whole bundle.
    """
    images = list(images)
    carried = {image.record.digest for image in images}
    signed: list[CollectedImage] = []
    failures: Failures = {}
    for image in images:
        name = str(image.record.name)
        signature = upstream.get(name)
        if signature is not None and signature.manifest not in carried:
            failures[name] = UnsignedError(
                "the upstream signature was not fetched", subject=name, want=signature.manifest
            )
            continue
        signed.append(replace(image, record=replace(image.record, upstream_signature=signature)))
    return signed, failures


def choices_of(images: Iterable[CollectedImage]) -> dict[str, Chosen]:
    """Return the part of each image that is carried, by its offline name."""
    return {str(image.record.name): image.chosen for image in images}


def planned_images(plan: TransferPlan) -> list[CollectedImage]:
    """Return the images whose blobs are all known before any are fetched."""
    return [
        CollectedImage(_record(image.locked, image.graph), image.graph, image.chosen) for image in plan.images
    ]


def fetch_blobs(
    plan: TransferPlan, store: Store, jobs: int, progress: Progress, before_change: Callable[[], None]
) -> Failures:
    """Fetch the blobs that are known by digest, and are missing or damaged in `store`."""
    blobs = plan.blobs
    errors = fill(
        store,
        [blob for blob, _ in blobs.values()],
        lambda blob, advance: _fetch_blob(store, *blobs[blob.digest], advance),
        title="fetching",
        jobs=jobs,
        phase=progress.phase,
        before_change=before_change,
    )
    failed = {blob.digest: error for blob, error in errors}
    return {
        str(image.locked.name): failed[digest]
        for image in (plan.images if failed else ())
        for digest in image.graph.contents.keys() & failed.keys()
    }


def take_optional(failures: Failures, plan: TransferPlan) -> dict[str, str]:
    """Remove the failures of optional attachments; return the reason why each is left out, by reference."""
    taken = {}
    for image in plan.images:
        name = str(image.locked.name)
        if image.locked.is_optional and isinstance(failures.get(name), PER_IMAGE):
            taken[str(image.locked.reference)] = str(failures.pop(name))
    return taken


def prune(store: BlobStore, images: Iterable[CollectedImage], plan: TransferPlan) -> None:
    """Remove everything from the store that the images do not need."""
    graphs = [image.graph for image in images]
    store.prune({digest for graph in graphs for digest in graph.contents} - plan.left_out_layers(graphs))


def refuse_partial(failures: Failures, plan: TransferPlan, *, hint: str = _PACK_AGAIN) -> None:
    """Raise the error of a run in which images failed: the images' own error if all have the same one. If
    there are several errors, `hint` says what the operator can do.
    """
    refuse_failures(failures, plan.total_images, hint=hint)


def _fetch_blob(store: Store, blob: Descriptor, image: PlannedImage, advance: Advance) -> None:
    def open_at(offset: int) -> ByteStream:
        if blob.digest in image.small:
            return io.BytesIO(image.small[blob.digest][offset:])
        return image.source.open_blob(image.locked.reference, blob, offset)

    subject = f"{image.locked.reference}: blob {blob.digest}"
    try:
        store.fetch(blob, open_at, advance=advance, subject=subject)
    except IntegrityError:
        if isinstance(image.source, FilesSource):
            raise image.source.changed_error(blob) from None
        # a mirror may have sent wrong bytes: the second request goes to the registry itself
        store.fetch(blob, open_at, subject=subject)


def _record(locked: LockedImage, graph: ImageGraph, *, repacked: bool = False) -> ImageRecord:
    source = locked.source.partition(":")[0] + (REPACKED if repacked else "")
    digest = graph.root.digest
    name = locked.name.with_digest(digest) if repacked and locked.name.tag is None else locked.name
    return ImageRecord(
        reference=locked.reference,
        name=name,
        kind=graph.kind,
        digest=digest,
        platforms=graph.records,
        source=source,
        files=graph.files,
    )


def _exported_graph(locked: LockedImage, root: Descriptor, store: BlobStore) -> tuple[ImageGraph, Chosen]:
    """Return the part of an exported image for the requested platforms. Raises if a blob is missing."""

    def read(descriptor: Descriptor) -> bytes:
        return store.read(descriptor.digest, MAX_JSON_BYTES)

    where = str(locked.reference)
    chosen = choose_platforms(locked, root, read, lambda descriptor: descriptor.digest in store.sums)
    graph = walk_image(root, read, chosen.entries, where)
    for digest, descriptor in graph.contents.items():
        if digest not in store.sums:
            raise MissingContentError(
                "a blob is missing from what the source saved", subject=where, want=descriptor.digest
            )
    return graph, chosen


def _check_held(root: Descriptor, locked: LockedImage, store: BlobStore, advance: Advance) -> bool:
    def read(descriptor: Descriptor) -> bytes:
        if not store.check(descriptor.digest, descriptor.size, advance):
            raise MissingContentError("not held", subject=descriptor.digest)
        return store.read(descriptor.digest, MAX_JSON_BYTES)

    def select(index: ImageIndex) -> Sequence[Descriptor]:
        return [e for e in index.manifests if store.check(e.digest, e.size, advance)]

    try:
        blobs = walk_image(root, read, select, str(locked.reference)).blobs
        return all(store.check(blob.digest, blob.size, advance) for blob in blobs.values())
    except AirgapError:
        return False
