"""A verified bundle as a source of images: what `serve` hands out."""

from airgap.errors import NotFoundError
from airgap.oci.digest import ByteStream, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from airgap.offline.contents import VerifiedImage
from airgap.offline.verify import VerifiedBundle


class BundleSource:
    """A `ContentSource` and a `NamedSource` over a bundle that passed verification."""

    def __init__(self, bundle: VerifiedBundle) -> None:
        self._bundle = bundle
        self._images = {image.name: image for image in bundle.images}

    @property
    def name(self) -> str:
        return f"bundle:{self._bundle.folder.path}"

    def names(self) -> list[ImageReference]:
        return list(self._images)

    def resolve(self, reference: ImageReference) -> Descriptor:
        for image in self._bundle.images:
            if _means(reference, image):
                return image.graph.root
        raise NotFoundError("no such image", subject=f"{self.name}: {reference}")

    def read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        for image in self._bundle.images:
            if descriptor.digest in image.graph.documents:
                return image.graph.documents[descriptor.digest][1]
        raise NotFoundError("no such document", subject=f"{self.name}: {reference}", want=descriptor.digest)

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        """Checked content for offset 0; from the middle on, the receiver's own check must do."""
        if descriptor.digest.path not in self._bundle.sizes:
            raise NotFoundError("no such blob", subject=f"{self.name}: {reference}", want=descriptor.digest)
        if offset == 0:
            return self._bundle.open_blob(descriptor)
        stream = self._bundle.folder.open(descriptor.digest.path)
        stream.seek(offset)
        return stream


def _means(reference: ImageReference, image: VerifiedImage) -> bool:
    wanted: Digest | None = reference.digest
    if wanted is not None:
        return image.record.digest == wanted
    return image.name == reference
