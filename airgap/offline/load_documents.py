"""An image's documents at a registry or in an OCI directory: children first, the name last."""

import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from airgap.bundle.graph import ImageGraph
from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import ContentTarget, MountingTarget, ReferrerTarget
from airgap.errors import AccessDeniedError, EndpointError, ImmutableTagError, RefusedError
from airgap.oci.digest import Digest
from airgap.oci.documents import INDEX_TYPES, Descriptor
from airgap.oci.reference import ImageReference
from airgap.offline.loader import LoadedImage
from airgap.offline.reduced import described, reduced
from airgap.progress import Progress


@dataclass(frozen=True, slots=True)
class DocumentLoader:
    """Stores documents at `target`; one image at a time."""

    target: ContentTarget
    progress: Progress

    def load(self, result: LoadedImage) -> Digest:
        """As `put`, with words for a name that may not move."""
        try:
            return self.put(result)
        except (RefusedError, AccessDeniedError) as error:
            raise _explained(error, result) from error

    def put(self, result: LoadedImage) -> Digest:
        """Store all documents and give the name, once the blobs are there; the digest that it stands for now.

        Many registries take no index of which they lack manifests, in many words, and some take no
        attestations. When all that is carried of an image is there and the index is refused, the name is
        given to what is carried of it, and that is said: `result.reason` is set.
        """
        image = result.image
        root, raw = image.graph.documents[image.record.digest]
        refused: dict[Digest, RefusedError] = {}
        nested: RefusedError | None = None
        for digest, (descriptor, document) in image.graph.documents.items():
            if digest == root.digest:
                continue
            try:
                self._put_document(image.name, descriptor, document)
            except RefusedError as error:
                if descriptor.media_type in INDEX_TYPES:
                    nested = error
                elif _is_extra(image.graph, digest):
                    refused[digest] = error
                else:
                    raise
        refusal = nested or next(iter(refused.values()), None) or self._refusal(image, root, raw)
        if refusal is None:
            return root.digest
        less = None if isinstance(refusal, ImmutableTagError) else reduced(image.graph, refused)
        if less is None:
            raise refusal
        self._put_reduced(image, less, refusal)
        result.reason = reason_of(self.target.name, less, refused)
        self.progress.note(f"{image.name}: {result.reason}")
        return less.root.digest

    def _refusal(self, image: VerifiedImage, root: Descriptor, raw: bytes) -> RefusedError | None:
        """None when the top document is there and has its name."""
        try:
            self._put_root(image, root, raw)
        except RefusedError as error:
            return error
        return None

    def _put_reduced(self, image: VerifiedImage, less: ImageGraph, refusal: RefusedError) -> None:
        """Raises `refusal` when that is refused too: then it was about something else."""
        try:
            for digest, (descriptor, raw) in less.documents.items():
                if digest not in image.graph.documents and digest != less.root.digest:
                    self._put_document(image.name, descriptor, raw)
            self._put_root(image, *less.documents[less.root.digest])
        except EndpointError as error:
            raise refusal from error

    def _put_root(self, image: VerifiedImage, root: Descriptor, raw: bytes) -> None:
        """Store the top document under its name; one that refers to another is listed there too.

        A registry stores it with the name, and not under its digest before: where nothing may be written
        twice (Nexus, "Disable redeploy"), the second would be refused.
        """
        name = image.name
        tops = (item.manifest for item in image.graph.manifests if item.descriptor.digest == root.digest)
        manifest = next(tops, None)
        if manifest is not None and manifest.subject is not None and isinstance(self.target, ReferrerTarget):
            kind = manifest.artifact_type or manifest.config.media_type
            entry = replace(root, annotations=manifest.annotations, artifact_type=kind, platform=None)
            self.target.put_referrer(name, manifest.subject.digest, entry, raw)
        elif not isinstance(self.target, MountingTarget):
            self.target.put_document(name, root, raw)
        self._unless_there(name, root.digest, lambda: self.target.tag(name, root, raw))

    def _put_document(self, name: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        place = replace(name, tag=None, digest=descriptor.digest)
        self._unless_there(place, descriptor.digest, lambda: self.target.put_document(name, descriptor, raw))

    def _unless_there(self, name: ImageReference, digest: Digest, put: Callable[[], None]) -> None:
        """What may not be written again need not be, where it is there already."""
        try:
            put()
        except RefusedError:
            with contextlib.suppress(EndpointError):
                if self.target.find(name) == digest:
                    return
            raise


def reason_of(target: str, less: ImageGraph, refused: Collection[Digest] = ()) -> str:
    """Why a name at `target` means `less`, and not the image that was signed."""
    what = "does not take the attestations" if refused else "takes no index without all of its platforms"
    return (
        f"{target} {what}; the name means {described(less)}, {less.root.digest}: "
        "signatures of the original do not cover that"
    )


def _is_extra(graph: ImageGraph, digest: Digest) -> bool:
    """Whether a document is an attestation beside images, without which they run."""
    kinds = {item.descriptor.digest: item.config is not None for item in graph.manifests}
    return kinds.get(digest) is False and any(kinds.values())


def _explained(error: EndpointError, result: LoadedImage) -> EndpointError:
    """`error` in words that fit a name that means something else and cannot be given to this image. All blobs
    were taken or found before: what is denied then is the name.
    """
    moves = result.before is not None and result.before != result.image.record.digest
    if not isinstance(error, ImmutableTagError) and not (moves and error.status in (403, 405, 409, 412)):
        return error
    found = ImmutableTagError(
        "the registry does not let this name be given to another image",
        subject=result.image.name,
        want=result.image.record.digest,
        got=f"{result.before or 'a name that is taken'}, {error.got}",
        hint="give the image another name with as: or --map, or have the tag unlocked or deleted there",
    )
    found.status = error.status
    return found
