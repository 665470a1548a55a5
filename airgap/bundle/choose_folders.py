"""Where the files of a new bundle go: one folder, or volumes on several media (FORMAT.md §2.5)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.blob_files import size_of
from airgap.bundle.files import make_folder, media_errors
from airgap.bundle.folders import BundleFolders, find_folders, new_folders
from airgap.bundle.graph import ImageGraph
from airgap.bundle.max_file_size import largest_file
from airgap.bundle.medium import Medium, refuse_unfit, room_for
from airgap.bundle.volume_table import Cut, FreeSpace, VolumeSize, plan_cut
from airgap.errors import NoSpaceError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor

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


def layers_of(
    graphs: Iterable[ImageGraph], carried: Mapping[Digest, int], is_read: Callable[[Descriptor], bool]
) -> dict[Digest, int]:
    """The sizes of those layers that are carried, by digest.

    What is read before the content is none of them, for each volume shall be checked alone: the layers
    that `is_read` names, and those that are a document or a config of another image too.
    """
    layers: dict[Digest, int] = {}
    first: set[Digest] = set()
    for graph in graphs:
        own = graph.layers
        layers |= {digest: layer.size for digest, layer in own.items() if digest in carried}
        first |= graph.documents.keys() | (graph.blobs.keys() - own.keys())
        first |= {digest for digest, layer in own.items() if is_read(layer)}
    return {digest: size for digest, size in layers.items() if digest not in first}


def place_whole(load: Load, place: Path, *, allow_system: bool = False) -> BundleFolders:
    """One folder for the whole bundle, whatever volumes of it are there. Raises as `place` does, and
    `NoSpaceError` where a layer is larger than a file can be.
    """
    folders = new_folders((place,), load.title, None)
    _preflight(load, folders, allow_system)
    prepare(place, allow_system=allow_system)
    if (limit := _file_limit(load, place, None)) is not None:
        raise NoSpaceError(
            "a layer is larger than a file can be there",
            subject=place,
            want=f"files of {max(load.layers.values()):,} bytes",
            got=f"at most {limit:,}",
            hint="choose another folder; `airgap repack` writes such layers in parts",
        )
    return folders


def place(
    load: Load, places: Sequence[Path], size: VolumeSize | None = None, *, allow_system: bool = False
) -> BundleFolders:
    """Where the bundle goes in `places`: as an earlier run has begun it, or anew.

    Volumes are made when there are several places, when `size` says so, and when a place cannot take
    a layer in one file: the file system is asked. Raises `MediaError` for a medium that is not fit,
    and `NoSpaceError` when it does not fit there, before anything is written but an empty folder.
    """
    found = find_folders(places, load.title)
    if len(places) == 1:
        _preflight(load, found or new_folders(places, load.title, None), allow_system)
    for folder in places:
        prepare(folder, allow_system=allow_system)
    limits = [_file_limit(load, folder, size) for folder in places]
    if found is not None and found.cut is not None and _still_right(found.cut, load, size, limits):
        folders = found
    else:
        wants_volumes = len(places) > 1 or size is not None or limits != [None]
        cut = _cut(load, places, size, limits) if wants_volumes else None
        folders = new_folders(places, load.title, cut if cut and cut.is_needed else None)
    _preflight(load, folders, allow_system)
    return folders


def count_volumes(
    load: Load, places: Sequence[Path], size: VolumeSize | None, *, allow_system: bool = False
) -> int:
    """How many volumes `place` would make, as far as can be told without writing; it raises likewise."""
    for folder in places:
        refuse_unfit(Medium.of(folder), folder, None, allow_system=allow_system)
    cut = None
    if size is not None or len(places) > 1:
        some = places or [Path()]
        cut = _cut(load, some, size, [size.file if size else None for _ in some])
    if places:
        whole = cut is None or not cut.is_needed
        _preflight(load, new_folders(places, load.title, None if whole else cut), allow_system)
    return cut.of if cut else 1


def prepare(folder: Path, *, allow_system: bool) -> None:
    """Make the folder, once it is known to lie on a medium that may be written."""
    refuse_unfit(Medium.of(folder), folder, None, allow_system=allow_system)
    with media_errors("cannot create", folder):
        make_folder(folder)


def _file_limit(load: Load, folder: Path, size: VolumeSize | None) -> int | None:
    """How large a file may be, as far as it matters."""
    largest = max(load.layers.values(), default=0)
    limits = [size.file if size else None, largest_file(folder, largest)]
    return min((limit for limit in limits if limit is not None and limit < largest), default=None)


def _still_right(cut: Cut, load: Load, size: VolumeSize | None, limits: Sequence[int | None]) -> bool:
    """Whether an earlier cut is one of this bundle, into volumes that are small enough."""
    if not cut.same_as(load.layers):
        return False
    for part in (part for parts in cut.parts.values() for part in parts):
        limit = limits[min(part.volume, len(limits)) - 1]
        if limit is not None and part.size > limit:
            return False
    parts = [part for parts in cut.parts.values() for part in parts]
    volumes = [sum(part.size for part in parts if part.volume == n) for n in range(1, cut.of + 1)]
    return size is None or size.size is None or max(volumes) + load.overhead <= size.size


def _cut(load: Load, places: Sequence[Path], wanted: VolumeSize | None, limits: Sequence[int | None]) -> Cut:
    size = wanted.size if wanted else None
    if size is not None and len(places) == 1:
        return plan_cut(load.layers, (), FreeSpace(size - load.overhead, limits[0]))
    spaces = []
    for number, (folder, limit) in enumerate(zip(places, limits, strict=True), 1):
        own = (folder / load.title, folder / f"{load.title}.v{number}")
        free = room_for(Medium.of(folder).free + sum(map(_taken, own)))
        spaces.append(FreeSpace(max(min(free, size or free) - load.overhead, 0), limit))
    return plan_cut(load.layers, spaces)


def _preflight(load: Load, folders: BundleFolders, allow_system: bool) -> None:
    """Refuse before the first byte what cannot fit on a medium, less what is there of it already."""
    needs: dict[Path, int] = dict.fromkeys(folders.paths, 0)
    store = folders.store()
    for digest, size in load.blobs.items():
        for segment in store.segments(digest, size):
            have = max(size_of(segment.path) or 0, size_of(segment.part) or 0)
            folder = next(each for each in folders.paths if segment.path.is_relative_to(each))
            needs[folder] += segment.size - min(segment.size, have)
    together: dict[Path, int] = {}
    for folder, need in needs.items():
        medium = Medium.of(folder)
        together[medium.mount_point] = together.get(medium.mount_point, 0) + need
        refuse_unfit(medium, folder.parent, together[medium.mount_point], allow_system=allow_system)


def _taken(folder: Path) -> int:
    """Bytes of what an earlier run has left, and this one takes over."""
    return sum(size_of(path) or 0 for path in folder.rglob("*"))
