"""A bundle on several volumes, read in place as if it were in one folder (FORMAT.md §2.5)."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from airgap.bundle.blob_files import Joined
from airgap.bundle.bundle_tar import TarFolder
from airgap.bundle.contents import ENVELOPE_FILE, STATEMENT_FILE
from airgap.bundle.damage import raise_all
from airgap.bundle.files import Closing, Files, Folder, FoundFile, SeekableStream, read_small
from airgap.bundle.volume_table import VOLUME_FILE, Cut, Part, VolumeTable, whole_name
from airgap.errors import (
    AirgapError,
    AmbiguousError,
    DigestMismatchError,
    IncompleteError,
    IntegrityError,
    MediaError,
    MissingContentError,
    SizeMismatchError,
    UnlistedContentError,
    UsageError,
)
from airgap.limits import (
    MAX_BUNDLE_FILES,
    MAX_REPEATED_FILE_BYTES,
    MAX_STATEMENT_BYTES,
    MAX_VOLUME_TABLE_BYTES,
)
from airgap.oci.digest import ByteStream, CheckedReader, Digest


class VolumeSet(Closing):
    """The files of a bundle on several volumes, with the interface of `Folder`.

    `paths` are the folders in any order. With `alone`, volumes may be missing: their files are listed, with
    the sizes in `volume.json`, but reading them raises `IncompleteError`.
    """

    def __init__(self, paths: Sequence[Path], *, alone: bool = False) -> None:
        with contextlib.ExitStack() as opened:
            self.folders: dict[int, Folder] = {}
            for path in paths:
                folder = opened.enter_context(Folder(path))
                table = read_table(folder)
                if table is None:
                    raise IncompleteError("not a volume", subject=path, want=VOLUME_FILE, got="no such file")
                if not self.folders:
                    self.table = table
                self._add(folder, table)
            self.parts = {
                name: (digest, part)
                for digest in self.table.cut.parts
                for name, part in self.table.cut.files(digest)
            }
            self._blobs = {digest.path: digest for digest in self.table.cut.parts}
            if self.missing and not alone:
                raise self._incomplete(self.missing)
            self._opened = opened.pop_all()

    def _add(self, folder: Folder, table: VolumeTable) -> None:
        if table.statement_sha256 != self.table.statement_sha256:
            raise _foreign(folder.path, self.table.statement_sha256, table.statement_sha256)
        if table.volume in self.folders:
            twin = self.folders[table.volume].path
            raise IncompleteError(f"volume {table.volume} was given twice", subject=folder.path, got=twin)
        if table.on(self.table.volume) != self.table:
            raise AmbiguousError(
                "the volumes are from different cuts",
                subject=folder.where(VOLUME_FILE),
                want=f"that of {next(iter(self.folders.values())).path}",
                hint="volumes of two cuts of one bundle cannot be mixed; `airgap repack` makes a new cut",
            )
        self.folders[table.volume] = folder

    @property
    def path(self) -> Path:
        """The folder of the first volume that is present."""
        return self._first.path

    @property
    def _first(self) -> Folder:
        return self.folders[min(self.folders)]

    @property
    def missing(self) -> tuple[int, ...]:
        """The numbers of the volumes that are missing."""
        return tuple(n for n in range(1, self.table.cut.of + 1) if n not in self.folders)

    def _incomplete(self, missing: Sequence[int]) -> IncompleteError:
        return missing_volumes(self.path, missing, self.table.cut.of, sorted(self.folders))

    def where(self, name: str) -> str:
        """Return the path; for a blob in parts, the paths of all its parts."""
        if name in self._blobs:
            files = self.table.cut.files(self._blobs[name])
        elif name in self.parts:
            files = ((name, self.parts[name][1]),)
        else:
            return self._first.where(name)
        return ", ".join(self._where(file, part) for file, part in files)

    def _where(self, name: str, part: Part) -> str:
        folder = self.folders.get(part.volume)
        return folder.where(name) if folder else f"{name} on volume {part.volume}"

    def open(self, name: str) -> SeekableStream:
        """Open a file, as in `Files`. Each part of a blob that is cut is checked against `volume.json` while
        it is read; an error names the part.
        """
        digest = self._blobs.get(name)
        if digest is None:
            return self._first.open(name)
        files = self.table.cut.files(digest)
        if len(files) == 1:
            return self._folder(files[0][1]).open(name)
        return _Parts(self._folder, files)

    def _folder(self, part: Part) -> Folder:
        """Return the folder of the volume that has a part."""
        if part.volume not in self.folders:
            raise self._incomplete([part.volume])
        return self.folders[part.volume]

    def read(self, name: str, limit: int) -> bytes:
        """Read all of a small file, as in `Files`. It is on every volume, but a small blob may be on one."""
        if name not in self._blobs:
            return self._first.read(name, limit)
        with contextlib.closing(self.open(name)) as stream:
            return read_small(stream, self.where(name), limit)

    def has(self, name: str) -> bool:
        return name in self._blobs or self._first.has(name)

    def files(self, folders: Collection[str]) -> Iterator[FoundFile]:
        """Yield every file, as in `Files`; a blob in parts is one file.

        Each volume must have exactly its own blobs, and all other files must be the same on all volumes:
        otherwise raises `UnlistedContentError`, `MissingContentError`, `SizeMismatchError` or
        `DigestMismatchError`, which names the file; of parts that are missing, in the wrong volume, or of
        a wrong size, all are named. Raises `IncompleteError` for a volume without an envelope, or with the
        table of another bundle.
        """
        wrong: list[IntegrityError] = []
        repeated = {
            number: dict(self._repeated(number, folder, folders, wrong))
            for number, folder in sorted(self.folders.items())
        }
        raise_all(wrong, "the bundle is damaged", subject=self.path, got=f"{len(wrong)} wrong files")
        first, *others = repeated
        for number in others:
            for name in sorted(repeated[first].keys() - repeated[number].keys()):
                raise _missing(self.folders[number], name)
            for name in sorted(repeated[number]):
                self._compare(self.folders[number], name)
        self._check_statement()
        yield from (FoundFile(name, size) for name, size in repeated[first].items())
        for digest, parts in self.table.cut.parts.items():
            yield FoundFile(digest.path, sum(part.size for part in parts))

    def _repeated(
        self, number: int, folder: Folder, folders: Collection[str], wrong: list[IntegrityError]
    ) -> Iterator[tuple[str, int]]:
        """Yield the files of a volume that are on every volume. Adds the errors of its parts to `wrong`."""
        wanted = {name: part for name, (_, part) in self.parts.items() if part.volume == number}
        for count, file in enumerate(folder.files(folders)):
            if count >= MAX_BUNDLE_FILES:
                want = f"at most {MAX_BUNDLE_FILES:,}"
                raise UnlistedContentError("too many files", subject=folder.path, want=want)
            part = wanted.pop(file.name, None)
            if part is None and self._is_elsewhere(file.name):
                wrong.append(
                    UnlistedContentError(
                        "the file belongs to another volume", subject=folder.where(file.name)
                    )
                )
                continue
            if part is not None and file.size != part.size:
                wrong.append(
                    SizeMismatchError(
                        "wrong size",
                        subject=folder.where(file.name),
                        want=f"{part.size:,} bytes",
                        got=f"{file.size:,}",
                    )
                )
            if part is None and file.name != VOLUME_FILE:
                yield file.name, file.size
        wrong += (MissingContentError("missing file", subject=folder.where(name)) for name in sorted(wanted))

    def _is_elsewhere(self, name: str) -> bool:
        """Return whether the name belongs to a part, or to a blob that the table places elsewhere or cuts
        into parts. Tools without support for volumes would read such a blob instead of its parts.
        """
        return name in self.parts or name in self._blobs or whole_name(name) is not None

    def _check_statement(self) -> None:
        if not self._first.has(STATEMENT_FILE):
            return
        sha256 = Digest.of(self._first.read(STATEMENT_FILE, MAX_STATEMENT_BYTES)).hex
        if sha256 != self.table.statement_sha256:
            raise _foreign(self._first.where(VOLUME_FILE), sha256, self.table.statement_sha256)

    def _compare(self, folder: Folder, name: str) -> None:
        if not self._first.has(name):
            raise UnlistedContentError("the file is not on every volume", subject=folder.where(name))
        if folder.read(name, MAX_REPEATED_FILE_BYTES) != self._first.read(name, MAX_REPEATED_FILE_BYTES):
            raise DigestMismatchError(
                "the file is not the same on every volume",
                subject=folder.where(name),
                want=self._first.where(name),
            )

    def close(self) -> None:
        self._opened.close()


def _foreign(subject: object, want: str, got: str) -> IncompleteError:
    return IncompleteError(
        "the volume belongs to another bundle",
        subject=subject,
        want=f"statement sha256:{want}",
        got=f"sha256:{got}",
    )


def _missing(folder: Folder, name: str) -> AirgapError:
    if name == ENVELOPE_FILE:
        return IncompleteError("the volume is unfinished", subject=folder.path, want=name, got="no such file")
    return MissingContentError("missing file", subject=folder.where(name))


class _Parts:
    """The parts of a blob as one stream."""

    def __init__(self, folder_of: Callable[[Part], Folder], files: Sequence[tuple[str, Part]]) -> None:
        self._folder_of = folder_of
        self._files = files
        self._stream = Joined([])
        self.seek(0)

    def seek(self, offset: int, /) -> None:
        """Continue reading at `offset` bytes from the start. If that is within a part, it is not checked."""
        self._stream.close()
        openers = []
        for name, part in self._files:
            if offset < part.size:
                openers.append(partial(self._open, name, part, offset))
            offset = max(offset - part.size, 0)
        self._stream = Joined(openers)

    def _open(self, name: str, part: Part, offset: int) -> ByteStream:
        return open_part(self._folder_of(part), name, part, offset)

    def readinto(self, buffer: memoryview, /) -> int:
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()


def open_part(folder: Folder, name: str, part: Part, offset: int = 0) -> ByteStream:
    """Open a file of a blob at `offset`. If that is 0, the file is checked against `volume.json`. This finds
    damage, but only the blob's own digest proves the content.
    """
    stream = folder.open(name)
    if offset:
        stream.seek(offset)
        return stream
    return CheckedReader(stream, Digest("sha256", part.sha256), part.size, folder.where(name))


def read_table(folder: Files) -> VolumeTable | None:
    """Return the volume table of a folder; None if it is not a volume."""
    if not folder.has(VOLUME_FILE):
        return None
    return VolumeTable.parse(folder.read(VOLUME_FILE, MAX_VOLUME_TABLE_BYTES), folder.where(VOLUME_FILE))


TOGETHER = (
    "name the folders of all volumes in one command, or join them one after the other "
    "with `airgap receive VOLUME --into DIR`"
)


def missing_volumes(
    subject: object, missing: Sequence[int], of: int, present: Sequence[int], hint: str = TOGETHER
) -> IncompleteError:
    """Return the error for a bundle with missing volumes."""
    return IncompleteError(
        "a volume is missing" if len(missing) == 1 else "volumes are missing",
        subject=subject,
        want=f"volume {', '.join(map(str, missing))} of {of}",
        got=f"volume {', '.join(map(str, present))}",
        hint=hint,
    )


BundleLocation = Path | Sequence[Path]
"""The location of a bundle: its folder, its tar, or the folders of its volumes in any order."""


def paths_of(location: BundleLocation) -> tuple[Path, ...]:
    """Return the paths of a bundle."""
    return (location,) if isinstance(location, Path) else tuple(location)


def open_bundle(location: BundleLocation, *, alone: bool = False) -> Folder | TarFolder | VolumeSet:
    """Open the bundle at `location`. Raises `MissingContentError` if there is none, and, unless `alone`,
    `IncompleteError` if a volume is missing.
    """
    first, *others = paths_of(location)
    if not others and first.is_file():
        return TarFolder(first)
    folder = Folder(first)
    if not others and not folder.has(VOLUME_FILE):
        return folder
    folder.close()
    return VolumeSet((first, *others), alone=alone)


def has_all_volumes(location: BundleLocation) -> bool:
    """Return False if `location` is only some of the volumes of a bundle."""
    tables = list(map(_table_at, paths_of(location)))
    present = {table.volume for table in tables if table}
    return all(table is None or len(present) >= table.cut.of for table in tables)


def group_by_bundle(paths: Sequence[Path], *, alone: bool = False) -> list[tuple[Path, ...]]:
    """Group `paths` into bundles, so that the volumes of one bundle are together, in the order of the first.

    The tables are only used for grouping; they are not verified. Unless `alone`, raises `IncompleteError`
    if a bundle lacks a volume and there are other bundles.
    """
    groups: dict[str, list[Path]] = {}
    tables: dict[str, list[VolumeTable]] = {}
    for path in paths:
        table = _table_at(path)
        key = table.statement_sha256 if table else str(path)
        groups.setdefault(key, []).append(path)
        tables.setdefault(key, []).extend([table] if table else [])
    for key, volumes in tables.items():
        present = {table.volume for table in volumes}
        missing = (
            [number for number in range(1, volumes[0].cut.of + 1) if number not in present] if volumes else []
        )
        if missing and len(groups) > 1 and not alone:
            others = [(path, tables[other]) for other in groups if other != key for path in groups[other]]
            _refuse_unreadable([path for path, table in others if not table])
            of_others = ", ".join(str(path) for path, table in others if table)
            plain = ", ".join(str(path) for path, table in others if not table)
            named = {"of another bundle": of_others, "not a volume": plain}
            hint = "; ".join(f"{what}: {which}" for what, which in named.items() if which)
            raise missing_volumes(groups[key][0], missing, volumes[0].cut.of, sorted(present), hint)
    return [tuple(group) for group in groups.values()]


def _refuse_unreadable(paths: Sequence[Path]) -> None:
    """Raise the error of a volume that cannot be read, because it may be the missing one."""
    for path in paths:
        if path.is_dir():
            with Folder(path) as folder:
                read_table(folder)


def refuse_several(paths: Sequence[Path]) -> None:
    """Raise `UsageError` if `paths` belong to more than one bundle, for commands that accept only one."""
    if len(groups := group_by_bundle(paths, alone=True)) > 1:
        names = ", ".join(str(path) for group in groups for path in group)
        raise UsageError("more than one bundle", want="one, or the volumes of one", got=names)


def _table_at(path: Path) -> VolumeTable | None:
    """Return the table of a volume, without its parts. Return None for anything that `open_bundle` will
    refuse. Raises `MediaError`.
    """
    try:
        with Folder(path) as folder:
            table = read_table(folder)
    except MediaError:
        raise
    except AirgapError:
        return None
    return replace(table, cut=Cut(table.cut.of, {})) if table else None
