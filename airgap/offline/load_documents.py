"""Store an image's documents in a registry or an OCI directory: children first, the name last."""

import contextlib
from collections.abc import Callable, Collection
from dataclasses import replace

from airgap.bundle.graph import ImageGraph
from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import ContentTarget, RegistryTarget
from airgap.errors import AccessDeniedError, EndpointError, ImmutableTagError, RefusedError
from airgap.oci.digest import Digest
from airgap.oci.documents import INDEX_TYPES, Descriptor
from airgap.oci.reference import ImageReference
from airgap.offline.loader import LoadedImage
from airgap.offline.reduced import described, reduced
from airgap.progress import Progress
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class DocumentLoader:
    """Stores documents in `target`, one image at a time."""

    target: ContentTarget
    progress: Progress

    def load(self, result: LoadedImage) -> Digest:
        """Do the same as `put`, with a clear error for a name that may not be moved."""
        try:
            return self.put(result)
        except (RefusedError, AccessDeniedError) as error:
            raise _explained(error, result) from error

    def put(self, result: LoadedImage) -> Digest:
        """Store all documents and then the name, after the blobs; return the digest that the name now has.

        Many registries refuse an index if they lack some of its manifests, with various errors, and some
        refuse attestations. If all carried parts of an image are stored and its index is refused, the name
        is given to a reduced image, and `result.reason` says so.
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

    def put_below(self, image: VerifiedImage) -> None:
        """Store the documents below the one that gets the name, and in an OCI directory that one too. What a
        registry refuses among them is decided in `put`.
        """
        for digest, (descriptor, document) in image.graph.documents.items():
            if digest != image.record.digest or not isinstance(self.target, RegistryTarget):
                with contextlib.suppress(RefusedError):
                    self._put_document(image.name, descriptor, document)

    def _refusal(self, image: VerifiedImage, root: Descriptor, raw: bytes) -> RefusedError | None:
        """Store the top document under its name; return the error if it is refused."""
        try:
            self._put_root(image, root, raw)
        except RefusedError as error:
            return error
        return None

    def _put_reduced(self, image: VerifiedImage, less: ImageGraph, refusal: RefusedError) -> None:
        """Store the reduced image. Raises `refusal` if it is refused too: the cause was a different one."""
        try:
            for digest, (descriptor, raw) in less.documents.items():
                if digest not in image.graph.documents and digest != less.root.digest:
                    self._put_document(image.name, descriptor, raw)
            self._put_root(image, *less.documents[less.root.digest])
        except EndpointError as error:
            raise refusal from error

    def _put_root(self, image: VerifiedImage, root: Descriptor, raw: bytes) -> None:
        """Store the top document under its name. If it is a referrer, add it to the list of its subject.

        In a registry, it is not stored under its digest first: if the registry refuses a second write (Nexus,
        "Disable redeploy"), storing the name would then fail.
        """
        name = image.name
        tops = (item.manifest for item in image.graph.manifests if item.descriptor.digest == root.digest)
        manifest = next(tops, None)
        if not isinstance(self.target, RegistryTarget):
            self.target.put_document(name, root, raw)
        elif manifest is not None and manifest.subject is not None:
            kind = manifest.artifact_type or manifest.config.media_type
            entry = replace(root, annotations=manifest.annotations, artifact_type=kind, platform=None)
            self.target.put_referrer(name, manifest.subject.digest, entry, raw)
        self._unless_there(name, root.digest, lambda: self.target.tag(name, root, raw))

    def _put_document(self, name: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        by_digest = replace(name, tag=None, digest=descriptor.digest)
        self._unless_there(
            by_digest, descriptor.digest, lambda: self.target.put_document(name, descriptor, raw)
        )

    def _unless_there(self, name: ImageReference, digest: Digest, put: Callable[[], None]) -> None:
        """Call `put`; ignore its refusal if the target already has the document."""
        try:
            put()
        except RefusedError:
            with contextlib.suppress(EndpointError):
                if self.target.find(name) == digest:
                    return
            raise


def reason_of(target: str, less: ImageGraph, refused: Collection[Digest] = ()) -> str:
    """Return the reason why a name at `target` refers to `less` instead of the signed image."""
    what = "does not accept attestations" if refused else "does not accept an index that lacks platforms"
    return (
        f"{target} {what}; the name refers to {described(less)}, {less.root.digest}: "
        "signatures of the original do not cover it"
    )


def _is_extra(graph: ImageGraph, digest: Digest) -> bool:
    """Return whether a document is an attestation of an image that runs without it."""
    kinds = {item.descriptor.digest: item.config is not None for item in graph.manifests}
    return kinds.get(digest) is False and any(kinds.values())


def _explained(error: EndpointError, result: LoadedImage) -> EndpointError:
    """Return a clear error if `error` means that the name belongs to another image and may not be moved. All
    blobs were accepted before, so a refusal is about the name.
    """
    moves = result.before is not None and result.before != result.image.record.digest
    if not isinstance(error, ImmutableTagError) and not (moves and error.status in (403, 405, 409, 412)):
        return error
    explained = ImmutableTagError(
        "the registry does not allow this name to be moved to another image",
        subject=result.image.name,
        want=result.image.record.digest,
        got=f"{result.before or 'a name in use'}, {error.got}",
        hint="use another name, with as: or --map, or have the tag unlocked or deleted in the registry",
    )
    explained.status = error.status
    return explained
