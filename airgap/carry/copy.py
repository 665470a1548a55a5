"""A bundle written once more: put together from its volumes, cut anew, or mended from another copy.

The statement and its signatures stay what they are; every byte is checked on its way. What is there
already is read, and only what is missing or wrong is written.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.blob_files import size_of
from airgap.bundle.check_written import OnMedia
from airgap.bundle.choose_folders import Load, layers_of, place, place_whole
from airgap.bundle.contents import ENVELOPE_FILE, FOLDERS, SET_ASIDE, STATEMENT_FILE, Contents
from airgap.bundle.files import Folder, media_errors
from airgap.bundle.filling import fill
from airgap.bundle.folders import BundleFolders
from airgap.bundle.statement import MAX_STATEMENT, Statement
from airgap.bundle.store import BlobStore
from airgap.bundle.volume_table import VOLUME_FILE, Cut, VolumeSize, VolumeTable
from airgap.bundle.volumes import Place, VolumeSet, paths_of, read_table
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
from airgap.oci.digest import Advance, ByteStream, Digest
from airgap.oci.documents import Descriptor
from airgap.trust.cosign import is_material
from airgap.trust.envelope import MAX_ENVELOPE, Envelope

_SMALL = 64 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy is now."""

    folders: BundleFolders
    written: int
    """Blobs that were written; the others were there, and right."""
    proof: OnMedia | None = None
    """What the media were seen to hold; None for an unfinished copy."""
    wants: tuple[int, ...] = ()
    """The volumes whose content is still missing, the next one first; the copy is unfinished then."""
    again: tuple[int, ...] = ()
    """Those that are here, and of which not all could be taken: a layer's earlier part was missing."""


def copy_bundle(bundle: CheckedBundle, folders: BundleFolders, operator: Operator) -> Copied:
    """Write the bundle to `folders`. Blobs that are on volumes that are not here are left out, and the
    envelope with them: `Copied.wants` names the volumes.
    """
    with begin_copy(bundle, folders, operator) as work:
        return work.go_on(bundle)


@contextlib.contextmanager
def begin_copy(bundle: CheckedBundle, folders: BundleFolders, operator: Operator) -> Iterator["Copy"]:
    """A copy in `folders`, which are locked for this process. Raises as `refuse_another`, and
    `UnlistedContentError` for what would be one file too many in the end.
    """

    def check(path: Path) -> None:
        refuse_another(path, bundle)
        _refuse_strays(path, bundle)

    with BundleWriter.open(folders, operator.progress.note, check=check) as writer:
        yield Copy(writer, operator)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy while it is made, of all volumes at once or of one after the other; what one of them brought
    is not read again for the next.
    """

    writer: BundleWriter
    operator: Operator

    def go_on(self, bundle: CheckedBundle) -> Copied:
        """Take what `bundle` has here, and finish the copy when that was the last of it."""
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
        raise_wrong(wrong, bundle.folder.path, self.operator.progress)
        for _, error in errors:
            if not isinstance(error, IncompleteError):
                raise error
        if pending and isinstance(bundle.folder, VolumeSet):
            wants, again = _wanted(bundle.folder, folders, pending)
            return Copied(folders, store.written, wants=wants, again=again)
        _seal(bundle, self.writer)
        proof = self.writer.prove(self.operator.progress.phase, self.operator.read_back)
        return Copied(folders, store.written, proof)


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
    """The volumes that the blobs go on with: those that are not here, and those that are."""
    store = folders.store()
    found: set[int] = set()
    for blob in pending:
        (segment,) = store.segments(blob.digest, blob.size)
        done = size_of(segment.part) or 0
        for _, part in volumes.table.cut.files(blob.digest):
            done -= part.size
            if done < 0:
                found.add(part.volume)
    here = set(volumes.folders)
    return tuple(sorted(found - here)) or volumes.missing, tuple(sorted(found & here))


def _seal(bundle: CheckedBundle, writer: BundleWriter) -> None:
    """All files but the blobs, under the same statement and signatures."""
    writer.store.prune(set(bundle.blobs))
    subjects = bundle.statement.subjects
    small = {name: bundle.read(name, _SMALL) for name in subjects if not name.startswith("blobs/")}
    contents = Contents(small, subjects, bundle.statement.total_bytes)
    envelope = bundle.envelope
    writer.seal(contents, envelope.payload, envelope.to_bytes(), envelope.raw_signatures)


def joined_folders(bundle: CheckedBundle, source: Place, into: Path, operator: Operator) -> BundleFolders:
    """One folder for the whole bundle at `source`. Raises `UsageError` when it would lie where that is."""
    folders = place_whole(_load(bundle), into, allow_system=operator.allow_system)
    _refuse_itself(folders, source, "choose another folder with --into")
    return folders


def cut_folders(
    bundle: CheckedBundle, source: Place, places: Sequence[Path], size: VolumeSize | None, operator: Operator
) -> BundleFolders:
    """A new cut of the bundle at `source`. Raises `UsageError` when it would lie where that is."""
    folders = place(_load(bundle), places, size, allow_system=operator.allow_system)
    _refuse_itself(folders, source, "choose another folder with --to")
    return folders


def _refuse_itself(folders: BundleFolders, source: Place, hint: str) -> None:
    """What is read may not be written over: where it is damaged, it would be made unfinished too."""
    taken = {path.resolve() for path in paths_of(source)}
    for folder in folders.paths:
        if folder.resolve() in taken:
            raise UsageError("the copy would be written over the bundle itself", subject=folder, hint=hint)


def _load(bundle: CheckedBundle) -> Load:
    blobs = {digest: blob.size for digest, blob in bundle.blobs.items()}
    cut = layers_of((image.graph for image in bundle.images), blobs, is_material)
    return Load(bundle.statement.title, cut, blobs, len(bundle.images))


def damaged_folders(paths: Sequence[Path], bundle: CheckedBundle, source: Place) -> BundleFolders:
    """The folders of a damaged copy of the `bundle` at `source`, with the cut that its volumes tell.

    Raises `UsageError` for a copy of another bundle, and when no volume tells the cut any more.
    """
    for path in paths:
        found = _statement_in(path) if path.is_dir() else None
        if found not in (None, bundle.statement_sha256):
            raise UsageError(
                "--from is not a copy of this bundle",
                subject=path,
                want=f"a copy with statement sha256:{found}",
                got=f"{bundle.statement.title}, statement sha256:{bundle.statement_sha256}",
                hint="name a copy of this one with --from; nothing was written",
            )
    folders = _damaged(paths, bundle)
    _refuse_itself(folders, source, "name another copy with --from")
    return folders


def _damaged(paths: Sequence[Path], bundle: CheckedBundle) -> BundleFolders:
    """A volume whose `volume.json` is lost is known by its name, as long as another one has the cut."""
    layers, title = _load(bundle).layers, bundle.statement.title
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
            hint = "`airgap repack` makes a new one from the other copy"
            raise UsageError("nothing there tells that it is a copy", subject=paths[0], want=title, hint=hint)
        return BundleFolders((paths[0],))
    cut = next((cut for _, cut in cuts.values()), None)
    if cut is not None:
        names = {f"{title}.v{number}": number for number in range(1, cut.of + 1) if number not in cuts}
        cuts |= {names[path.name]: (path, cut) for path in lost if path.name in names}
    if cut is None or len(cuts) != cut.of or len(paths) != cut.of:
        raise UsageError(
            "all volumes are mended together",
            subject=title,
            want=f"the folders of {cut.of} volumes" if cut else "a volume.json that tells the cut",
            got=", ".join(map(str, paths)),
            hint="name all of them, or make new ones from the other copy with `airgap repack`",
        )
    return BundleFolders(tuple(cuts[number][0] for number in sorted(cuts)), cut)


def _is_volume(path: Path) -> bool:
    return exists(path / VOLUME_FILE) or re.fullmatch(r".*\.v[0-9]+", path.name) is not None


def _table_of(path: Path) -> VolumeTable | None:
    """What a damaged volume says of itself; None when it says nothing that can be used."""
    if path.is_file():
        hint = "make a new one: `airgap pack --tar`; or a folder from the other copy, with `airgap repack`"
        raise UsageError("a tar is not mended", subject=path, hint=hint)
    try:
        with Folder(path) as folder:
            return read_table(folder)
    except (FormatError, MissingContentError, SizeMismatchError):
        return None


def refuse_another(path: Path, bundle: CheckedBundle) -> None:
    """Raise `UsageError` where a folder holds, or has begun to hold, another bundle than this one: what is
    written would make one of the two that is none of them.
    """
    found = _statement_in(path)
    if found not in (None, bundle.statement_sha256):
        raise UsageError(
            "another bundle is in the way",
            subject=path,
            want=f"{bundle.statement.title}, statement sha256:{bundle.statement_sha256}",
            got=f"sha256:{found}",
            hint="move it away, or choose another folder",
        )


def _refuse_strays(path: Path, bundle: CheckedBundle) -> None:
    """What a copy neither replaces nor removes is refused when it is sealed: to refuse it before the first
    change leaves a copy that was sealed as it is.
    """
    own = {name for name in bundle.statement.subjects if "/" not in name}
    own |= {ENVELOPE_FILE, STATEMENT_FILE, VOLUME_FILE, f"{VOLUME_FILE}.part"}
    own |= {f"{name}.part" for name in own}
    for below in ("", *FOLDERS):
        with media_errors("cannot read", path / below):
            for found in sorted((path / below).glob("*")):
                name = found.relative_to(path).as_posix()
                is_folder = found.is_dir() and not found.is_symlink()
                if name in (FOLDERS if is_folder else own):
                    continue
                if is_folder or below in (
                    "",
                    "blobs",
                ):  # of the other folders a copy removes what is too many
                    raise UnlistedContentError(
                        f"a {'folder' if is_folder else 'file'} that does not belong there",
                        subject=found,
                        hint="remove it, then run the same command again; nothing was changed",
                    )


def _statement_in(path: Path) -> str | None:
    """SHA-256 of the statement of the bundle that a folder holds or has begun to hold, as its envelope says,
    else the statement; None where neither can be understood.
    """
    with contextlib.suppress(MissingContentError), Folder(path) as folder:
        for name in (ENVELOPE_FILE, SET_ASIDE):
            with contextlib.suppress(FormatError, TrustError, IntegrityError):
                return Digest.of(Envelope.parse(folder.read(name, MAX_ENVELOPE), name).payload).hex
        with contextlib.suppress(FormatError, IntegrityError):
            raw = folder.read(STATEMENT_FILE, MAX_STATEMENT)
            Statement.parse(raw)
            return Digest.of(raw).hex
    return None
