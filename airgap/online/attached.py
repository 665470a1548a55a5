"""What hangs on an image in its registry: signatures, SBOMs, attestations (OCI distribution-spec 1.1,
"Listing Referrers"; cosign's tags). They are locked, carried and loaded as images of their own.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from airgap.bundle.graph import Read, read_checked
from airgap.endpoints.ports import ContentSource, ReferrerSource
from airgap.errors import EndpointError, NotFoundError
from airgap.manifest import LockedImage
from airgap.oci.digest import Digest
from airgap.oci.documents import INDEX_TYPES, Descriptor, ImageIndex, parse_document
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import cosign_tags
from airgap.online.platforms import choose, has_of

MAX_ATTACHED = 1_000
_DEPTH = 2
"""A signature of an SBOM of an image is found; what refers to that is not."""


def attached(locked: LockedImage, source: ContentSource, read: Read | None = None) -> list[LockedImage]:
    """What refers to a locked image and to the manifests of it that are carried; `read` reads these."""
    if not isinstance(source, ReferrerSource) or locked.descriptor is None:
        return []
    found: dict[ImageReference, LockedImage] = {}
    if read is None:
        read = partial(source.read_document, locked.reference)
    subjects = _subjects(locked, locked.descriptor, source, read)
    for _ in range(_DEPTH):
        fresh = [image for subject in subjects for image in _about(locked, subject, source)]
        subjects = [i.descriptor.digest for i in fresh if i.name not in found and i.descriptor is not None]
        found |= {image.name: image for image in fresh}
        if len(found) > MAX_ATTACHED:
            want = f"at most {MAX_ATTACHED:,}"
            raise EndpointError("too much refers to it", subject=locked.reference, want=want)
    return list(found.values())


def _subjects(locked: LockedImage, root: Descriptor, source: ContentSource, read: Read) -> list[Digest]:
    if root.media_type not in INDEX_TYPES:
        return [root.digest]
    where = str(locked.reference)
    chosen = choose(locked, root, read, has_of(source, locked))
    index = parse_document(read_checked(root, read, where), root.media_type, where)
    entries = [entry.digest for entry in chosen.entries(index)] if isinstance(index, ImageIndex) else []
    nested = sorted((chosen.keep or frozenset()) - set(entries))
    return [root.digest, *entries, *nested]


def _about(locked: LockedImage, subject: Digest, source: ContentSource) -> Iterable[LockedImage]:
    if not isinstance(source, ReferrerSource):
        return
    for descriptor in source.referrers(locked.reference, subject):
        yield _lock(locked, None, Descriptor(descriptor.media_type, descriptor.digest, descriptor.size))
    for tag in cosign_tags(subject):
        try:
            found = source.resolve(replace(locked.reference, tag=tag, digest=None))
        except NotFoundError:
            continue
        yield _lock(locked, tag, found)


def _lock(locked: LockedImage, tag: str | None, descriptor: Descriptor) -> LockedImage:
    digest = None if tag else descriptor.digest
    return replace(
        locked,
        reference=replace(locked.reference, tag=tag, digest=digest),
        name=replace(locked.name, tag=tag, digest=digest),
        platforms=(),
        by_default=False,
        descriptor=descriptor,
        image_id=None,
        cosign_key=None,
    )
