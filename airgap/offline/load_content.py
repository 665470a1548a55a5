"""Load into a registry or an OCI directory: blobs, then documents (children first), then the name.

Blobs of several images are sent at the same time, because a registry needs about as long to store a large
blob as to receive it. Each blob is sent once for all images that need it. An image's documents and name
follow its last blob.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import field

from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import ContentSource, ContentTarget, RegistryTarget
from airgap.errors import AccessDeniedError, AirgapError, EndpointError, LoginError, UnavailableError
from airgap.oci.digest import CHUNK, Advance, ByteStream, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import COSIGN_TAG
from airgap.offline.load_documents import DocumentLoader, reason_of
from airgap.offline.loader import FAILED, LOADED, THERE, ConflictRule, LoadedImage, Loading
from airgap.offline.reduced import reduced
from airgap.progress import Wait
from airgap.values import dataclass
from airgap.workers import run_all


@dataclass(frozen=True, slots=True)
class ContentLoader:
    """A `Loader` over a `ContentTarget`."""

    target: ContentTarget
    loading: Loading
    unnamed: "deque[_Waiting]" = field(default_factory=deque)
    """Images that do not have their name yet, in the order in which they get it."""
    naming: threading.Lock = field(default_factory=threading.Lock)
    """Held while names are given: lists of names and referrers are read, changed and written back."""
    stopped: threading.Event = field(default_factory=threading.Event)
    earlier: dict[ImageReference, tuple[Descriptor, bytes]] = field(default_factory=dict)
    """The manifests that the names referred to before, to give the names back."""

    def look(self, image: VerifiedImage) -> LoadedImage:
        before = self._before(image)
        less = reduced(image.graph) if before not in (None, image.record.digest) else None
        if before is None or before not in (image.record.digest, less and less.root.digest):
            return LoadedImage(image, LOADED, before=before)
        if before == image.record.digest and not self._has_documents(image):
            return LoadedImage(image, LOADED, before=before)
        if (image.name, image.record.digest) not in self.loading.holdings.images:
            # loaded by another tool, or in a load that was killed before it saved the holdings
            self.loading.holdings.add(image.name, image.record.digest, image.graph.contents)
        return LoadedImage(
            image,
            THERE,
            before=before,
            after=before,
            reason=reason_of(self.target.name, less) if less else None,
        )

    def _has_documents(self, image: VerifiedImage) -> bool:
        """Return whether the target has all documents of the bundle: an earlier load may have had fewer."""
        held = self.loading.holdings.images.get((image.name, image.record.digest))
        if held is not None and image.graph.contents.keys() <= held.blobs:
            return True
        below = [
            document
            for document, _ in image.graph.documents.values()
            if document.digest != image.record.digest
        ]
        return all(self.target.holds_document(image.name, document) for document in below)

    def _before(self, image: VerifiedImage) -> Digest | None:
        """Return the digest that the name refers to at the target; None if there is none, or if the target
        refuses to say: some registries do so for a name that does not exist yet, and still accept the push.
        """
        try:
            return self.target.find(image.name)
        except (LoginError, UnavailableError):
            raise
        except EndpointError as error:
            if not error.status or self.loading.on_conflict is ConflictRule.REFUSE:
                raise
            return None

    def missing(self, image: VerifiedImage) -> list[Descriptor]:
        return [
            blob
            for digest, blob in image.graph.blobs.items()
            if digest in self.loading.required and self._find_blob(image, blob) is None
        ]

    def _find_blob(self, image: VerifiedImage, blob: Descriptor) -> ImageReference | None:
        """Return a name under which the target has the blob: the image's own, else one from the holdings."""
        if self.target.holds(image.name, blob):
            return image.name
        if isinstance(self.target, RegistryTarget):
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
        """Load the images. Into a registry, those with the largest blobs go first, so that others are sent
        while it stores them. A referrer comes after its subject, because some registries check that.
        """
        waiting = _in_order(todo, self.target)
        self.unnamed.extend(waiting)
        self._send_blobs(waiting, advance)
        self._give_names()  # in a layout of all images, in a registry of those without blobs

    def _send_blobs(self, waiting: "Sequence[_Waiting]", advance: Advance) -> None:
        try:
            run_all(lambda item: self._send_blob(*item, advance), _by_blob(waiting), self.loading.jobs)
        except BaseException:  # only the main thread receives Ctrl-C
            self.stopped.set()
            raise

    def load_content(self, todo: Sequence[LoadedImage], advance: Advance) -> Sequence[LoadedImage]:
        """Send all blobs, then all documents except those that get a name. The images that have the names now
        are read, so that they can get them back.
        """
        waiting = _in_order(todo, self.target)
        self._send_blobs(waiting, advance)
        ordered = [item.result for item in waiting]
        for result in ordered:
            try:
                if result.error is not None:
                    raise result.error
                DocumentLoader(self.target, self.loading.progress).put_below(result.image)
                self._read_earlier(result)
            except AirgapError as error:
                result.verdict, result.error, result.after = FAILED, error, result.before
        return ordered

    def _read_earlier(self, result: LoadedImage) -> None:
        name = result.image.name
        if result.before is not None and isinstance(self.target, ContentSource):
            descriptor = self.target.resolve(name)
            self.earlier[name] = descriptor, self.target.read_document(name, descriptor)

    def all_names(self) -> AbstractContextManager[None]:
        return self.target.naming()

    def give_name(self, result: LoadedImage) -> Digest:
        return DocumentLoader(self.target, self.loading.progress).load(result)

    def take_back(self, result: LoadedImage) -> None:
        name = result.image.name
        try:
            if (now := self.target.find(name)) == result.before:
                return
            if name in self.earlier:
                self.target.tag(name, *self.earlier[name])
            elif now is not None:
                self.target.remove_name(name, now)
        except AirgapError as error:
            self.loading.progress.note(f"{name}: the name could not be given back: {error}")

    def drop_temporary(self, todo: Sequence[LoadedImage]) -> None:
        """There are none."""

    def _send_blob(self, blob: Descriptor, needed_by: "Sequence[_Waiting]", advance: Advance) -> None:
        """Send one blob for all images that need it. An error is recorded only for the image it affects."""
        stored_in: set[str] = set()
        for waiting in needed_by:
            image = waiting.result.image
            if waiting.result.error is not None or image.name.name in stored_in or self.stopped.is_set():
                continue
            try:
                if not self.target.holds(image.name, blob):
                    self._put(image, blob)
                stored_in.add(image.name.name)
            except AirgapError as error:
                waiting.result.error = error
        if stored_in:
            advance(blob.size)
        for waiting in needed_by:
            waiting.untried.discard(blob.digest)
        if isinstance(self.target, RegistryTarget) and not all(waiting.untried for waiting in needed_by):
            self._give_names()

    def _give_names(self) -> None:
        """Give the next images their names, if all of their blobs were tried. The name of a failed image
        stays as it was.
        """
        named: list[LoadedImage] = []
        with self.naming:
            try:
                with self.target.naming():
                    while self.unnamed and not self.unnamed[0].untried and not self.stopped.is_set():
                        named.append(self.unnamed.popleft().result)
                        self._finish(named[-1])
            except AirgapError as error:
                for result in named:
                    self._fail(result, result.error or error)

    def _finish(self, result: LoadedImage) -> None:
        try:
            if result.error is not None:
                raise result.error
            result.after = DocumentLoader(self.target, self.loading.progress).load(result)
        except AirgapError as error:
            self._fail(result, error)

    def _fail(self, result: LoadedImage, error: AirgapError) -> None:
        result.verdict, result.error = FAILED, error
        with contextlib.suppress(EndpointError):
            result.after = self.target.find(result.image.name)

    def now(self, result: LoadedImage, wanted: Digest) -> Digest | None:
        image, loaded = result.image, result.verdict == LOADED
        try:
            current = self.target.find(image.name)
        except LoginError:
            raise
        except AccessDeniedError as error:
            if not loaded:
                raise
            # the push was answered with the digest that was stored
            result.reason = (
                result.reason or f"the registry accepted it and does not allow reading it back: {error.got}"
            )
            current = wanted
        if loaded and current == wanted:
            self.loading.holdings.add(image.name, image.record.digest, image.graph.contents)
        return current

    def _put(self, image: VerifiedImage, blob: Descriptor) -> None:
        if blob.digest not in self.loading.required:
            try:
                self._send(image, blob)
            except EndpointError as error:
                # a concurrent push of the same blob was faster, and this registry refuses a second write
                if not error.status or not self.target.holds(image.name, blob):
                    raise
            return
        holder = self._find_blob(image, blob)
        if holder is None or not isinstance(self.target, RegistryTarget):
            raise EndpointError("the base is no longer at the target", subject=image.name, want=blob.digest)
        if not self.target.mount(image.name, blob, holder):
            raise EndpointError(
                "the registry does not share blobs between repositories",
                subject=image.name,
                want=f"{blob.digest} of {holder.name}",
                hint="ask the sending side for a full bundle (airgap pack --full)",
            )

    def _send(self, image: VerifiedImage, blob: Descriptor) -> None:
        def open_at(offset: int) -> ByteStream:
            """Open the content at `offset`. Earlier bytes are read too, so that the digest is checked."""
            start, reader = offset, self.loading.bundle.open_blob(blob)
            buffer = memoryview(bytearray(min(CHUNK, max(offset, 1))))
            while offset:
                offset -= reader.readinto(buffer[: min(offset, CHUNK)])
            if not isinstance(self.target, RegistryTarget):
                return reader  # a folder has stored what it has taken
            return wait.after(reader, blob.size - start)

        with Wait(
            self.loading.progress, f"{self.target.name} has received {blob.digest} and is storing it"
        ) as wait:
            self.target.upload(image.name, blob, open_at)


@dataclass(slots=True)
class _Waiting:
    """An image whose blobs are not all sent yet."""

    result: LoadedImage
    untried: set[Digest]


def _in_order(todo: Sequence[LoadedImage], target: ContentTarget) -> "list[_Waiting]":
    """Return the images in the order in which they get their names."""
    if isinstance(target, RegistryTarget):
        todo = sorted(todo, key=lambda result: -max(_sizes(result), default=0))
    by_digest = {result.image.record.digest: result.image for result in todo}
    todo = sorted(todo, key=lambda result: _rank(result.image, by_digest))
    return [_Waiting(result, set(result.image.graph.blobs)) for result in todo]


def _sizes(result: LoadedImage) -> list[int]:
    return [blob.size for blob in result.image.graph.blobs.values()]


def _by_blob(images: Iterable[_Waiting]) -> list[tuple[Descriptor, list[_Waiting]]]:
    """Return each blob once, with the images that need it, in the order of the images and of decreasing size
    within an image.
    """
    by_blob: dict[Digest, tuple[Descriptor, list[_Waiting]]] = {}
    for waiting in images:
        for blob in sorted(waiting.result.image.graph.blobs.values(), key=lambda blob: -blob.size):
            by_blob.setdefault(blob.digest, (blob, []))[1].append(waiting)
    return list(by_blob.values())


def _rank(image: VerifiedImage, by_digest: Mapping[Digest, VerifiedImage]) -> int:
    """Return 0 for an image that does not refer to another one, 1 for its referrers, and so on. An image
    refers to another one by its subject or by a cosign tag.
    """
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
