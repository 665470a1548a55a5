"""The folders of a bundle: one, or one for each of its volumes (FORMAT.md §2.5)."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from airgap.bundle.blob_files import Segment
from airgap.bundle.files import Folder
from airgap.bundle.read_back import Written
from airgap.bundle.store import BlobStore
from airgap.bundle.volume_table import MAX_TABLE, VOLUME_FILE, Cut, VolumeTable
from airgap.errors import AirgapError
from airgap.oci.digest import Digest

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
        """Return the blobs that are on one volume each, or in parts; all others are on every volume."""
        return frozenset(self.cut.parts if self.cut else ())

    def planned_tables(self) -> Iterator[tuple[Path, bytes]]:
        """Yield the `volume.json` of each volume before the content is known; none without a cut."""
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
        found: dict[Path, list[Written]] = {path: [] for path in self.paths}
        segments = self._segments()
        for digest, (sha256, size) in store.sums.items():
            for segment in store.segments(digest, size):
                part = Written(segment.path, store.part_sums.get(segment.path, sha256), segment.size)
                for path in self.paths:
                    if segment.path.is_relative_to(path):
                        found[path].append(part)
                    elif digest not in segments:
                        found[path].append(Written(path / digest.path, sha256, size))
        return found

    def _segments(self) -> dict[Digest, tuple[Segment, ...]]:
        if self.cut is None:
            return {}
        return {
            digest: tuple(
                Segment(self.paths[part.volume - 1] / name, part.size, _known(part.sha256))
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
                for part, segment in zip(found, segments[digest], strict=True)
            )
            for digest, found in cut.parts.items()
            if digest in store.sums
        }
        return replace(cut, parts=parts)


def _known(sha256: str) -> str | None:
    return None if sha256 == _UNKNOWN else sha256


def new_folders(places: Sequence[Path], title: str, cut: Cut | None) -> BundleFolders:
    """Return the folders of a bundle in `places`: the first volume is in the first place, and so on; the
    remaining volumes are in the last. A volume that exists stays where it is.
    """
    if cut is None or cut.of == 1:
        return BundleFolders((_existing(places, title) or places[0] / title,), cut)
    paths = []
    for number in range(1, cut.of + 1):
        name = f"{title}.v{number}"
        paths.append(_existing(places, name) or places[min(number, len(places)) - 1] / name)
    return BundleFolders(tuple(paths), cut)


def find_folders(places: Sequence[Path], title: str) -> BundleFolders | None:
    """Return the folders that an earlier run made or began in `places`; None if there are none."""
    plain = _existing(places, title)
    volumes = sorted(path for place in places for path in place.glob(f"{title}.v*") if path.is_dir())
    for folder in ([plain] if plain else []) + volumes:
        for name in (PLANNED_CUT_FILE, VOLUME_FILE):
            if table := _read_table(folder, name):
                return new_folders(places, title, table.cut)
    return BundleFolders((plain,)) if plain else None


def _read_table(folder: Path, name: str) -> VolumeTable | None:
    """Return the table of that name in a folder; None if the file is not a table."""
    with contextlib.suppress(AirgapError), Folder(folder) as found:
        return VolumeTable.parse(found.read(name, MAX_TABLE), found.where(name))
    return None


def _existing(places: Sequence[Path], name: str) -> Path | None:
    return next((place / name for place in places if (place / name).is_dir()), None)
