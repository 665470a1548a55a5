"""The folders of a bundle: one, or one for each volume (FORMAT.md §2.5). Chooses new folders, and decides
whether a bundle is cut, and from which free space and file size the cut is planned (`choose_folders`).
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from airgap.bundle.blob_files import Segment, size_of
from airgap.bundle.files import Folder, make_folder, media_errors
from airgap.bundle.graph import ImageGraph
from airgap.bundle.max_file_size import largest_file
from airgap.bundle.medium import Medium, refuse_unfit, room_for
from airgap.bundle.read_back import Written
from airgap.bundle.store import BlobStore
from airgap.bundle.volume_table import VOLUME_FILE, Cut, FreeSpace, VolumeSize, VolumeTable, plan_cut
from airgap.errors import AirgapError, NoSpaceError
from airgap.limits import MAX_VOLUME_TABLE_BYTES
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.values import dataclass

PLANNED_CUT_FILE = VOLUME_FILE + ".part"
_UNKNOWN = "0" * 64


@dataclass(frozen=True, slots=True)
class BundleFolders:
    """The folders, and the part of each blob in each of them; without a cut there is one folder."""

    paths: tuple[Path, ...]
    cut: Cut | None = None

    @property
    def first(self) -> Path:
        """The folder of the first volume."""
        return self.paths[0]

    def store(self) -> BlobStore:
        """Return the store of the blobs."""
        return BlobStore(self.first, self.paths[1:], self._segments())

    def cut_blobs(self) -> frozenset[Digest]:
        """Return the blobs that are on only one volume or in parts; all others are on every volume."""
        return frozenset(self.cut.parts if self.cut else ())

    def planned_tables(self) -> Iterator[tuple[Path, bytes]]:
        """Yield each folder with its `volume.json`, before the content is known; nothing without a cut."""
        if self.cut is not None:
            for number, path in enumerate(self.paths, 1):
                yield path, VolumeTable(_UNKNOWN, number, self.cut).to_bytes()

    def finished_tables(self, statement: bytes, store: BlobStore) -> Iterator[tuple[Path, dict[str, bytes]]]:
        """Yield each folder with its `volume.json` by name, if there is a cut."""
        cut = self._summed(self.cut, store) if self.cut else None
        for number, path in enumerate(self.paths, 1):
            table = VolumeTable(Digest.of(statement).hex, number, cut).to_bytes() if cut else None
            yield path, {VOLUME_FILE: table} if table else {}

    def written_blobs(self, store: BlobStore) -> dict[Path, list[Written]]:
        """Return the files of all blobs in the store, by folder, in the order of writing."""
        written: dict[Path, list[Written]] = {path: [] for path in self.paths}
        segments = self._segments()
        for digest, (sha256, size) in store.sums.items():
            for segment in store.segments(digest, size):
                part = Written(segment.path, store.part_sums.get(segment.path, sha256), segment.size)
                for path in self.paths:
                    if segment.path.is_relative_to(path):
                        written[path].append(part)
                    elif digest not in segments:
                        written[path].append(Written(path / digest.path, sha256, size))
        return written

    def _segments(self) -> dict[Digest, tuple[Segment, ...]]:
        if self.cut is None:
            return {}
        return {
            digest: tuple(
                Segment(
                    self.paths[part.volume - 1] / name,
                    part.size,
                    None if part.sha256 == _UNKNOWN else part.sha256,
                )
                for name, part in self.cut.files(digest)
            )
            for digest in self.cut.parts
        }

    def _summed(self, cut: Cut, store: BlobStore) -> Cut:
        """Return the cut of the blobs in the store, with the SHA-256 of all parts."""
        segments = self._segments()
        parts = {
            digest: tuple(
                replace(part, sha256=store.part_sums.get(segment.path) or store.sums[digest][0])
                for part, segment in zip(planned, segments[digest], strict=True)
            )
            for digest, planned in cut.parts.items()
            if digest in store.sums
        }
        return replace(cut, parts=parts)


def new_folders(parents: Sequence[Path], title: str, cut: Cut | None) -> BundleFolders:
    """Return the folders of a bundle in `parents`: the first volume goes into the first parent, and so on;
    the remaining volumes go into the last one. A volume that exists stays where it is.
    """
    if cut is None or cut.of == 1:
        return BundleFolders((_existing(parents, title) or parents[0] / title,), cut)
    paths = []
    for number in range(1, cut.of + 1):
        name = f"{title}.v{number}"
        paths.append(_existing(parents, name) or parents[min(number, len(parents)) - 1] / name)
    return BundleFolders(tuple(paths), cut)


def find_folders(parents: Sequence[Path], title: str) -> BundleFolders | None:
    """Return the folders that an earlier run made or began in `parents`; None if there are none."""
    plain = _existing(parents, title)
    volumes = sorted(path for parent in parents for path in parent.glob(f"{title}.v*") if path.is_dir())
    for folder in ([plain] if plain else []) + volumes:
        for name in (PLANNED_CUT_FILE, VOLUME_FILE):
            if table := _read_table(folder, name):
                return new_folders(parents, title, table.cut)
    return BundleFolders((plain,)) if plain else None


def _read_table(folder: Path, name: str) -> VolumeTable | None:
    """Return the table of that name in a folder; None if the file is not a table."""
    with contextlib.suppress(AirgapError), Folder(folder) as opened:
        return VolumeTable.parse(opened.read(name, MAX_VOLUME_TABLE_BYTES), opened.where(name))
    return None


def _existing(parents: Sequence[Path], name: str) -> Path | None:
    return next((parent / name for parent in parents if (parent / name).is_dir()), None)


_SMALL_FILE = 1024
"""Bytes that one file adds to the statement, the envelope and the tables of a volume; an upper estimate."""
_SMALL_IMAGE = 8192
_SMALL_BUNDLE = 1 << 20


@dataclass(frozen=True, slots=True)
class SpaceNeeded:
    """The space that a bundle needs, as far as it is known before the bundle is written."""

    title: str
    layers: Mapping[Digest, int]
    """Sizes in bytes of the blobs that may be on only one volume or in parts; all others are on every one."""
    blobs: Mapping[Digest, int]
    """Sizes in bytes of all blobs."""
    images: int

    @property
    def overhead(self) -> int:
        """An upper bound of the bytes on a volume that are not layers."""
        documents = sum(size for digest, size in self.blobs.items() if digest not in self.layers)
        return documents + _SMALL_FILE * len(self.blobs) + _SMALL_IMAGE * self.images + _SMALL_BUNDLE


def layers_of(
    graphs: Iterable[ImageGraph], carried: Mapping[Digest, int], is_read: Callable[[Descriptor], bool]
) -> dict[Digest, int]:
    """Return the sizes of the layers that are carried and may be on only one volume, by digest.

    Layers that are read with the small files must be on every volume, so that each volume can be checked
    alone. They are left out: those that `is_read` accepts, and those that are also a document or a config of
    another image.
    """
    layers: dict[Digest, int] = {}
    first: set[Digest] = set()
    for graph in graphs:
        own = graph.layers
        layers |= {digest: layer.size for digest, layer in own.items() if digest in carried}
        first |= graph.documents.keys() | (graph.blobs.keys() - own.keys())
        first |= {digest for digest, layer in own.items() if is_read(layer)}
    return {digest: size for digest, size in layers.items() if digest not in first}


def choose_one_folder(needed: SpaceNeeded, parent: Path, *, allow_system: bool = False) -> BundleFolders:
    """Prepare one folder for the whole bundle, even if there are volumes of it already. Raises what
    `choose_folders` raises, and `NoSpaceError` if a layer is larger than the file system's largest file.
    """
    folders = new_folders((parent,), needed.title, None)
    _preflight(needed, folders, allow_system)
    prepare(parent, allow_system=allow_system)
    if (limit := _file_limit(needed, parent, None)) is not None:
        raise NoSpaceError(
            "a layer is larger than the largest file that the medium can hold",
            subject=parent,
            want=f"files of {max(needed.layers.values()):,} bytes",
            got=f"at most {limit:,}",
            hint="choose another folder, or run `airgap repack`, which cuts such layers into parts",
        )
    return folders


def choose_folders(
    needed: SpaceNeeded,
    parents: Sequence[Path],
    size: VolumeSize | None = None,
    *,
    allow_system: bool = False,
) -> BundleFolders:
    """Choose the folders of the bundle in `parents`: those that an earlier run has begun, or new ones.

    Volumes are made if there are several parents, if `size` asks for them, or if the file system of a parent
    cannot hold a layer in one file. Raises `MediaError` for an unsuitable medium, and `NoSpaceError` if the
    bundle does not fit; until then, no more than an empty folder has been written.
    """
    begun = find_folders(parents, needed.title)
    if len(parents) == 1:
        _preflight(needed, begun or new_folders(parents, needed.title, None), allow_system)
    for folder in parents:
        prepare(folder, allow_system=allow_system)
    limits = [_file_limit(needed, folder, size) for folder in parents]
    if begun is not None and begun.cut is not None and _still_right(begun.cut, needed, size, limits):
        folders = begun
    else:
        wants_volumes = len(parents) > 1 or size is not None or limits != [None]
        cut = _cut(needed, parents, size, limits) if wants_volumes else None
        folders = new_folders(parents, needed.title, cut if cut and cut.is_needed else None)
    _preflight(needed, folders, allow_system)
    return folders


def count_volumes(
    needed: SpaceNeeded, parents: Sequence[Path], size: VolumeSize | None, *, allow_system: bool = False
) -> int:
    """Return how many volumes `choose_folders` would make, as far as is known without writing. Raises what
    that raises.
    """
    for folder in parents:
        refuse_unfit(Medium.of(folder), folder, None, allow_system=allow_system)
    cut = None
    if size is not None or len(parents) > 1:
        some = parents or [Path()]
        cut = _cut(needed, some, size, [size.file if size else None for _ in some])
    if parents:
        whole = cut is None or not cut.is_needed
        _preflight(needed, new_folders(parents, needed.title, None if whole else cut), allow_system)
    return cut.of if cut else 1


def prepare(folder: Path, *, allow_system: bool) -> None:
    """Make the folder, if its medium is fit to be written."""
    refuse_unfit(Medium.of(folder), folder, None, allow_system=allow_system)
    with media_errors("cannot create", folder):
        make_folder(folder)


def _file_limit(needed: SpaceNeeded, folder: Path, size: VolumeSize | None) -> int | None:
    """Return the largest file in bytes that `size` and the file system allow; None if every layer fits."""
    largest = max(needed.layers.values(), default=0)
    limits = [size.file if size else None, largest_file(folder, largest)]
    return min((limit for limit in limits if limit is not None and limit < largest), default=None)


def _still_right(
    cut: Cut, needed: SpaceNeeded, size: VolumeSize | None, limits: Sequence[int | None]
) -> bool:
    """Return whether an earlier cut is of this bundle, into volumes that are small enough."""
    if not cut.same_as(needed.layers):
        return False
    for part in (part for parts in cut.parts.values() for part in parts):
        limit = limits[min(part.volume, len(limits)) - 1]
        if limit is not None and part.size > limit:
            return False
    parts = [part for parts in cut.parts.values() for part in parts]
    volumes = [sum(part.size for part in parts if part.volume == n) for n in range(1, cut.of + 1)]
    return size is None or size.size is None or max(volumes) + needed.overhead <= size.size


def _cut(
    needed: SpaceNeeded, parents: Sequence[Path], volume_size: VolumeSize | None, limits: Sequence[int | None]
) -> Cut:
    size = volume_size.size if volume_size else None
    if size is not None and len(parents) == 1:
        return plan_cut(needed.layers, (), FreeSpace(size - needed.overhead, limits[0]))
    spaces = []
    for number, (folder, limit) in enumerate(zip(parents, limits, strict=True), 1):
        own = (folder / needed.title, folder / f"{needed.title}.v{number}")
        free = room_for(Medium.of(folder).free + sum(map(_taken, own)))
        spaces.append(FreeSpace(max(min(free, size or free) - needed.overhead, 0), limit))
    return plan_cut(needed.layers, spaces)


def _preflight(needed: SpaceNeeded, folders: BundleFolders, allow_system: bool) -> None:
    """Raise before the first byte is written if a medium is too small for what it still lacks."""
    needs: dict[Path, int] = dict.fromkeys(folders.paths, 0)
    store = folders.store()
    for digest, size in needed.blobs.items():
        for segment in store.segments(digest, size):
            have = max(size_of(segment.path) or 0, size_of(segment.part) or 0)
            folder = next(path for path in folders.paths if segment.path.is_relative_to(path))
            needs[folder] += segment.size - min(segment.size, have)
    together: dict[Path, int] = {}
    for folder, need in needs.items():
        medium = Medium.of(folder)
        together[medium.mount_point] = together.get(medium.mount_point, 0) + need
        refuse_unfit(medium, folder.parent, together[medium.mount_point], allow_system=allow_system)


def _taken(folder: Path) -> int:
    """Return the number of bytes that an earlier run has left in `folder` and that this run reuses."""
    return sum(size_of(path) or 0 for path in folder.rglob("*"))
