"""Loading into a registry or an OCI directory: blobs, then documents, children first, then the name.

Blobs of several images are under way at a time, as a registry files a large one for as long as it took to
send. Each blob is sent once, for all images that need it, and an image's documents and name follow when its
last blob is there.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from airgap.endpoints.ports import ContentTarget, MountingTarget, ReferrerTarget, ResumingTarget
from airgap.errors import AirgapError, EndpointError, SparseIndexError
from airgap.oci.digest import CHUNK, Advance, CheckedReader, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from airgap.offline.contents import VerifiedImage
from airgap.offline.loading import FAILED, LOADED, THERE, LoadedImage, Loading, confirmed
from airgap.workers import run_all


@dataclass(frozen=True, slots=True)
class ContentLoader:
    """A `Loader` over a `ContentTarget`."""

    target: ContentTarget
    loading: Loading
    unnamed: "deque[_Waiting]" = field(default_factory=deque)
    """Images in the order in which they get their names."""
    naming: threading.Lock = field(default_factory=threading.Lock)
    """Held meanwhile: lists of names and of referrers are read, changed, and written back."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def look(self, image: VerifiedImage) -> LoadedImage:
        before = self.target.find(image.name)
        lone = image.graph.lone_manifest
        there = before in (image.record.digest, lone.descriptor.digest if lone else image.record.digest)
        if there and (image.name, image.record.digest) not in self.loading.holdings.images:
            # it came by another way, or in a load that was cut off before it could be written down
            self.loading.holdings.add(image.name, image.record.digest, image.graph.contents)
        return LoadedImage(image, THERE if there else LOADED, before, before if there else None)

    def missing(self, image: VerifiedImage) -> list[Descriptor]:
        return [
            blob
            for digest, blob in image.graph.blobs.items()
            if digest in self.loading.required and self._place_of(image, blob) is None
        ]

    def _place_of(self, image: VerifiedImage, blob: Descriptor) -> ImageReference | None:
        """The name, its own first, under which the target has the blob."""
        if self.target.holds(image.name, blob):
            return image.name
        if isinstance(self.target, MountingTarget):
            seen = {image.name.name}
            for held in self.loading.holdings.with_blob(blob.digest):
                if held.name.name not in seen and self.target.holds(held.name, blob):
                    return held.name
                seen.add(held.name.name)
        return None

    def total(self, todo: Sequence[LoadedImage]) -> int:
        blobs = {d: b.size for result in todo for d, b in result.image.graph.blobs.items()}
        return sum(blobs.values())

    def load_all(self, todo: Sequence[LoadedImage], advance: Advance) -> None:
        """Into a registry those with the largest blobs first: others fill the time that it needs for them."""
        if isinstance(self.target, MountingTarget):
            todo = sorted(todo, key=lambda result: -max(_sizes(result), default=0))
        self.unnamed.extend(_Waiting(result, set(result.image.graph.blobs)) for result in todo)
        try:
            run_all(lambda item: self._bring(*item, advance), _by_blob(self.unnamed), self.loading.jobs)
        except BaseException:  # Ctrl-C comes here, and not to the threads
            self.stopped.set()
            raise
        self._give_names()  # of images without blobs

    def _bring(self, blob: Descriptor, needed_by: "Sequence[_Waiting]", advance: Advance) -> None:
        """One blob to all images that need it. What fails is the failure of an image, and not of others."""
        places: set[str] = set()
        for each in needed_by:
            image = each.result.image
            if each.result.error is not None or image.name.name in places or self.stopped.is_set():
                continue
            try:
                if not self.target.holds(image.name, blob):
                    self._put(image, blob)
                places.add(image.name.name)
            except AirgapError as error:
                each.result.error = error
        if places:
            advance(blob.size)
        for each in needed_by:
            each.untried.discard(blob.digest)
        if not all(each.untried for each in needed_by):
            self._give_names()

    def _give_names(self) -> None:
        """To the images that are next, as far as their blobs are there; one that failed keeps its old one."""
        with self.naming:
            while self.unnamed and not self.unnamed[0].untried and not self.stopped.is_set():
                self._finish(self.unnamed.popleft().result)

    def _finish(self, result: LoadedImage) -> None:
        try:
            if result.error is not None:
                raise result.error
            result.after = self._name(result.image)
        except AirgapError as error:
            result.verdict, result.error = FAILED, error
            with contextlib.suppress(EndpointError):
                result.after = self.target.find(result.image.name)

    def _name(self, image: VerifiedImage) -> Digest:
        digest = self._put_documents(image)
        found = confirmed(self.target.find(image.name), digest, image)
        self.loading.holdings.add(image.name, image.record.digest, image.graph.contents)
        return found

    def _put(self, image: VerifiedImage, blob: Descriptor) -> None:
        if blob.digest not in self.loading.required:
            self._send(image, blob)
            return
        place = self._place_of(image, blob)
        if place is None or not isinstance(self.target, MountingTarget):
            raise EndpointError("the base is gone", subject=image.name, want=blob.digest)
        if not self.target.mount(image.name, blob, place):
            raise EndpointError(
                "the registry does not share blobs between repositories",
                subject=image.name,
                want=f"{blob.digest} of {place.name}",
                hint="ask the sending side for a full bundle",
            )

    def _send(self, image: VerifiedImage, blob: Descriptor) -> None:
        def open_at(offset: int) -> CheckedReader:
            """The content from `offset` on; what is before is read too, or its digest would say nothing."""
            reader = self.loading.bundle.open_blob(blob)
            buffer = memoryview(bytearray(min(CHUNK, max(offset, 1))))
            while offset:
                offset -= reader.readinto(buffer[: min(offset, CHUNK)])
            return reader

        if isinstance(self.target, ResumingTarget):
            self.target.upload(image.name, blob, open_at)
            return
        with contextlib.closing(open_at(0)) as stream:
            self.target.put_blob(image.name, blob, stream)

    def _put_root(self, image: VerifiedImage, root: Descriptor, raw: bytes) -> None:
        """Store the top document; one that refers to another is listed there too."""
        tops = (item.manifest for item in image.graph.manifests if item.descriptor.digest == root.digest)
        manifest = next(tops, None)
        if manifest is None or manifest.subject is None or not isinstance(self.target, ReferrerTarget):
            self.target.put_document(image.name, root, raw)
            return
        kind = manifest.artifact_type or manifest.config.media_type
        described = replace(root, annotations=manifest.annotations, artifact_type=kind, platform=None)
        self.target.put_referrer(image.name, manifest.subject.digest, described, raw)

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
            self._put_root(image, root, raw)
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


@dataclass(slots=True)
class _Waiting:
    """An image that waits for its blobs."""

    result: LoadedImage
    untried: set[Digest]


def _sizes(result: LoadedImage) -> list[int]:
    return [blob.size for blob in result.image.graph.blobs.values()]


def _by_blob(waiting: Iterable[_Waiting]) -> list[tuple[Descriptor, list[_Waiting]]]:
    """Each blob once, with the images that need it: in the order of the images, the largest blob of each
    first.
    """
    found: dict[Digest, tuple[Descriptor, list[_Waiting]]] = {}
    for each in waiting:
        for blob in sorted(each.result.image.graph.blobs.values(), key=lambda blob: -blob.size):
            found.setdefault(blob.digest, (blob, []))[1].append(each)
    return list(found.values())
