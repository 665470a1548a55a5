"""Copy a bundle: join its volumes, cut it into new ones, or repair a damaged copy from another one.

The statement and its signatures stay the same, and every byte is checked while it is copied. Existing files
are read, and only missing or wrong ones are written.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from airgap.bundle.blob_files import size_of
from airgap.bundle.check_written import OnMedia
from airgap.bundle.contents import ENVELOPE_FILE, SET_ASIDE, STATEMENT_FILE, BundleContents
from airgap.bundle.files import BUNDLE_FOLDERS, Folder, media_errors
from airgap.bundle.folders import BundleFolders, SpaceNeeded, choose_folders, choose_one_folder, layers_of
from airgap.bundle.statement import Statement
from airgap.bundle.store import BlobStore, fill
from airgap.bundle.volume_table import VOLUME_FILE, Cut, VolumeSize, VolumeTable
from airgap.bundle.volumes import BundleLocation, VolumeSet, paths_of, read_table
from airgap.bundle.writer import BundleWriter
from airgap.carry.operator import Operator
from airgap.carry.verify import CheckedBundle
from airgap.carry.verify_recorded import raise_wrong
from airgap.durable import exists
from airgap.errors import (
    FormatError,
    IncompleteError,
    IntegrityError,
    MissingContentError,
    SizeMismatchError,
    TrustError,
    UnlistedContentError,
    UsageError,
)
from airgap.limits import MAX_ENVELOPE_BYTES, MAX_REPEATED_FILE_BYTES, MAX_STATEMENT_BYTES
from airgap.oci.digest import Advance, ByteStream, Digest
from airgap.oci.documents import Descriptor
from airgap.trust.cosign import is_material
from airgap.trust.envelope import Envelope
from airgap.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """The state of a copy."""

    folders: BundleFolders
    written: int
    """The number of blobs that were written; the others were already present and correct."""
    proof: OnMedia | None = None
    """How the media were checked after writing; None for an unfinished copy."""
    wants: tuple[int, ...] = ()
    """The volumes whose content is still missing, the next one first; empty once the copy is finished."""
    again: tuple[int, ...] = ()
    """The inserted volumes that are needed again later, because an earlier part of a layer is missing."""


def copy_bundle(bundle: CheckedBundle, folders: BundleFolders, operator: Operator) -> Copied:
    """Write the bundle to `folders`. Blobs on missing volumes are left out, and so is the envelope:
    `Copied.wants` names those volumes.
    """
    with begin_copy(bundle, folders, operator) as work:
        return work.take(bundle)


@contextlib.contextmanager
def begin_copy(bundle: CheckedBundle, folders: BundleFolders, operator: Operator) -> Iterator["Copy"]:
    """Begin a copy in `folders`, which are locked for this process. Raises what `refuse_another` raises, and
    `UnlistedContentError` for files that the finished copy may not contain.
    """

    def check(path: Path) -> None:
        refuse_another(path, bundle)
        _refuse_unlisted(path, bundle)

    with BundleWriter.open(folders, operator.progress.note, check=check) as writer:
        yield Copy(writer, operator)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy in progress, from all volumes at once or from one after the other. The content of one volume is
    not read again for the next.
    """

    writer: BundleWriter
    operator: Operator

    def take(self, bundle: CheckedBundle) -> Copied:
        """Copy the content that is present in `bundle`, and finish the copy if no content is missing."""
        folders, store = self.writer.folders, self.writer.store
        errors = fill(
            store,
            bundle.blobs.values(),
            lambda blob, advance: _copy_blob(bundle, store, blob, advance),
            title="copying",
            jobs=self.operator.jobs,
            phase=self.operator.progress.phase,
            before_change=self.writer.mark_unfinished,
        )
        pending = [blob for blob, error in errors if isinstance(error, IncompleteError)]
        wrong = [error for _, error in errors if isinstance(error, IntegrityError)]
        raise_wrong(wrong, bundle.folder.path)
        for _, error in errors:
            if not isinstance(error, IncompleteError):
                raise error
        if pending and isinstance(bundle.folder, VolumeSet):
            wants, again = _wanted(bundle.folder, folders, pending)
            return Copied(folders=folders, written=store.written, wants=wants, again=again)
        _seal(bundle, self.writer)
        proof = self.writer.prove(self.operator.progress.phase, self.operator.read_back)
        return Copied(folders=folders, written=store.written, proof=proof)


def _copy_blob(bundle: CheckedBundle, store: BlobStore, blob: Descriptor, advance: Advance) -> None:
    name = blob.digest.path

    def open_at(offset: int) -> ByteStream:
        stream = bundle.folder.open(name)
        if offset:
            stream.seek(offset)
        return stream

    store.fetch(blob, open_at, advance=advance, subject=bundle.folder.where(name))


def _wanted(
    volumes: VolumeSet, folders: BundleFolders, pending: Sequence[Descriptor]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the volumes with the rest of the pending blobs: those to insert, and those inserted now."""
    store = folders.store()
    needed: set[int] = set()
    for blob in pending:
        (segment,) = store.segments(blob.digest, blob.size)
        done = size_of(segment.part) or 0
        for _, part in volumes.table.cut.files(blob.digest):
            done -= part.size
            if done < 0:
                needed.add(part.volume)
    inserted = set(volumes.folders)
    return tuple(sorted(needed - inserted)) or volumes.missing, tuple(sorted(needed & inserted))


def _seal(bundle: CheckedBundle, writer: BundleWriter) -> None:
    """Write all files except the blobs, with the same statement and signatures."""
    writer.store.prune(set(bundle.blobs))
    subjects = bundle.statement.subjects
    small = {
        name: bundle.read(name, MAX_REPEATED_FILE_BYTES) for name in subjects if not name.startswith("blobs/")
    }
    contents = BundleContents(small, subjects, bundle.statement.total_bytes)
    writer.seal(contents, bundle.envelope)


def joined_folders(
    bundle: CheckedBundle, source: BundleLocation, into: Path, operator: Operator
) -> BundleFolders:
    """Choose one folder for the whole bundle at `source`. Raises `UsageError` if it is the source itself."""
    folders = choose_one_folder(_space_needed(bundle), into, allow_system=operator.allow_system)
    _refuse_itself(folders, source, "choose another folder with --into")
    return folders


def cut_folders(
    bundle: CheckedBundle,
    source: BundleLocation,
    places: Sequence[Path],
    size: VolumeSize | None,
    operator: Operator,
) -> BundleFolders:
    """Choose folders and a new cut for the bundle at `source`. Raises `UsageError` if a folder is the source
    itself.
    """
    folders = choose_folders(_space_needed(bundle), places, size, allow_system=operator.allow_system)
    _refuse_itself(folders, source, "choose another folder with --to")
    return folders


def _refuse_itself(folders: BundleFolders, source: BundleLocation, hint: str) -> None:
    """Raise `UsageError` for a folder of the source: copying over it could leave the source unfinished."""
    taken = {path.resolve() for path in paths_of(source)}
    for folder in folders.paths:
        if folder.resolve() in taken:
            raise UsageError("the copy would be written over the bundle itself", subject=folder, hint=hint)


def _space_needed(bundle: CheckedBundle) -> SpaceNeeded:
    blobs = {digest: blob.size for digest, blob in bundle.blobs.items()}
    cut = layers_of((image.graph for image in bundle.images), blobs, is_material)
    return SpaceNeeded(bundle.statement.title, cut, blobs, len(bundle.images))


def damaged_folders(paths: Sequence[Path], bundle: CheckedBundle, source: BundleLocation) -> BundleFolders:
    """Return the folders of a damaged copy of the `bundle` at `source`, with the cut that its volumes record.

    Raises `UsageError` for a copy of another bundle, and if no volume records the cut any longer.
    """
    for path in paths:
        sha256 = _statement_in(path) if path.is_dir() else None
        if sha256 not in (None, bundle.statement_sha256):
            raise UsageError(
                "--from is not a copy of this bundle",
                subject=path,
                want=f"a copy with statement sha256:{sha256}",
                got=f"{bundle.statement.title}, statement sha256:{bundle.statement_sha256}",
                hint="name a copy of this bundle with --from; nothing was written",
            )
    folders = _damaged(paths, bundle)
    _refuse_itself(folders, source, "name another copy with --from")
    return folders


def _damaged(paths: Sequence[Path], bundle: CheckedBundle) -> BundleFolders:
    """Find the folder of each volume. A volume that has lost its `volume.json` is recognised by its name, if
    another volume records the cut.
    """
    layers, title = _space_needed(bundle).layers, bundle.statement.title
    cuts: dict[int, tuple[Path, Cut]] = {}
    lost: list[Path] = []
    for path in paths:
        table = _table_of(path)
        if table and table.statement_sha256 == bundle.statement_sha256 and table.cut.same_as(layers):
            cuts[table.volume] = (path, table.cut)
        else:
            lost.append(path)
    if not cuts and len(paths) == 1 and not _is_volume(paths[0]):
        if paths[0].name != title and _statement_in(paths[0]) is None:
            hint = "make a new copy from the other one with `airgap repack`"
            raise UsageError("cannot recognise a copy of the bundle", subject=paths[0], want=title, hint=hint)
        return BundleFolders((paths[0],))
    cut = next((cut for _, cut in cuts.values()), None)
    if cut is not None:
        names = {f"{title}.v{number}": number for number in range(1, cut.of + 1) if number not in cuts}
        cuts |= {names[path.name]: (path, cut) for path in lost if path.name in names}
    if cut is None or len(cuts) != cut.of or len(paths) != cut.of:
        raise UsageError(
            "all volumes must be repaired together",
            subject=title,
            want=f"the folders of {cut.of} volumes" if cut else "a volume.json that records the cut",
            got=", ".join(map(str, paths)),
            hint="name all volumes, or make new ones from the other copy with `airgap repack`",
        )
    return BundleFolders(tuple(cuts[number][0] for number in sorted(cuts)), cut)


def _is_volume(path: Path) -> bool:
    return exists(path / VOLUME_FILE) or re.fullmatch(r".*\.v[0-9]+", path.name) is not None


def _table_of(path: Path) -> VolumeTable | None:
    """Return the table of a damaged volume; None if it is missing or malformed. A tar is refused."""
    if path.is_file():
        hint = "make a new tar with `airgap pack --tar`, or a folder from the other copy with `airgap repack`"
        raise UsageError("a tar cannot be repaired", subject=path, hint=hint)
    try:
        with Folder(path) as folder:
            return read_table(folder)
    except (FormatError, MissingContentError, SizeMismatchError):
        return None


def refuse_another(path: Path, bundle: CheckedBundle) -> None:
    """Raise `UsageError` if a folder holds a different bundle, finished or not: writing to it would mix the
    two.
    """
    sha256 = _statement_in(path)
    if sha256 not in (None, bundle.statement_sha256):
        raise UsageError(
            "another bundle is in the way",
            subject=path,
            want=f"{bundle.statement.title}, statement sha256:{bundle.statement_sha256}",
            got=f"sha256:{sha256}",
            hint="move that bundle away, or choose another folder",
        )


def _refuse_unlisted(path: Path, bundle: CheckedBundle) -> None:
    """Raise `UnlistedContentError` for files that a copy neither replaces nor removes. Sealing would refuse
    them too; refusing them before the first change leaves a sealed copy unchanged.
    """
    own = {name for name in bundle.statement.subjects if "/" not in name}
    own |= {ENVELOPE_FILE, STATEMENT_FILE, VOLUME_FILE, f"{VOLUME_FILE}.part"}
    own |= {f"{name}.part" for name in own}
    for below in ("", *BUNDLE_FOLDERS):
        with media_errors("cannot read", path / below):
            for entry in sorted((path / below).glob("*")):
                name = entry.relative_to(path).as_posix()
                is_folder = entry.is_dir() and not entry.is_symlink()
                if name in (BUNDLE_FOLDERS if is_folder else own):
                    continue
                # in the other folders, a copy removes unlisted files
                if is_folder or below in ("", "blobs"):
                    raise UnlistedContentError(
                        f"unexpected {'folder' if is_folder else 'file'}",
                        subject=entry,
                        hint="remove it, then run the same command again; nothing was changed",
                    )


def _statement_in(path: Path) -> str | None:
    """Return the SHA-256 of the statement in a folder, finished or not: that of its envelope's payload, else
    that of the statement file; None if neither can be parsed.
    """
    with contextlib.suppress(MissingContentError), Folder(path) as folder:
        for name in (ENVELOPE_FILE, SET_ASIDE):
            with contextlib.suppress(FormatError, TrustError, IntegrityError):
                return Digest.of(Envelope.parse(folder.read(name, MAX_ENVELOPE_BYTES), name).payload).hex
        with contextlib.suppress(FormatError, IntegrityError):
            raw = folder.read(STATEMENT_FILE, MAX_STATEMENT_BYTES)
            Statement.parse(raw)
            return Digest.of(raw).hex
    return None
