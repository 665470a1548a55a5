"""Record which images airgap loaded into a target, so that later loads can prove a base and send less."""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import field
from pathlib import Path

from airgap.bundle.files import Folder, write_file
from airgap.bundle.locks import alone_in
from airgap.errors import AirgapError, MediaError
from airgap.limits import MAX_HELD_IMAGES, MAX_HOLDINGS_BYTES
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import Fields, dump, parse_object
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class HeldImage:
    """An image that was loaded: its name, the digest of its manifest or index, and all its blobs.

    This is only a hint: the target is asked whether it still has the image.
    """

    name: ImageReference
    root: Digest
    blobs: frozenset[Digest]


@dataclass(slots=True)
class Holdings:
    """The images that were loaded into one target, newest last, in a file of the site. The file only saves
    work, so a malformed one counts as empty. A file that the disk cannot read is left unchanged.
    """

    path: Path
    images: dict[tuple[ImageReference, Digest], HeldImage] = field(default_factory=dict)
    readable: bool = True
    _by_blob: dict[Digest, list[HeldImage]] | None = field(default=None, compare=False)
    """The images of each blob, with images that were added again since; None before it is needed."""
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False)

    @classmethod
    def of(cls, home: Path, target: str) -> "Holdings":
        """Read the holdings of the target with the name `target`."""
        path = home / "holdings" / f"{hashlib.sha256(target.encode()).hexdigest()[:32]}.json"
        holdings = cls(path)
        try:
            holdings._read()
        except AirgapError as error:
            holdings.images.clear()
            holdings.readable = not isinstance(error, MediaError)
        return holdings

    def _read(self) -> None:
        with Folder(self.path.parent) as folder:
            raw = folder.read(self.path.name, MAX_HOLDINGS_BYTES)
        fields = Fields(parse_object(raw, str(self.path), max_bytes=MAX_HOLDINGS_BYTES), str(self.path))
        for item in fields.children("images"):
            self.add(
                ImageReference.parse(item.text("name")),
                Digest.parse(item.text("root")),
                [Digest.parse(text) for text in item.texts("blobs")],
            )

    def add(self, name: ImageReference, root: Digest, blobs: Iterable[Digest]) -> None:
        """Add an image that the target has now, as the newest."""
        image = HeldImage(name, root, frozenset(blobs))
        with self._lock:
            self.images.pop((name, root), None)
            self.images[name, root] = image
            if self._by_blob is not None:
                _enter(self._by_blob, image)

    def with_blob(self, digest: Digest) -> Iterator[HeldImage]:
        """Return the images that have a blob, newest first."""
        with self._lock:
            if self._by_blob is None:
                self._by_blob = {}
                for image in self.images.values():
                    _enter(self._by_blob, image)
            images = self._by_blob.get(digest, [])[::-1]
        return (image for image in images if self.images.get((image.name, image.root)) is image)

    def with_any(self, digests: AbstractSet[Digest]) -> list[HeldImage]:
        """Return the images that have any of the blobs: those with most of them first, and newest first."""
        images = [(len(image.blobs & digests), image) for image in reversed(list(self.images.values()))]
        found = sorted(((count, image) for count, image in images if count), key=lambda item: -item[0])
        return [image for _, image in found]

    def save(self) -> None:
        """Write the file, with only the newest images if not all fit. Raises `MediaError`, including when the
        old file could not be read: it may list more images than the new one would.
        """
        if not self.readable:
            raise MediaError("cannot read", subject=self.path, hint="the file is left unchanged")
        kept = list(self.images.values())[-MAX_HELD_IMAGES:]
        while len(raw := _dump(kept)) > MAX_HOLDINGS_BYTES:
            kept = kept[(len(kept) + 1) // 2 :]
        with alone_in(self.path.parent):
            write_file(self.path, raw)


def _enter(by_blob: dict[Digest, list[HeldImage]], image: HeldImage) -> None:
    for digest in image.blobs:
        by_blob.setdefault(digest, []).append(image)


def _dump(images: Iterable[HeldImage]) -> bytes:
    items = [{"name": str(i.name), "root": str(i.root), "blobs": sorted(map(str, i.blobs))} for i in images]
    return dump({"images": items}) + b"\n"
