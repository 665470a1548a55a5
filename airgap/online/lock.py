"""Resolving a manifest: every tag to the digest that it has now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from airgap.endpoints.listing import ListedImage, ListingSource
from airgap.endpoints.ports import ExportSource, Source
from airgap.errors import FormatError, IntegrityError, NotFoundError
from airgap.manifest import ImageEntry, LeftOut, Lock, LockedImage, TransferManifest, offline_name
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import is_fallback_tag
from airgap.online.attached import attached
from airgap.online.listed import attached_to, hint_for, pick, why_left_out
from airgap.online.sources import METADATA_JOBS, Failures, OpenSource, sort_out
from airgap.workers import run_all


@dataclass(slots=True)
class _Found:
    """What one item of the manifest means."""

    images: list[LockedImage] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def resolve(manifest: TransferManifest, open_source: OpenSource, failures: Failures | None = None) -> Lock:
    """The lock of `manifest`, with what refers to its images. Nothing but metadata is fetched.

    Raises the first entry's error, in the order of the manifest, or, with `failures`, locks the others.
    """
    found = [_Found() for _ in manifest.images]

    def lock(number: int) -> None:
        found[number] = _resolve(manifest.images[number], open_source)

    errors = run_all(lock, range(len(found)), METADATA_JOBS)
    failed = {_title(e): error for e, error in zip(manifest.images, errors, strict=True) if error is not None}
    sort_out(failed, failures)
    images = tuple(image for each in found for image in each.images)
    names: dict[ImageReference, LockedImage] = {}
    for image in images:
        other = names.setdefault(image.name, image)
        if _what(other) != _what(image):
            raise FormatError("two images for one name", subject=image.name, got="different digests")
    left_out = _still_left_out(found)
    return Lock(manifest.name, manifest.sha256, tuple(names.values()), left_out)


def _still_left_out(found: Iterable[_Found]) -> tuple[LeftOut, ...]:
    """What no item of the manifest takes: several may mean one archive."""
    taken = {digest for each in found for image in each.images for digest in _what(image)}
    return tuple(dict.fromkeys(item for each in found for item in each.left_out if item.digest not in taken))


def _title(entry: ImageEntry) -> str:
    return str(entry.name or entry.reference or entry.archive)


def _what(image: LockedImage) -> tuple[Digest | None, Digest | None]:
    return None if image.descriptor is None else image.descriptor.digest, image.image_id


def _resolve(entry: ImageEntry, open_source: OpenSource) -> _Found:
    source = open_source(entry.source, entry.reference, entry.archive)
    listed = source.list_images() if isinstance(source, ListingSource) and entry.archive else None
    if entry.reference is not None:
        try:
            return _Found(_lock(entry, entry.reference, source, listed))
        except NotFoundError as error:
            error.hint = hint_for(entry.reference, listed or []) or error.hint
            raise
    if listed is None:
        raise FormatError("which image?", subject=source.name, want="a ref")
    found = _Found()
    for picked in pick(entry, source.name, listed):
        own = replace(entry, rename=picked.rename, digest=None)
        found.images += _lock(own, picked.reference, source, listed)
    if entry.digest is None:
        locked = {digest for image in found.images for digest in _what(image)}
        taken = {digest for image in listed if image.digest in locked for digest in image.contents}
        found.left_out = [
            LeftOut(source.name, image.digest, why_left_out(image))
            for image in listed
            if image.digest not in taken and not is_fallback_tag(image.tag)
        ]
    return found


def _lock(
    entry: ImageEntry, reference: ImageReference, source: Source, listed: Sequence[ListedImage] | None
) -> list[LockedImage]:
    """One image, and behind it what refers to it."""
    descriptor, image_id = None, None
    if isinstance(source, ExportSource):
        image_id = source.identify(reference)
    else:
        pinned = reference.with_digest(entry.digest) if entry.digest else reference
        descriptor = source.resolve(pinned)
    digest = descriptor.digest if descriptor else image_id
    if entry.digest is not None and digest != entry.digest:
        raise IntegrityError("not the pinned digest", subject=reference, want=entry.digest, got=digest)
    locked = LockedImage(
        reference=reference,
        name=entry.rename or offline_name(reference),
        source=entry.source,
        path=entry.archive,
        platforms=entry.platforms,
        descriptor=descriptor,
        image_id=image_id,
        cosign_key=entry.cosign_key,
    )
    if listed is not None:
        return [locked, *_attachments(locked, source, listed)]
    return [locked] if isinstance(source, ExportSource) else [locked, *attached(locked, source)]


def _attachments(locked: LockedImage, source: Source, listed: Sequence[ListedImage]) -> list[LockedImage]:
    """What is attached to an image in the same archive or layout, as images of their own."""
    own = [image for image in listed if image.digest in _what(locked)]
    found = []
    for image, tag in (pair for each in own for pair in attached_to(each, listed)):
        reference = replace(locked.reference, tag=tag, digest=image.digest)
        resolved = None if isinstance(source, ExportSource) else source.resolve(reference)
        found.append(
            replace(
                locked,
                reference=reference,
                name=replace(locked.name, tag=tag, digest=None if tag else image.digest),
                platforms=(),
                descriptor=resolved,
                image_id=image.digest if resolved is None else None,
                cosign_key=None,
            )
        )
    return found
