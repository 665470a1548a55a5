"""Where a bundle is written: one folder, or one on each of its volumes (FORMAT.md §2.5, §6)."""

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from airgap.bundle.claim import claimed
from airgap.bundle.cut import MAX_TABLE, VOLUME_FILE, Cut, VolumeTable
from airgap.bundle.files import Folder, media_errors, write_file
from airgap.bundle.readback import Written
from airgap.bundle.seal import (
    ENVELOPE_FILE,
    STATEMENT_FILE,
    Contents,
    commit,
    signature_file,
    unseal,
    unseal_unless,
    write_small,
)
from airgap.bundle.segments import Segment
from airgap.bundle.store import BlobStore
from airgap.errors import AirgapError
from airgap.oci.digest import Digest
from airgap.oci.strict_json import MAX_BYTES

_PLANNED = VOLUME_FILE + ".part"
_UNKNOWN = "0" * 64


@dataclass(frozen=True, slots=True)
class Shelf:
    """The folders of a bundle, one a volume, and what goes where; without a cut there is one folder."""

    folders: tuple[Path, ...]
    cut: Cut | None = None

    @property
    def first(self) -> Path:
        """The folder of the first volume."""
        return self.folders[0]

    def store(self) -> BlobStore:
        """The blobs."""
        return BlobStore(self.first, self.folders[1:], self._segments())

    def _segments(self) -> dict[Digest, tuple[Segment, ...]]:
        if self.cut is None:
            return {}
        return {
            digest: tuple(
                Segment(self.folders[part.volume - 1] / name, part.size, _known(part.sha256))
                for name, part in self.cut.files(digest)
            )
            for digest in self.cut.parts
        }

    def claimed(self) -> AbstractContextManager[None]:
        """The folders for this process alone; see `claim.claimed`."""
        return claimed(self.folders)

    def unseal(self) -> None:
        """Make the bundle unfinished before its content changes, and write down the cut, so that a run that
        goes on from here makes the same one.
        """
        for folder in self.folders:
            unseal(folder)
        if self.cut is not None:
            for number, folder in enumerate(self.folders, 1):
                write_file(folder / _PLANNED, VolumeTable(_UNKNOWN, number, self.cut).to_bytes())

    def write_small(self, contents: Contents, store: BlobStore) -> None:
        """Write on every volume all files but layers, statement, signatures and envelope."""
        for folder in self.folders:
            unseal_unless(folder, contents.small)
            write_small(folder, contents)
        for digest in store.sums.keys() - (self.cut.parts.keys() if self.cut else ()):
            for folder in self.folders[1:]:
                write_file(folder / digest.path, store.read(digest, MAX_BYTES))

    def write_statement(self, raw: bytes, store: BlobStore) -> None:
        """Write on every volume the statement that is about to be signed, and the finished cut."""
        for number, folder in enumerate(self.folders, 1):
            tables = self._table(number, raw, store)
            unseal_unless(folder, {STATEMENT_FILE: raw, **tables})
            for name, content in {STATEMENT_FILE: raw, **tables}.items():
                write_file(folder / name, content)
            for name in {_PLANNED, VOLUME_FILE} - tables.keys():
                with media_errors("cannot remove", folder / name):
                    (folder / name).unlink(missing_ok=True)

    def _table(self, number: int, statement: bytes, store: BlobStore) -> dict[str, bytes]:
        """`volume.json` of a volume, by its name; nothing where there is no cut."""
        if self.cut is None:
            return {}
        table = VolumeTable(Digest.of(statement).hex, number, self._summed(self.cut, store))
        return {VOLUME_FILE: table.to_bytes()}

    def _summed(self, cut: Cut, store: BlobStore) -> Cut:
        """The cut of what is there, with the sums of all parts."""
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

    def commit(self, envelope: bytes, signatures: Mapping[str, bytes]) -> dict[str, bytes]:
        """Write the raw signatures by key id, and the envelope as the very last, on every volume; these
        files by name.
        """
        for folder in self.folders:
            commit(folder, envelope, signatures)
        return {signature_file(keyid): sig for keyid, sig in signatures.items()} | {ENVELOPE_FILE: envelope}

    def written(
        self, store: BlobStore, contents: Contents, statement: bytes, sealed: Mapping[str, bytes]
    ) -> dict[Path, list[Written]]:
        """All files by volume, in the order in which they were written; `sealed` are those of `commit`."""
        found: dict[Path, list[Written]] = {folder: [] for folder in self.folders}
        segments = self._segments()
        for digest, (sha256, size) in store.sums.items():
            for segment in store.segments(digest, size):
                part = Written(segment.path, store.part_sums.get(segment.path, sha256), segment.size)
                for folder in self.folders:
                    if segment.path.is_relative_to(folder):
                        found[folder].append(part)
                    elif digest not in segments:
                        found[folder].append(Written(folder / digest.path, sha256, size))
        for number, folder in enumerate(self.folders, 1):
            table = self._table(number, statement, store)
            small = {**contents.small, STATEMENT_FILE: statement, **table, **sealed}
            found[folder] += [Written.of(folder / name, raw) for name, raw in small.items()]
        return found


def _known(sha256: str) -> str | None:
    return None if sha256 == _UNKNOWN else sha256


def new_shelf(places: Sequence[Path], title: str, cut: Cut | None) -> Shelf:
    """The folders of a bundle in `places`: the first volume in the first, and so on; what is left over
    in the last. A volume that is there already is where it is.
    """
    if cut is None or cut.of == 1:
        return Shelf((_there(places, title) or places[0] / title,), cut)
    folders = []
    for number in range(1, cut.of + 1):
        name = f"{title}.v{number}"
        folders.append(_there(places, name) or places[min(number, len(places)) - 1] / name)
    return Shelf(tuple(folders), cut)


def find_shelf(places: Sequence[Path], title: str) -> Shelf | None:
    """What an earlier run has made, or begun, in `places`; None when there is nothing."""
    plain = _there(places, title)
    volumes = sorted(path for place in places for path in place.glob(f"{title}.v*") if path.is_dir())
    for folder in ([plain] if plain else []) + volumes:
        for name in (_PLANNED, VOLUME_FILE):
            if table := _told(folder, name):
                return new_shelf(places, title, table.cut)
    return Shelf((plain,)) if plain else None


def _told(folder: Path, name: str) -> VolumeTable | None:
    """The table of that name in a folder; None for whatever is not one."""
    with contextlib.suppress(AirgapError), Folder(folder) as found:
        return VolumeTable.parse(found.read(name, MAX_TABLE), found.where(name))
    return None


def _there(places: Sequence[Path], name: str) -> Path | None:
    return next((place / name for place in places if (place / name).is_dir()), None)
