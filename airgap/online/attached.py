"""What hangs on an image in its registry: signatures, SBOMs, attestations (OCI distribution-spec 1.1,
"Listing Referrers"; cosign's tags). They are locked, carried and loaded as images of their own.
"""

from collections.abc import Iterable
from dataclasses import replace

from airgap.endpoints.ports import ContentSource, ReferrerSource
from airgap.errors import EndpointError, NotFoundError
from airgap.manifest import LockedImage
from airgap.oci.digest import Digest
from airgap.oci.documents import INDEX_TYPES, Descriptor, ImageIndex, check_size_and_digest, parse_document
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import cosign_tags
from airgap.online.plan import choose

MAX_ATTACHED = 1_000
_DEPTH = 2
"""A signature of an SBOM of an image is found; what refers to that is not."""


def attached(locked: LockedImage, source: ContentSource) -> list[LockedImage]:
    """What refers to a locked image and to the manifests of it that are carried."""
    if not isinstance(source, ReferrerSource) or locked.descriptor is None:
        return []
    found: dict[ImageReference, LockedImage] = {}
    subjects = _subjects(locked, locked.descriptor, source)
    for _ in range(_DEPTH):
        fresh = [image for subject in subjects for image in _about(locked, subject, source)]
        subjects = [i.descriptor.digest for i in fresh if i.name not in found and i.descriptor is not None]
        found |= {image.name: image for image in fresh}
        if len(found) > MAX_ATTACHED:
            want = f"at most {MAX_ATTACHED:,}"
            raise EndpointError("too much refers to it", subject=locked.reference, want=want)
    return list(found.values())


def _subjects(locked: LockedImage, root: Descriptor, source: ContentSource) -> list[Digest]:
    if root.media_type not in INDEX_TYPES:
        return [root.digest]
    where = str(locked.reference)
    raw = check_size_and_digest(source.read_document(locked.reference, root), root, where)
    index = parse_document(raw, root.media_type, where)
    entries = choose(index, locked.platforms, where) if isinstance(index, ImageIndex) else []
    return [root.digest, *(entry.digest for entry in entries)]


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
        descriptor=descriptor,
        image_id=None,
        cosign_key=None,
    )
