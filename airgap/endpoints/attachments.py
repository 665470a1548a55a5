"""What is attached to images: signatures, SBOMs, attestations. The port of the sources that find it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference


@dataclass(frozen=True, slots=True)
class Attachment:
    """What is attached to an image in its repository: a signature, an SBOM, an attestation."""

    subject: Digest
    """Of the image manifest or index that it is attached to."""
    descriptor: Descriptor
    """As the source tells it: whether it really has that subject is for the reader to check."""
    tag: str | None = None
    """Where cosign up to version 2 keeps it; None for what is listed as a referrer."""


@dataclass(frozen=True, slots=True)
class Attachments:
    """What a source answered when it was asked for attachments."""

    found: tuple[Attachment, ...]
    unknown: tuple[str, ...] = ()
    """Questions that were not answered, and why: there may be more."""


@runtime_checkable
class AttachmentSource(Protocol):
    """A source that finds attachments with few questions: a registry."""

    def attachments(
        self,
        reference: ImageReference,
        subjects: Sequence[Digest],
        also: Sequence[Digest] = (),
        *,
        thorough: bool = False,
    ) -> Attachments:
        """What is attached to `subjects`, in the repository of `reference`, its tag included. A question
        that fails is in `unknown`, and nothing is raised for it.

        Those in `also` are attestations: the first of them is asked about, and the others where something is
        attached to it, or where it costs no further question. With `thorough`,
        the tags of the first subject are asked for one by one, also where a list of the repository's tags
        does not have them: what caches list need not be all they can fetch.
        """
