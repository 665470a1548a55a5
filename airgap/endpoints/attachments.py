"""Attachments of images: signatures, SBOMs, attestations; and the port of the sources that find them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference


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
    """Questions that were not answered, and why: there may be more."""


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
        """Return the attachments of `subjects` in the repository of `reference`, its tag included. A question
        that fails is listed in `unknown`; no exception is raised for it.

        Those in `also` are attestations: the first of them is asked about, and the others where something is
        attached to it, or where it costs no further question. With `thorough`,
        the tags of the first subject are asked for one by one, also where a list of the repository's tags
        does not have them: what caches list need not be all they can fetch.
        """
