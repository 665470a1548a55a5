"""Finds the attachments of an image in its registry: signatures, SBOMs, attestations (OCI distribution-spec
1.1, "Listing Referrers"; cosign's tags). Attachments are locked, carried and loaded as images of their own.

They are optional: if a registry does not answer, the image is carried, and its lock records what is unknown.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from airgap.bundle.graph import read_checked
from airgap.endpoints.attachments import Attachment, AttachmentSource
from airgap.endpoints.ports import ContentSource
from airgap.errors import EndpointError, printable
from airgap.limits import MAX_ATTACHED, MAX_ATTACHED_DEPTH
from airgap.manifest import AttachmentChoice, LockedImage
from airgap.oci.digest import Digest
from airgap.oci.documents import INDEX_TYPES, Descriptor, ImageIndex, parse_document
from airgap.oci.reference import ImageReference
from airgap.online.plan import DocumentCache
from airgap.online.platforms import ATTESTED, Chosen, choose_platforms, has_of
from airgap.values import dataclass

_MAX_REASONS = 900


@dataclass(frozen=True, slots=True)
class _Subjects:
    """The documents of an image that may have attachments."""

    main: list[Digest]
    attestations: list[Digest]
    """Entries of an index that are about other entries. They rarely have attachments."""
    known: frozenset[Digest]
    """The digests of the image itself."""


def with_attached(
    locked: LockedImage, source: ContentSource, documents: DocumentCache, chosen: Chosen | None = None
) -> list[LockedImage]:
    """Return a locked image, followed by its attachments and those of its manifests that are carried. If they
    were chosen before, they are `chosen`.

    If the source did not answer every request, raises `EndpointError` if attachments are required, or if the
    image needs a signature and no attachment was found.
    """
    if not isinstance(source, AttachmentSource) or locked.descriptor is None:
        return [locked]
    if locked.attachments is AttachmentChoice.NONE:
        return [locked]
    subjects = _subjects(locked, locked.descriptor, source, documents, chosen)
    attached: dict[ImageReference, LockedImage] = {}
    unknown: dict[str, None] = {}
    main, also = subjects.main, subjects.attestations
    for depth in range(MAX_ATTACHED_DEPTH):
        thorough = locked.is_demanding and depth == 0
        answer = source.attachments(locked.reference, main, also, thorough=thorough)
        fresh = [_lock(locked, item) for item in answer.found if item.descriptor.digest not in subjects.known]
        main, also = [i.descriptor.digest for i in fresh if i.name not in attached and i.descriptor], []
        attached |= {image.name: image for image in fresh}
        unknown |= dict.fromkeys(answer.unknown)
        if len(attached) > MAX_ATTACHED:
            want = f"at most {MAX_ATTACHED:,}"
            raise EndpointError("too many attachments", subject=locked.reference, want=want)
        if not main:
            break
    reasons = printable("; ".join(unknown))[:_MAX_REASONS]
    if reasons and (
        locked.attachments is AttachmentChoice.REQUIRED or (locked.is_demanding and not attached)
    ):
        raise EndpointError(
            "attachments are unknown",
            subject=locked.reference,
            got=reasons,
            hint="`cosign-key:`, `cosign-identity:` and `attachments: required` need an answer; "
            "`attachments: auto` does not",
        )
    return [replace(locked, attachments_unknown=reasons or None), *attached.values()]


def _subjects(
    locked: LockedImage,
    root: Descriptor,
    source: ContentSource,
    documents: DocumentCache,
    chosen: Chosen | None,
) -> _Subjects:
    if root.media_type not in INDEX_TYPES:
        return _Subjects([root.digest], [], frozenset({root.digest}))
    where = str(locked.reference)
    read = partial(documents.read, source, locked.reference)
    if chosen is None:
        chosen = choose_platforms(locked, root, read, has_of(source, locked))
    index = parse_document(read_checked(root, read, where), root.media_type, where)
    whole = index.manifests if isinstance(index, ImageIndex) else ()
    entries = chosen.entries(index) if isinstance(index, ImageIndex) else []
    nested = sorted((chosen.keep or frozenset()) - {entry.digest for entry in entries})
    return _Subjects(
        [root.digest, *_digests(entry for entry in entries if ATTESTED not in entry.annotations), *nested],
        _digests(entry for entry in entries if ATTESTED in entry.annotations),
        frozenset({root.digest, *_digests(whole), *nested}),
    )


def _digests(entries: Iterable[Descriptor]) -> list[Digest]:
    return list(dict.fromkeys(entry.digest for entry in entries))


def _lock(locked: LockedImage, attachment: Attachment) -> LockedImage:
    tag, listed = attachment.tag, attachment.descriptor
    reference = replace(locked.reference, tag=tag, digest=None if tag else listed.digest)
    descriptor = Descriptor(listed.media_type, listed.digest, listed.size)
    return locked.attached(reference, descriptor, None, attachment.subject)
