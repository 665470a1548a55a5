"""Use a verified bundle as a source of images, for `serve`."""

from collections.abc import Sequence
from typing import Self

from airgap.carry.recall_watch import RecallWatch
from airgap.carry.verify import VerifiedBundle
from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import NamedSource
from airgap.errors import NotFoundError
from airgap.oci.digest import ByteStream, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from airgap.offline.missing_base import missing_layers
from airgap.site import Site


class BundleSource(NamedSource):
    """A verified bundle as a source.

    The blobs that a delta leaves out are read from other bundles, which `build_on` finds. If a `site` is
    given, the bundle is refused as soon as a trust root there recalls it or a bundle that it builds on.
    """

    def __init__(self, bundle: VerifiedBundle, site: Site | None = None) -> None:
        self.bundle = bundle
        self.watches = [] if site is None else [RecallWatch(bundle, site)]
        """What `check_usable` asks."""
        self._images = {image.name: image for image in bundle.images}
        self._bases: dict[Digest, VerifiedBundle] = {}

    @property
    def name(self) -> str:
        return f"bundle:{self.bundle.folder.path}"

    def build_on(self, others: Sequence[Self]) -> None:
        """Find the blobs that the bundle leaves out in `others`. Raises `MissingBaseError` if a blob is in
        none of them: otherwise a client would get the error in the middle of a pull.
        """
        left_out = [item.digest for item in self.bundle.statement.requires]
        for other in others:
            in_other = [digest for digest in left_out if digest.path in other.bundle.sizes]
            self._bases |= dict.fromkeys(in_other, other.bundle)
            self.watches += other.watches if in_other else []
        if missing := [digest for digest in left_out if digest not in self._bases]:
            raise missing_layers(
                missing,
                "the bundle leaves out blobs that no served bundle has",
                subject=self.bundle.statement.title,
                hint="also name the bundles that are its base, or ask the sending side for a full bundle "
                "(airgap pack --full)",
            )

    def names(self) -> list[ImageReference]:
        return list(self._images)

    def check_usable(self) -> None:
        for watch in self.watches:
            watch.check()

    def resolve(self, reference: ImageReference) -> Descriptor:
        for image in self.bundle.images:
            if _means(reference, image):
                return image.graph.root
        raise NotFoundError("no such image", subject=f"{self.name}: {reference}")

    def _read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        for image in self.bundle.images:
            if descriptor.digest in image.graph.documents:
                return image.graph.documents[descriptor.digest][1]
        raise NotFoundError("no such document", subject=f"{self.name}: {reference}", want=descriptor.digest)

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        """Open a blob. From offset 0 the content is checked; from other offsets, the client checks it."""
        bundle = self._bases.get(descriptor.digest, self.bundle)
        if descriptor.digest.path not in bundle.sizes:
            raise NotFoundError("no such blob", subject=f"{self.name}: {reference}", want=descriptor.digest)
        if offset == 0:
            return bundle.open_blob(descriptor)
        stream = bundle.folder.open(descriptor.digest.path)
        stream.seek(offset)
        return stream


def _means(reference: ImageReference, image: VerifiedImage) -> bool:
    wanted: Digest | None = reference.digest
    if wanted is not None:
        return image.record.digest == wanted
    return image.name == reference
