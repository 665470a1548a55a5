"""Resolving a manifest: every tag to the digest that it has now."""

from dataclasses import replace

from airgap.endpoints.ports import ExportSource, NamedSource, Source
from airgap.errors import EndpointError, FormatError, IntegrityError, NotFoundError
from airgap.manifest import ImageEntry, Lock, LockedImage, TransferManifest, offline_name
from airgap.oci.digest import Digest
from airgap.oci.documents import INDEX_TYPES, Descriptor
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference
from airgap.online.attached import with_attached
from airgap.online.plan import MetadataReader
from airgap.online.platforms import choose, choose_held, default_platform, has_of
from airgap.online.sources import METADATA_JOBS, Documents, Failures, OpenSource, sort_out
from airgap.workers import run_all


def resolve(
    manifest: TransferManifest,
    open_source: OpenSource,
    failures: Failures | None = None,
    documents: Documents | None = None,
    default: Platform | None = None,
) -> Lock:
    """The lock of `manifest`, with what is attached to its images. Nothing but metadata is fetched; what was
    read is in `documents`.

    `default` is the platform of images for which the manifest names none; without it, this machine's.
    Raises the first entry's error, in the order of the manifest, or, with `failures`, locks the others.
    """
    found: list[list[LockedImage]] = [[] for _ in manifest.images]
    documents = documents or Documents()
    default = default or default_platform()

    def lock(number: int) -> None:
        found[number] = _resolve(manifest.images[number], open_source, documents, default)

    errors = run_all(lock, range(len(found)), METADATA_JOBS)
    failed = {_title(e): error for e, error in zip(manifest.images, errors, strict=True) if error is not None}
    sort_out(failed, failures)
    images = tuple(image for images in found for image in images)
    names: dict[ImageReference, LockedImage] = {}
    for image in images:
        other = names.setdefault(image.name, image)
        if _what(other) != _what(image):
            raise FormatError("two images for one name", subject=image.name, got="different digests")
        if other.is_optional and not image.is_optional:
            names[image.name] = image
    return Lock(manifest.name, manifest.sha256, tuple(names.values()))


def _title(entry: ImageEntry) -> str:
    return str(entry.name or entry.reference or entry.archive)


def _what(image: LockedImage) -> tuple[Descriptor | None, Digest | None]:
    return image.descriptor, image.image_id


def _resolve(
    entry: ImageEntry, open_source: OpenSource, documents: Documents, default: Platform
) -> list[LockedImage]:
    source = open_source(entry.source, entry.reference, entry.archive)
    if entry.reference is not None:
        return _lock(entry, entry.reference, source, documents, default)
    if not isinstance(source, NamedSource):
        raise FormatError("which image?", subject=source.name, want="a ref")
    names = source.names()
    if not names:
        raise NotFoundError("no image in it", subject=source.name)
    if len(names) > 1 and (entry.rename or entry.digest):
        got = ", ".join(map(str, names))
        raise FormatError("`as` and `digest` want one image", subject=source.name, got=got)
    return [image for name in names for image in _lock(entry, name, source, documents, default)]


def _lock(
    entry: ImageEntry, reference: ImageReference, source: Source, documents: Documents, default: Platform
) -> list[LockedImage]:
    """One image, and behind it what is attached to it."""
    descriptor, image_id = None, None
    pinned = reference.with_digest(entry.digest) if entry.digest else reference
    if isinstance(source, ExportSource):
        image_id = _identify(entry, reference, source)
    else:
        descriptor = source.resolve(pinned)
        if entry.digest is not None and descriptor.digest != entry.digest:
            raise _not_pinned(entry, reference, descriptor.digest)
    locked = LockedImage(
        reference=pinned if isinstance(source, ExportSource) else reference,
        name=entry.rename or offline_name(reference),
        source=entry.source,
        path=entry.archive,
        platforms=(default,) if entry.platforms is None else entry.platforms,
        descriptor=descriptor,
        image_id=image_id,
        cosign_key=entry.cosign_key,
        attachments=entry.attachments,
        by_default=entry.platforms is None,
    )
    if not isinstance(source, ExportSource) and descriptor is not None:
        if (
            descriptor.media_type in INDEX_TYPES
        ):  # of a single image the config is not read: the plan judges it
            reader = MetadataReader(source, locked, documents)
            chosen = choose(locked, descriptor, reader.read, has_of(source, locked))
            locked = replace(locked, left_out=chosen.left_out, notes=chosen.notes)
        return with_attached(locked, source, documents)
    if locked.attachments == "required":
        what = "attachments are in registries only"
        raise EndpointError(what, subject=locked.reference, want="source: registry, or attachments: auto")
    held = choose_held(locked, source)
    return [replace(locked, left_out=held.left_out, notes=held.notes)]


def _identify(entry: ImageEntry, reference: ImageReference, source: ExportSource) -> Digest:
    """The image's ID. The pinned digest may be the ID itself, or the one of a registry that the source binds
    to the image: then it proves what an engine says, and no more.
    """
    if entry.digest is None:
        return source.identify(reference)
    try:
        return source.identify(reference.with_digest(entry.digest))
    except NotFoundError:
        if reference.tag is None:
            raise
        if (found := source.identify(reference.with_digest(None))) != entry.digest:
            raise _not_pinned(entry, reference, found) from None
        return found


def _not_pinned(entry: ImageEntry, reference: ImageReference, found: Digest) -> IntegrityError:
    return IntegrityError("not the pinned digest", subject=reference, want=entry.digest, got=found)
