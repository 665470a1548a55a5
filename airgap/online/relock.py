"""What a lock keeps when the manifest is locked again."""

from collections import Counter
from collections.abc import Mapping, Sequence

from airgap.errors import AirgapError, UsageError
from airgap.manifest import ImageEntry, Lock, LockedImage, TransferManifest
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.values import dataclass

KeptImages = Mapping[int, Sequence[LockedImage]]
"""The locked images of items of the manifest that are not resolved again, by the item's position."""


def unchanged_items(manifest: TransferManifest, lock: Lock) -> dict[int, list[LockedImage]]:
    """Return the images of items that are in the manifest as they were when `lock` was written.

    Archives and layouts are read again: they are local, and their content is what is carried. So are images
    whose attachments were unknown.
    """
    groups = _groups(lock)
    kept: dict[int, list[LockedImage]] = {}
    for number, entry in enumerate(manifest.images):
        for group in groups if entry.archive is None else ():
            if _is_of(group[0], entry):
                kept[number] = group
    return kept


def all_items_but(
    names: Sequence[str], manifest: TransferManifest, lock: Lock
) -> dict[int, list[LockedImage]]:
    """Return the images of all items except those that `names` names: the images to resolve again.

    Raises `UsageError` for a name that the manifest does not have, and for another item that cannot be kept,
    because it is new or has changed.
    """
    meant = {name: _items_named(name, manifest, lock) for name in names}
    for name, numbers in meant.items():
        if not numbers and not any(names_chart(name, chart.artifact) for chart in manifest.charts):
            known = ", ".join(_title(entry) for entry in manifest.images[:5])
            raise UsageError("no such image in the manifest", subject=name, want=f"one of {known}")
    kept = unchanged_items(manifest, lock)
    if lock.fits(manifest):
        kept |= {
            number: [image for image in lock.images if (image.source, image.path) == _file(entry)]
            for number, entry in enumerate(manifest.images)
            if entry.archive is not None
        }
        kept |= {number: group for group in _groups(lock, whole=True)
                 for number, entry in enumerate(manifest.images) if _is_of(group[0], entry)}  # fmt: skip
    resolved = {number for numbers in meant.values() for number in numbers}
    for number, entry in enumerate(manifest.images):
        if number not in resolved and not kept.get(number) and not _is_brought(entry, names):
            raise UsageError(
                "the lock does not have this image as the manifest lists it", subject=_title(entry),
                hint="lock it too: name it with another --only, or leave --only out",
            )  # fmt: skip
    return {number: images for number, images in kept.items() if number not in resolved}


@dataclass(frozen=True, slots=True)
class Relocked:
    """One image before and after it was locked again, with the digests; None: not in that lock."""

    name: ImageReference
    was: Digest | None
    now: Digest | None


def compare_locks(before: Lock, after: Lock) -> list[Relocked]:
    """Return all images of both locks, in the order of `after`; those that were removed are last."""
    was = {image.name.normal: locked_digest(image) for image in before.images}
    names = {image.name.normal for image in after.images}
    rows = [Relocked(image.name, was.get(image.name.normal), locked_digest(image)) for image in after.images]
    removed = [image for image in before.images if image.name.normal not in names]
    return rows + [Relocked(image.name, locked_digest(image), None) for image in removed]


def locked_digest(image: LockedImage) -> Digest | None:
    """Return the digest that identifies an image at its source: of its manifest, or its ID."""
    return image.image_id if image.descriptor is None else image.descriptor.digest


def _groups(lock: Lock, *, whole: bool = False) -> list[list[LockedImage]]:
    """Return each image with its attachments, which follow it in a lock.

    Attachments of an image that has two names are listed once, so such images are left out: one of the names
    may be gone. With `whole`, no name is gone, and they are included.
    """
    groups: list[list[LockedImage]] = []
    for image in lock.images:
        if image.subject is None:
            groups.append([image])
        elif groups:
            groups[-1].append(image)
    counts = Counter(_identity(group[0]) for group in groups)
    known = [group for group in groups if all(image.attachments_unknown is None for image in group)]
    return groups if whole else [group for group in known if counts[_identity(group[0])] == 1]


def _identity(image: LockedImage) -> tuple[object, ...]:
    return image.source, image.reference.registry, image.reference.repository, locked_digest(image)


def _is_of(image: LockedImage, entry: ImageEntry) -> bool:
    """Return whether the locked image is of this item of the manifest, which has not changed since."""
    if entry.reference is None or entry.digest not in (None, locked_digest(image)):
        return False
    chosen = image.by_default if entry.platforms is None else image.platforms == entry.platforms
    pinned = entry.reference.with_digest(entry.digest) if entry.digest else entry.reference
    return (
        chosen
        and image.by_default == (entry.platforms is None)
        and image.reference in (entry.reference, pinned)
        and (image.name, image.source, image.path) == (entry.name, *_file(entry))
        and (image.cosign_key, image.cosign_identity) == (entry.cosign_key, entry.cosign_identity)
        and image.attachments == entry.attachments
    )


def _file(entry: ImageEntry) -> tuple[object, object]:
    return entry.source, entry.archive


def _items_named(name: str, manifest: TransferManifest, lock: Lock) -> list[int]:
    """Return the positions of the items that a person means: by the name at the source or offline, with or
    without the tag, or by the archive as it is written.
    """
    numbers = []
    for number, entry in enumerate(manifest.images):
        inside = (image.name for image in lock.images if (image.source, image.path) == _file(entry))
        own = [entry.reference, entry.name, *(inside if entry.archive is not None else ())]
        is_meant = names_reference if entry.chart is None else names_chart
        if any(is_meant(name, reference) for reference in filter(None, own)) or (
            entry.archive is not None and name == entry.archive.name
        ):
            numbers.append(number)
    return numbers


def names_reference(text: str, reference: ImageReference) -> bool:
    """Return whether a person means `reference` by `text`: by its name, with or without the tag."""
    try:
        meant = ImageReference.parse(text)
    except AirgapError:
        return False
    if meant.digest is not None or ":" in text.rpartition("/")[2]:
        return meant.normal == reference.normal
    return (meant.registry, meant.repository) == (reference.registry, reference.repository)


def names_chart(text: str, reference: ImageReference) -> bool:
    """Return whether a person means a chart by `text`: by its reference, or by the last part of that."""
    return text == reference.repository.rpartition("/")[2] or names_reference(text, reference)


def _is_brought(entry: ImageEntry, names: Sequence[str]) -> bool:
    """Return whether the item was added for a chart that one of the names means."""
    return entry.brought is not None and any(names_chart(name, entry.brought.chart) for name in names)


def _title(entry: ImageEntry) -> str:
    return str(entry.reference or entry.name or entry.archive)
