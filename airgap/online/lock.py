"""Resolves each tag in a manifest to its current digest."""

from collections.abc import Iterable, Sequence
from dataclasses import field, replace

from airgap.endpoints.listing import ListingSource
from airgap.endpoints.ports import ContentSource, ExportSource, Source
from airgap.errors import EndpointError, FormatError, IntegrityError, NotFoundError
from airgap.limits import METADATA_JOBS
from airgap.manifest import (
    AttachmentChoice,
    ImageEntry,
    LeftOut,
    Lock,
    LockedImage,
    TransferManifest,
    offline_name,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import INDEX_TYPES
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import is_fallback_tag
from airgap.online.listed import Attached, hint_for, pick, why_left_out
from airgap.online.lock_files import SILENT, lock_files
from airgap.online.plan import DocumentCache, Failures, MetadataReader, OpenSource, sort_out
from airgap.online.platforms import Chosen, choose_held, choose_platforms, default_platform, has_of
from airgap.online.referrers import with_attached
from airgap.online.relock import KeptImages
from airgap.progress import Progress
from airgap.values import dataclass
from airgap.workers import run_all


@dataclass(slots=True)
class _Resolved:
    """The images that one item of the manifest names."""

    images: list[LockedImage] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def resolve(
    manifest: TransferManifest,
    open_source: OpenSource,
    failures: Failures | None = None,
    documents: DocumentCache | None = None,
    default: Platform | None = None,
    *,
    kept: KeptImages | None = None,
    charts: Sequence[LockedImage] = (),
    progress: Progress = SILENT,
) -> Lock:
    """Return the lock of `manifest`, including attachments of its images. Only metadata is fetched;
    `documents` keeps what was read.

    `default` is the platform for images without one in the manifest (this machine's if None). `kept` are
    images that are not resolved again, and `charts` those of repositories over HTTP (see `expand`).
    `progress` gets the reading of large files. Raises the first entry's error in manifest order or, with
    `failures`, locks the others.
    """
    found = [_Resolved() for _ in manifest.images]
    resolver = _Resolver(open_source, documents or DocumentCache(), default or default_platform())

    def lock(number: int) -> None:
        if kept and number in kept:
            first, *attached = kept[number]
            brought = manifest.images[number].brought
            found[number] = _Resolved([replace(first, brought=brought), *attached])
        else:
            found[number] = resolver.resolve(manifest.images[number])

    errors = run_all(lock, range(len(found)), METADATA_JOBS)
    failed = {_title(e): error for e, error in zip(manifest.images, errors, strict=True) if error is not None}
    sort_out(failed, failures)
    made = [*lock_files(manifest, open_source, failures, progress), *charts]
    names: dict[ImageReference, LockedImage] = {}
    for image in (*(image for resolved in found for image in resolved.images), *made):
        other = names.setdefault(image.name.normal, image)
        if _digests(other) != _digests(image):
            raise FormatError("two images have the same name", subject=image.name, got="different digests")
        if other.is_optional and not image.is_optional:
            names[image.name.normal] = image
    return Lock(
        manifest.name, manifest.sha256, tuple(names.values()), _still_left_out(found), manifest.images_sha256
    )


def _still_left_out(resolved_items: Iterable[_Resolved]) -> tuple[LeftOut, ...]:
    """Return the images that are not locked by any item: several items may name the same archive."""
    taken = {digest for resolved in resolved_items for image in resolved.images for digest in _digests(image)}
    return tuple(
        dict.fromkeys(
            item for resolved in resolved_items for item in resolved.left_out if item.digest not in taken
        )
    )


def _title(entry: ImageEntry) -> str:
    return str(entry.name or entry.reference or entry.archive)


def _digests(image: LockedImage) -> tuple[Digest | None, Digest | None]:
    return None if image.descriptor is None else image.descriptor.digest, image.image_id


@dataclass(frozen=True, slots=True)
class _Resolver:
    """Resolves the items of one manifest."""

    open_source: OpenSource
    documents: DocumentCache
    default: Platform

    def resolve(self, entry: ImageEntry) -> _Resolved:
        source = self.open_source(entry.source, entry.reference, entry.archive)
        listed = source.list_images() if isinstance(source, ListingSource) and entry.archive else None
        attached = None if listed is None else Attached(listed)
        if entry.reference is not None:
            try:
                return _Resolved(self._lock(entry, entry.reference, source, attached))
            except NotFoundError as error:
                error.hint = hint_for(entry.reference, listed or []) or error.hint
                raise
        if listed is None:
            raise FormatError("the image is not named", subject=source.name, want="a ref")
        found = _Resolved()
        for picked in pick(entry, source.name, listed):
            own = replace(entry, rename=picked.rename, digest=None)
            found.images += self._lock(own, picked.reference, source, attached)
        if entry.digest is None:
            locked = {digest for image in found.images for digest in _digests(image)}
            taken = {digest for image in listed if image.digest in locked for digest in image.contents}
            found.left_out = [
                LeftOut(source.name, image.digest, why_left_out(image))
                for image in listed
                if image.digest not in taken and not is_fallback_tag(image.tag)
            ]
        return found

    def _lock(
        self,
        entry: ImageEntry,
        reference: ImageReference,
        source: Source,
        attached: Attached | None,
    ) -> list[LockedImage]:
        """Return one image, followed by its attachments."""
        chosen = None
        if isinstance(source, ExportSource):
            locked = self._lock_export(entry, reference, source)
        else:
            locked, chosen = self._lock_content(entry, reference, source)
        if attached is not None:
            return [locked, *_attachments(locked, source, attached)]
        if not isinstance(source, ExportSource):
            return with_attached(locked, source, self.documents, chosen)
        if locked.attachments is AttachmentChoice.REQUIRED:
            what = "an engine does not have attachments"
            raise EndpointError(what, subject=locked.reference, want="another source, or attachments: auto")
        return [locked]

    def _lock_export(self, entry: ImageEntry, reference: ImageReference, source: ExportSource) -> LockedImage:
        pinned = reference.with_digest(entry.digest) if entry.digest else reference
        image_id = _identify(entry, reference, source)
        locked = replace(self._unresolved(entry, reference), reference=pinned, image_id=image_id)
        held = choose_held(locked, source)
        return replace(locked, left_out=held.left_out, notes=held.notes)

    def _lock_content(
        self, entry: ImageEntry, reference: ImageReference, source: ContentSource
    ) -> tuple[LockedImage, Chosen | None]:
        descriptor = source.resolve(reference.with_digest(entry.digest) if entry.digest else reference)
        if entry.digest is not None and descriptor.digest != entry.digest:
            raise _not_pinned(entry, reference, descriptor.digest)
        locked = replace(self._unresolved(entry, reference), descriptor=descriptor)
        if descriptor.media_type not in INDEX_TYPES:  # the config of a single image is read by the plan
            return locked, None
        reader = MetadataReader(source, locked, self.documents)
        chosen = choose_platforms(locked, descriptor, reader.read, has_of(source, locked))
        return replace(locked, left_out=chosen.left_out, notes=chosen.notes), chosen

    def _unresolved(self, entry: ImageEntry, reference: ImageReference) -> LockedImage:
        return LockedImage(
            reference=reference,
            name=entry.rename or offline_name(reference),
            source=entry.source,
            path=entry.archive,
            platforms=(self.default,) if entry.platforms is None else entry.platforms,
            descriptor=None,
            image_id=None,
            cosign_key=entry.cosign_key,
            cosign_identity=entry.cosign_identity,
            attachments=entry.attachments,
            by_default=entry.platforms is None,
            brought=entry.brought,
        )


def _attachments(locked: LockedImage, source: Source, attached: Attached) -> list[LockedImage]:
    """Return the attachments of an image in the same archive or layout, as images of their own."""
    if locked.attachments is AttachmentChoice.NONE:
        return []
    own = attached.images(_digests(locked))
    attachments = []
    for about, image, tag in ((parent, *pair) for parent in own for pair in attached.to(parent)):
        reference = replace(locked.reference, tag=tag, digest=image.digest)
        resolved = None if isinstance(source, ExportSource) else source.resolve(reference)
        image_id = image.digest if resolved is None else None
        attachments.append(locked.attached(reference, resolved, image_id, image.subject or about.digest))
    return attachments


def _identify(entry: ImageEntry, reference: ImageReference, source: ExportSource) -> Digest:
    """Return the image's ID. The pinned digest may be the ID itself, or a registry's digest that the source
    associates with the image. In the second case, the engine's word is the only proof.
    """
    if entry.digest is None:
        return source.identify(reference)
    try:
        return source.identify(reference.with_digest(entry.digest))
    except NotFoundError:
        if reference.tag is None:
            raise
        if (identified := source.identify(reference.with_digest(None))) != entry.digest:
            raise _not_pinned(entry, reference, identified) from None
        return identified


def _not_pinned(entry: ImageEntry, reference: ImageReference, digest: Digest) -> IntegrityError:
    return IntegrityError("not the pinned digest", subject=reference, want=entry.digest, got=digest)
