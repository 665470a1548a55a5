"""Bringing a verified bundle's images to a target: old names stay as they were until all is proved."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from airgap.bundle.graph import PREFERRED
from airgap.endpoints.ports import ContentTarget, EngineInfo, FileTarget, StreamTarget, Target
from airgap.errors import AirgapError, EndpointError, PolicyError, SparseIndexError
from airgap.oci.digest import Advance, Digest
from airgap.oci.documents import Descriptor
from airgap.offline.contents import VerifiedImage
from airgap.offline.stream import ImageTar, runnable
from airgap.offline.verify import VerifiedBundle
from airgap.progress import Progress
from airgap.workers import run_each

LOADED, THERE, FAILED = "loaded", "already there", "failed"


@dataclass(slots=True)
class LoadedImage:
    """What became of one image."""

    image: VerifiedImage
    verdict: str
    before: Digest | None = None
    """What its name meant at the target before."""
    after: Digest | None = None
    """What it means now."""
    error: AirgapError | None = None


@dataclass(frozen=True, slots=True)
class Loading:
    """How to load: `on_conflict` is `replace` or `refuse` a name that means something else there."""

    bundle: VerifiedBundle
    progress: Progress
    on_conflict: str = "replace"
    jobs: int = 4
    before_names_move: Callable[[], None] = field(default=lambda: None)
    """Called once, after the target was looked at and before anything there changes."""


def load(target: Target, loading: Loading) -> list[LoadedImage]:
    """Load every image; one image's failure leaves the others alone and is in its result.

    Raises `PolicyError`, before anything changes, when a name means something else at the target
    and `on_conflict` is `refuse`; and whatever the target says when it cannot be reached at all.
    """
    if isinstance(target, FileTarget):
        return _load_file(target, loading)
    loader: _Loader
    if isinstance(target, ContentTarget):
        loader = _ContentLoader(target, loading)
    else:
        loader = _EngineLoader(target, loading, target.info())
    results = [loader.look(image) for image in loading.bundle.images]
    if loading.on_conflict == "refuse":
        _refuse_conflicts(results)
    loading.before_names_move()
    todo = [result for result in results if result.verdict == LOADED]
    if todo:
        with loading.progress.phase(f"loading into {target.name}", loader.total(todo)) as advance:
            for result in todo:
                _load_one(target, loader, result, advance)
    return results


def _load_one(
    target: ContentTarget | StreamTarget, loader: "_Loader", result: LoadedImage, advance: Advance
) -> None:
    try:
        result.after = loader.load(result, advance)
    except AirgapError as error:
        result.verdict, result.error = FAILED, error
        with contextlib.suppress(EndpointError):
            result.after = target.find(result.image.name)


def _refuse_conflicts(results: Sequence[LoadedImage]) -> None:
    for result in results:
        if result.before is not None and result.verdict == LOADED:
            raise PolicyError(
                "the name means another image at the target",
                subject=result.image.name,
                want=result.image.record.digest,
                got=result.before,
                hint="--on-conflict replace moves the name; nothing was changed",
            )


def _load_file(target: FileTarget, loading: Loading) -> list[LoadedImage]:
    """All images as one archive: nothing to compare with, whole or not at all."""
    tar = ImageTar(loading.bundle)
    for image in loading.bundle.images:
        runnables = [item for item in image.graph.manifests if item.config]
        view = image.graph.for_platform(PREFERRED) or (runnables[0] if runnables else None)
        tar.add_whole(image, view)
    loading.before_names_move()
    with loading.progress.phase(f"writing {target.name}", tar.total) as advance:
        target.write(tar.chunks(advance))
    return [LoadedImage(image, LOADED, after=image.record.digest) for image in loading.bundle.images]


class _Loader(Protocol):
    """One way of loading."""

    def look(self, image: VerifiedImage) -> LoadedImage:
        """What the target has under the image's name; changes nothing."""

    def total(self, todo: Sequence[LoadedImage]) -> int:
        """About how many bytes `load` will report for all of `todo`."""

    def load(self, result: LoadedImage, advance: Advance) -> Digest:
        """Bring one image there and return what its name means now. When it raises, the name means
        what it meant before.
        """


@dataclass(frozen=True, slots=True)
class _ContentLoader:
    """Into a registry or an OCI directory: blobs, then documents, children first, then the name."""

    target: ContentTarget
    loading: Loading
    counted: set[Digest] = field(default_factory=set)
    """Blobs that progress has heard of."""

    def look(self, image: VerifiedImage) -> LoadedImage:
        before = self.target.find(image.name)
        lone = image.graph.lone_manifest
        there = before in (image.record.digest, lone.descriptor.digest if lone else image.record.digest)
        return LoadedImage(image, THERE if there else LOADED, before, before if there else None)

    def total(self, todo: Sequence[LoadedImage]) -> int:
        blobs = {d: b.size for result in todo for d, b in result.image.graph.blobs.items()}
        return sum(blobs.values())

    def load(self, result: LoadedImage, advance: Advance) -> Digest:
        image, bundle = result.image, self.loading.bundle

        def put(blob: Descriptor) -> None:
            if not self.target.holds(image.name, blob):
                with contextlib.closing(bundle.open_blob(blob)) as stream:
                    self.target.put_blob(image.name, blob, stream)
            if blob.digest not in self.counted:
                self.counted.add(blob.digest)
                advance(blob.size)

        run_each(put, sorted(image.graph.blobs.values(), key=lambda b: -b.size), self.loading.jobs)
        digest = self._put_documents(image)
        return _confirmed(self.target.find(image.name), digest, image)

    def _put_documents(self, image: VerifiedImage) -> Digest:
        """The digest that the name stands for now.

        Registries of the distribution family take no index of which they lack manifests. When one
        platform alone was carried, the name is given to its manifest instead, and that is said.
        """
        documents = image.graph.documents
        for digest, (descriptor, raw) in documents.items():
            if digest != image.record.digest:
                self.target.put_document(image.name, descriptor, raw)
        root, raw = documents[image.record.digest]
        try:
            self.target.put_document(image.name, root, raw)
            self.target.tag(image.name, root, raw)
        except SparseIndexError as error:
            lone = image.graph.lone_manifest
            if lone is None:
                raise SparseIndexError(
                    "the registry takes no index without all of its platforms",
                    subject=image.name,
                    got=", ".join(record.platform for record in image.record.platforms),
                    hint="pack all platforms of this image, or exactly one",
                ) from error
            self.loading.progress.note(
                f"{image.name}: {self.target.name} takes no index without all of its platforms; "
                f"the name means its {lone.platform} image there, {lone.descriptor.digest}"
            )
            self.target.tag(image.name, *documents[lone.descriptor.digest])
            return lone.descriptor.digest
        return root.digest


@dataclass(frozen=True, slots=True)
class _EngineLoader:
    """Into a Docker engine: one stream an image, checked afterwards, old names put back on failure."""

    target: StreamTarget
    loading: Loading
    info: EngineInfo

    def look(self, image: VerifiedImage) -> LoadedImage:
        before = self.target.find(image.name)
        try:
            wanted = self._wanted(image)
        except EndpointError as error:
            return LoadedImage(image, FAILED, before, before, error)
        there = before == wanted if image.name.tag else self.target.find_id(wanted)
        return LoadedImage(image, THERE if there else LOADED, before, wanted if there else None)

    def _wanted(self, image: VerifiedImage) -> Digest:
        """The ID that the image has in this engine."""
        chosen = runnable(image, self.info.platform)
        return image.record.digest if self.info.keeps_index else chosen.manifest.config.digest

    def _tar(self, image: VerifiedImage) -> ImageTar:
        tar = ImageTar(self.loading.bundle, unpack_zstd=not self.info.zstd_layers)
        chosen = runnable(image, self.info.platform)
        if self.info.keeps_index:
            tar.add_whole(image, chosen)
        else:
            tar.add_runnable(image, chosen)
        return tar

    def total(self, todo: Sequence[LoadedImage]) -> int:
        return sum(self._tar_size(result.image) for result in todo)

    def _tar_size(self, image: VerifiedImage) -> int:
        chosen = image.graph.contents if self.info.keeps_index else runnable(image, self.info.platform)
        blobs = chosen.values() if isinstance(chosen, dict) else chosen.manifest.blobs
        return sum(blob.size for blob in blobs)

    def load(self, result: LoadedImage, advance: Advance) -> Digest:
        image, wanted = result.image, self._wanted(result.image)
        try:
            self.target.load(self._tar(image).chunks(advance))
            if image.name.tag:
                return _confirmed(self.target.find(image.name), wanted, image)
            return _confirmed(wanted if self.target.find_id(wanted) else None, wanted, image)
        except AirgapError:
            self._put_back(result)
            raise

    def _put_back(self, result: LoadedImage) -> None:
        """Let the name mean what it meant before."""
        name = result.image.name
        with contextlib.suppress(EndpointError):
            if self.target.find(name) == result.before:
                return
            if result.before is not None:
                self.target.tag(result.before, name)
            else:
                self.target.untag(name)


def _confirmed(found: Digest | None, wanted: Digest, image: VerifiedImage) -> Digest:
    """What the target says it has now, when that is what was sent."""
    if found != wanted:
        raise EndpointError("the target has something else now", subject=image.name, want=wanted, got=found)
    return wanted
