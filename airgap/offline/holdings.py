"""What airgap has loaded where, so that later loads can prove a base and leave out what is there."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from airgap.bundle.files import Folder, write_file
from airgap.bundle.locks import alone_in
from airgap.errors import AirgapError, MediaError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import Fields, dump, parse_object

MAX_HOLDINGS = 64 << 20
"""Bytes of one target's file; beyond, the oldest images are forgotten."""

_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class HeldImage:
    """An image that was loaded: its name, the digest of its manifest or index, and all blobs under it.

    It tells where to look. Whether the image is still there, the target says.
    """

    name: ImageReference
    root: Digest
    blobs: frozenset[Digest]


@dataclass(slots=True)
class Holdings:
    """The images loaded into one target, newest last, in a file of the site. A file that says nothing of
    use counts as empty: it only ever saves work. One that the disk does not give is let be.
    """

    path: Path
    images: dict[tuple[ImageReference, Digest], HeldImage] = field(default_factory=dict)
    readable: bool = True

    @classmethod
    def of(cls, home: Path, target: str) -> "Holdings":
        """Those of the target that is called `target`."""
        path = home / "holdings" / f"{hashlib.sha256(target.encode()).hexdigest()[:32]}.json"
        found = cls(path)
        try:
            found._read()
        except AirgapError as error:
            found.images.clear()
            found.readable = not isinstance(error, MediaError)
        return found

    def _read(self) -> None:
        with Folder(self.path.parent) as folder:
            raw = folder.read(self.path.name, MAX_HOLDINGS)
        fields = Fields(parse_object(raw, str(self.path), max_bytes=MAX_HOLDINGS), str(self.path))
        for item in fields.children("images"):
            self.add(
                ImageReference.parse(item.text("name")),
                Digest.parse(item.text("root")),
                [Digest.parse(text) for text in item.texts("blobs")],
            )

    def add(self, name: ImageReference, root: Digest, blobs: Iterable[Digest]) -> None:
        """Remember an image that is there now, as the newest."""
        self.images.pop((name, root), None)
        self.images[name, root] = HeldImage(name, root, frozenset(blobs))

    def with_blob(self, digest: Digest) -> list[HeldImage]:
        """The images that have a blob, newest first."""
        images = list(self.images.values())  # a copy: several threads load, and each adds what it has loaded
        return [image for image in reversed(images) if digest in image.blobs]

    def save(self) -> None:
        """Write them down, the newest ones as far as there is room. Raises `MediaError`, also when what is
        there could not be read: it is not replaced by less.
        """
        if not self.readable:
            raise MediaError("cannot read", subject=self.path, hint="it is left as it is")
        kept = list(self.images.values())[-_KEPT:]
        while len(raw := _dump(kept)) > MAX_HOLDINGS:
            kept = kept[(len(kept) + 1) // 2 :]
        with alone_in(self.path.parent):
            write_file(self.path, raw)


def _dump(images: Iterable[HeldImage]) -> bytes:
    items = [{"name": str(i.name), "root": str(i.root), "blobs": sorted(map(str, i.blobs))} for i in images]
    return dump({"images": items}) + b"\n"
