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

from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import ContentTarget, MountingTarget, ResumingTarget
from airgap.errors import (
    AccessDeniedError,
    AirgapError,
    EndpointError,
    LoginError,
    UnavailableError,
)
from airgap.oci.digest import CHUNK, Advance, CheckedReader, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import COSIGN_TAG
from airgap.offline.load_documents import DocumentLoader, reason_of
from airgap.offline.loader import FAILED, LOADED, THERE, LoadedImage, Loading
from airgap.offline.reduced import reduced
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
        before = self._before(image)
        less = reduced(image.graph) if before not in (None, image.record.digest) else None
        if before is None or before not in (image.record.digest, less and less.root.digest):
            return LoadedImage(image, LOADED, before)
        if before == image.record.digest and not self._has_documents(image):
            return LoadedImage(image, LOADED, before)
        if (image.name, image.record.digest) not in self.loading.holdings.images:
            # it came by another way, or in a load that was cut off before it could be written down
            self.loading.holdings.add(image.name, image.record.digest, image.graph.contents)
        return LoadedImage(
            image,
            THERE,
            before,
            before,
            reason=reason_of(self.target.name, less) if less else None,
        )

    def _has_documents(self, image: VerifiedImage) -> bool:
        """Whether all that is carried of an index is there: it may have come with fewer platforms before."""
        held = self.loading.holdings.images.get((image.name, image.record.digest))
        if held is not None and image.graph.contents.keys() <= held.blobs:
            return True
        below = [found for found, _ in image.graph.documents.values() if found.digest != image.record.digest]
        return all(self._has_document(image.name, each) for each in below)

    def _has_document(self, name: ImageReference, document: Descriptor) -> bool:
        if isinstance(self.target, MountingTarget):
            return self.target.find(replace(name, tag=None, digest=document.digest)) == document.digest
        return self.target.holds(name, document)

    def _before(self, image: VerifiedImage) -> Digest | None:
        """What the name means at the target; None also where the target does not tell: some registries deny
        that for a name that nothing has yet, and take the push.
        """
        try:
            return self.target.find(image.name)
        except (LoginError, UnavailableError):
            raise
        except EndpointError as error:
            if not error.status or self.loading.on_conflict == "refuse":
                raise
            return None

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
        """Into a registry those with the largest blobs first: others fill the time that it needs for them.
        What refers to an image comes after it, as some registries look for its subject.
        """
        if isinstance(self.target, MountingTarget):
            todo = sorted(todo, key=lambda result: -max(_sizes(result), default=0))
        todo = sorted(todo, key=lambda result: _rank(result.image, todo))
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
            result.after = DocumentLoader(self.target, self.loading.progress).load(result)
        except AirgapError as error:
            result.verdict, result.error = FAILED, error
            with contextlib.suppress(EndpointError):
                result.after = self.target.find(result.image.name)

    def now(self, result: LoadedImage, wanted: Digest) -> Digest | None:
        image, loaded = result.image, result.verdict == LOADED
        try:
            found = self.target.find(image.name)
        except LoginError:
            raise
        except AccessDeniedError as error:
            if not loaded:
                raise
            # the push has told the digest that it stored
            result.reason = result.reason or f"taken by the registry, which does not let us look: {error.got}"
            found = wanted
        if loaded and found == wanted:
            self.loading.holdings.add(image.name, image.record.digest, image.graph.contents)
        return found

    def _put(self, image: VerifiedImage, blob: Descriptor) -> None:
        if blob.digest not in self.loading.required:
            try:
                self._send(image, blob)
            except EndpointError as error:
                # another push of the same blob was faster: where nothing is written twice, ours is refused
                if not error.status or not self.target.holds(image.name, blob):
                    raise
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


def _rank(image: VerifiedImage, todo: Sequence[LoadedImage]) -> int:
    """0 for what refers to nothing, 1 for what refers to that, …: by its subject, or by cosign's tags."""
    by_digest = {result.image.record.digest: result.image for result in todo}
    seen: set[Digest] = set()
    while image.record.digest not in seen:
        seen.add(image.record.digest)
        subject = next((item.manifest.subject for item in image.graph.manifests), None)
        if subject is None:
            return len(seen) - 1 + (COSIGN_TAG.fullmatch(image.name.tag or "") is not None)
        if subject.digest not in by_digest:
            return len(seen)
        image = by_digest[subject.digest]
    return len(seen)
