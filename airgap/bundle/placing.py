"""Where the files of a new bundle go: one folder, or volumes on several media (FORMAT.md §2.5)."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.cut import Cut, Room, VolumeSize, plan_cut
from airgap.bundle.files import media_errors
from airgap.bundle.segments import size_of
from airgap.bundle.shelf import Shelf, find_shelf, new_shelf
from airgap.errors import NoSpaceError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor

MARGIN = 4 << 20
"""Bytes left free beside the blobs, for the small files and the file system's own."""

_SMALL_FILE = 1024
"""Bytes that a file takes in the statement, the envelope and the tables of a volume, generously."""
_SMALL_IMAGE = 8192
_SMALL_BUNDLE = 1 << 20


@dataclass(frozen=True, slots=True)
class Load:
    """What a bundle carries, as far as it is known before it is written."""

    title: str
    layers: Mapping[Digest, int]
    """Sizes in bytes of the blobs that go on one volume each; the others go on every one."""
    blobs: Mapping[Digest, int]
    """Of all blobs."""
    images: int

    @property
    def overhead(self) -> int:
        """Bytes of a volume that are not layers, at most."""
        documents = sum(size for digest, size in self.blobs.items() if digest not in self.layers)
        return documents + _SMALL_FILE * len(self.blobs) + _SMALL_IMAGE * self.images + _SMALL_BUNDLE


def layers_of(layers: Iterable[Descriptor], carried: Mapping[Digest, int]) -> dict[Digest, int]:
    """The sizes of those layers that are carried, by digest."""
    return {layer.digest: layer.size for layer in layers if layer.digest in carried}


def place_whole(load: Load, place: Path) -> Shelf:
    """One folder for the whole bundle, whatever volumes of it are there. Raises `NoSpaceError`."""
    shelf = new_shelf((place,), load.title, None)
    _check_space(load, shelf)
    return shelf


def place(load: Load, places: Sequence[Path], size: VolumeSize | None) -> Shelf:
    """Where the bundle goes in `places`: as an earlier run has begun it, or anew.

    Volumes are made when there are several places, when `size` says so, and when a place cannot take
    a layer in one file. Raises `NoSpaceError` when it does not fit.
    """
    found = find_shelf(places, load.title)
    if found is not None and found.cut is not None and _still_right(found.cut, load, size):
        shelf = found
    else:
        wants_volumes = len(places) > 1 or size is not None
        cut = _cut(load, places, size) if wants_volumes else None
        shelf = new_shelf(places, load.title, cut if cut and cut.is_needed else None)
    _check_space(load, shelf)
    return shelf


def _still_right(cut: Cut, load: Load, size: VolumeSize | None) -> bool:
    """Whether an earlier cut is one of this bundle, into volumes that are small enough."""
    if not cut.same_as(load.layers):
        return False
    parts = [part for parts in cut.parts.values() for part in parts]
    if size is not None and size.file is not None and any(part.size > size.file for part in parts):
        return False
    volumes = [sum(part.size for part in parts if part.volume == n) for n in range(1, cut.of + 1)]
    return size is None or size.size is None or max(volumes) + load.overhead <= size.size


def _cut(load: Load, places: Sequence[Path], limit: VolumeSize | None) -> Cut:
    if limit is not None and limit.size is not None and len(places) == 1:
        return plan_cut(load.layers, (), Room(limit.size - load.overhead, limit.file))
    rooms = []
    for number, folder in enumerate(places, 1):
        own = (folder / load.title, folder / f"{load.title}.v{number}")
        size = _free(folder) - MARGIN + sum(map(_taken, own))
        if limit is not None and limit.size is not None:
            size = min(size, limit.size)
        rooms.append(Room(max(size - load.overhead, 0), limit.file if limit else None))
    return plan_cut(load.layers, rooms)


def _check_space(load: Load, shelf: Shelf) -> None:
    """Refuse before the first byte what cannot fit on a medium, less what is there of it already."""
    needs: dict[int, tuple[Path, int]] = {}
    store = shelf.store()
    for digest, size in load.blobs.items():
        for segment in store.segments(digest, size):
            have = max(size_of(segment.path) or 0, size_of(segment.part) or 0)
            there = nearest(segment.path)
            with media_errors("cannot read", there):
                device = there.stat().st_dev
            first, need = needs.get(device, (there, 0))
            needs[device] = (first, need + segment.size - min(segment.size, have))
    for there, need in needs.values():
        check_space(need, there)


def check_space(need: int, place: Path) -> None:
    """Refuse before the first byte what cannot fit: `need` bytes at or below `place`."""
    free = _free(place)
    if need + MARGIN > free:
        raise NoSpaceError(
            "the bundle does not fit",
            subject=nearest(place),
            want=f"{need + MARGIN:,} bytes free",
            got=f"{free:,}",
            hint="free some space or choose another medium; nothing was written",
        )


def _free(place: Path) -> int:
    there = nearest(place)
    with media_errors("cannot read", there):
        return shutil.disk_usage(there).free


def nearest(place: Path) -> Path:
    """The path itself, or the folder above it that exists."""
    return next(path for path in (place, *place.absolute().parents) if path.exists())


def _taken(folder: Path) -> int:
    """Bytes of what an earlier run has left, and this one takes over."""
    return sum(size_of(path) or 0 for path in folder.rglob("*"))
