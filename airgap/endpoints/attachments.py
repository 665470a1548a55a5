"""Attachments of images (signatures, SBOMs, attestations), and the base class of sources that find them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class Attachment:
    """An artifact that is attached to an image in its repository: a signature, an SBOM, an attestation."""

    subject: Digest
    """The digest of the image manifest or index that it is attached to."""
    descriptor: Descriptor
    """As the source reports it: the reader must check that it really has that subject."""
    tag: str | None = None
    """The tag at which cosign up to version 2 keeps it; None for a listed referrer."""


@dataclass(frozen=True, slots=True)
class Attachments:
    """A source's answer about attachments."""

    found: tuple[Attachment, ...]
    unknown: tuple[str, ...] = ()
    """The requests that failed, and why: there may be attachments that they would have found."""


class AttachmentSource(ABC):
    """A source that finds attachments with few requests: a registry."""

    @abstractmethod
    def attachments(
        self,
        reference: ImageReference,
        subjects: Sequence[Digest],
        also: Sequence[Digest] = (),
        *,
        thorough: bool = False,
    ) -> Attachments:
        """Return the attachments of images. A request that fails is in the result's `unknown`, and no
        exception is raised for it.

        Args:
            reference: An image in the repository to search.
            subjects: The digests of image manifests and indexes.
            also: The digests of attestations in an index, which rarely have attachments. The source is asked
                about the first one, and about the others only if the first one has attachments, or if that
                takes no further request.
            thorough: Request each tag of the first subject, even if the repository's list of tags lacks it:
                a cache may list fewer tags than it can fetch.
        """
