"""Compares the images of two manifests, locks or bundles, by their names on the offline side."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from enum import StrEnum
from pathlib import Path

from airgap.advice import COMPARED, refuse_other
from airgap.bundle.files import Files
from airgap.bundle.volumes import open_bundle
from airgap.carry.receiver import Receiver
from airgap.carry.verify import CheckedBundle, check
from airgap.errors import FormatError
from airgap.manifest import Lock, TransferManifest, lock_path
from airgap.oci.digest import Digest
from airgap.recognise import PathKind, recognise
from airgap.values import dataclass


class Change(StrEnum):
    """How an image differs between the first and the second list."""

    ADDED = "added"
    REMOVED = "removed"
    MOVED = "moved"
    SAME = "the same"
    UNKNOWN = "unknown"
    """One of the lists has no digest for the image: a manifest that is not locked, for instance."""


@dataclass(frozen=True, slots=True)
class ImageList:
    """The images of a manifest, a lock or a bundle."""

    title: str
    images: Mapping[str, Digest | None] = field(hash=False)
    """The digest of each image by its offline name; None if it is not known."""
    blobs: Mapping[str, Mapping[Digest, int]] | None = field(default=None, hash=False)
    """Sizes in bytes of the blobs of each image, by digest; None except for a bundle."""


@dataclass(frozen=True, slots=True)
class ImageChange:
    """The comparison of one image."""

    name: str
    change: Change
    before: Digest | None
    after: Digest | None
    new_bytes: int | None
    """The bytes of the blobs that only the second bundle's image has; None unless both are bundles."""


def read_images(path: Path, receiver: Callable[[Files], Receiver]) -> ImageList:
    """Return the images of a bundle, whose signatures are checked, of a lock, or of a manifest.

    `receiver` returns the state of this site, against which a bundle is checked, for its open files.
    For a manifest, the digests are those in the lock beside it, if that lock was made from it. Raises
    `UsageError` for a path of another kind, and what `check` raises for a bundle.
    """
    refuse_other(path, COMPARED)
    kind = recognise(path).kind
    if kind is PathKind.LOCK:
        return _of_lock(Lock.load(path), str(path))
    if kind is PathKind.MANIFEST:
        return _of_manifest(TransferManifest.load(path), path)
    with open_bundle(path) as folder:
        return _of_bundle(check(folder, replace(receiver(folder), recalled_too=True)))


def compare(before: ImageList, after: ImageList) -> list[ImageChange]:
    """Return the images of both lists: those of the second one in its order, then those that it lacks."""
    known = _all_blobs(before)
    changes = [_change(name, before, after, known) for name in after.images]
    return changes + [
        _change(name, before, after, known) for name in before.images if name not in after.images
    ]


def new_bytes(before: ImageList, after: ImageList) -> int | None:
    """Return the bytes of the blobs that only the second bundle has, shared ones once; None unless both are
    bundles.
    """
    if before.blobs is None or after.blobs is None:
        return None
    known = _all_blobs(before)
    return sum(size for digest, size in _all_blobs(after).items() if digest not in known)


def _all_blobs(images: ImageList) -> dict[Digest, int]:
    return {digest: size for blobs in (images.blobs or {}).values() for digest, size in blobs.items()}


def _change(name: str, before: ImageList, after: ImageList, known: Mapping[Digest, int]) -> ImageChange:
    old, new = before.images.get(name), after.images.get(name)
    if name not in before.images:
        change = Change.ADDED
    elif name not in after.images:
        change = Change.REMOVED
    elif old is None or new is None:
        change = Change.UNKNOWN
    else:
        change = Change.SAME if old == new else Change.MOVED
    size = None
    if before.blobs is not None and after.blobs is not None:
        blobs = after.blobs.get(name, {})
        size = sum(size for digest, size in blobs.items() if digest not in known)
    return ImageChange(name, change, old, new, size)


def _of_bundle(bundle: CheckedBundle) -> ImageList:
    blobs = {
        str(image.name): {digest: blob.size for digest, blob in image.graph.contents.items()}
        for image in bundle.images
    }
    images = {str(image.name): image.record.digest for image in bundle.images}
    return ImageList(bundle.statement.title, images, blobs)


def _of_lock(lock: Lock, title: str) -> ImageList:
    images: Iterable[tuple[str, Digest | None]] = (
        (str(image.name), image.descriptor.digest if image.descriptor else image.image_id)
        for image in lock.images
    )
    return ImageList(title, dict(images))


def _of_manifest(manifest: TransferManifest, path: Path) -> ImageList:
    beside = lock_path(path)
    if recognise(beside).kind is PathKind.LOCK:
        lock = Lock.load(beside)
        if lock.fits(manifest):
            return _of_lock(lock, str(path))
    unnamed = [entry for entry in manifest.images if entry.name is None]
    if unnamed:
        raise FormatError(
            "the manifest does not have the names of all images", subject=f"{path}:{unnamed[0].line}",
            hint=f"run `airgap lock {path}` first",
        )  # fmt: skip
    made = [*(entry.artifact for entry in manifest.files), *(chart.artifact for chart in manifest.charts)]
    images = {str(entry.name): entry.digest for entry in manifest.images}
    return ImageList(str(path), images | {str(name): None for name in made})
