"""Writes a bundle or a kit. All code that makes or changes one uses this module, so the order of writing
(FORMAT.md §6) is defined in one place: `BundleWriter.seal`.

    with BundleWriter.open(folders, note) as writer:
        ...                        # blobs into writer.store; before the first, writer.mark_unfinished()
        writer.seal(contents, envelope)
        on_media = writer.prove(phase, read_back)

1. An existing envelope is set aside before any content changes, so that a folder with an envelope is always a
   complete bundle.
2. The blobs are written, each checked before it gets its name.
3. The small files follow, because their contents depend on the blobs.
4. The statement follows, which lists all of these by digest.
5. The raw signatures of the statement follow.
6. The envelope is written last, after all names are durable. It is the commit point: a bundle without it is
   unfinished, and a crash at any earlier moment leaves an unfinished bundle that the next run resumes.

A kit is written in the same order, with other names (`Form`).
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from pathlib import Path
from typing import Protocol, Self

from airgap.bundle.check_written import OnMedia, announce, prove_sealed
from airgap.bundle.contents import ENVELOPE_FILE, STATEMENT_FILE, BundleContents, signature_file
from airgap.bundle.files import BUNDLE_FOLDERS, holds, media_errors, write_file
from airgap.bundle.folders import PLANNED_CUT_FILE, BundleFolders
from airgap.bundle.locks import claimed
from airgap.bundle.read_back import Written
from airgap.bundle.store import BlobStore
from airgap.bundle.volume_table import VOLUME_FILE
from airgap.durable import exists, sync_folder
from airgap.limits import MAX_JSON_BYTES
from airgap.oci.digest import Advance
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """The names that differ between a bundle and a kit."""

    envelope_file: str = ENVELOPE_FILE
    folders: tuple[str, ...] = BUNDLE_FOLDERS
    small_folders: tuple[str, ...] = ("trust",)
    """Folders of small files. Files that an earlier run left there are removed."""


BUNDLE_FORM = Form()

Hook = Callable[[], object]


class SignedStatement(Protocol):
    """The envelope around a statement, as `trust.envelope.Envelope` makes it."""

    @property
    def payload(self) -> bytes:
        """The statement."""

    @property
    def raw_signatures(self) -> Mapping[str, bytes]:
        """The raw signatures by key id."""

    def to_bytes(self) -> bytes:
        """Return the bytes of the envelope."""


@dataclass(slots=True, kw_only=True)
class BundleWriter:
    """Writes one bundle, to one folder or to one folder for each volume."""

    folders: BundleFolders
    store: BlobStore
    form: Form = BUNDLE_FORM
    _small: dict[str, bytes] = field(default_factory=dict)
    """The files that `seal` wrote on every volume."""

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        folders: BundleFolders,
        note: Callable[[str], object],
        *,
        form: Form = BUNDLE_FORM,
        check: Callable[[Path], object] = lambda _: None,
    ) -> Iterator[Self]:
        """Lock the folders for this process, `check` each of them, and report the media that will be written.

        Raises what `claimed` raises, and whatever `check` raises.
        """
        with claimed(folders.paths, form.folders):
            for path in folders.paths:
                check(path)
            announce(folders.paths, note)
            yield cls(folders=folders, store=folders.store(), form=form)

    def mark_unfinished(self) -> None:
        """Set the envelope aside before content changes, and write the planned cut, so that a later run
        resumes it. The envelope is not removed, because it may have other people's signatures.
        """
        for path in self.folders.paths:
            set_envelope_aside(path, self.form.envelope_file)
        for path, table in self.folders.planned_tables():
            write_file(path / PLANNED_CUT_FILE, table)

    def seal(
        self, contents: BundleContents, signed: SignedStatement, before_envelope: Hook = lambda: None
    ) -> None:
        """Write everything but the blobs, which are in the store already.

        Steps 3 and 4 are each done on all volumes before the next step; steps 5 and 6 are done volume by
        volume. `before_envelope` is called between steps 4 and 5. Raises `FormatError` for a signature whose
        key id is not one, and `MediaError`.
        """
        signatures = {signature_file(keyid): raw for keyid, raw in signed.raw_signatures.items()}
        for path in self.folders.paths:  # step 3
            self._write_changed(path, contents.small)
            for folder in self.form.small_folders:
                _remove_others(path / folder, contents.small)
            self._repeat_blobs(path)
        for path, table in self.folders.finished_tables(signed.payload, self.store):  # step 4
            self._write_changed(path, {STATEMENT_FILE: signed.payload, **table})
            _remove(path / name for name in {PLANNED_CUT_FILE, VOLUME_FILE} - table.keys())
        before_envelope()
        for path in self.folders.paths:  # steps 5 and 6
            _write(path, signatures)
            _remove_others(path / "sig", signatures)
            self._sync_names(path)
            write_file(path / self.form.envelope_file, signed.to_bytes())
        self._small = {**contents.small, STATEMENT_FILE: signed.payload, **signatures}
        self._small[self.form.envelope_file] = signed.to_bytes()

    def prove(
        self, phase: Callable[[str, int], AbstractContextManager[Advance]], wanted: bool | None
    ) -> OnMedia:
        """Read back what `seal` and the store wrote, in the order of writing. If the media do not hold the
        bundle, it is marked unfinished again. Raises what `prove_sealed` raises.
        """
        files = self.written_files()
        return prove_sealed(files, phase, wanted, self.mark_unfinished, self.form.folders)

    def _write_changed(self, path: Path, files: Mapping[str, bytes]) -> None:
        """Write small files. Unless all of them are already written, the envelope is set aside first."""
        with media_errors("cannot read", path):
            same = all(holds(path / name, raw) for name, raw in files.items())
        if not same:
            set_envelope_aside(path, self.form.envelope_file)
        _write(path, files)

    def _repeat_blobs(self, path: Path) -> None:
        """Write the blobs that are on every volume to this one; the store has them on the first."""
        if path != self.folders.first:
            for digest in self.store.sums.keys() - self.folders.cut_blobs():
                write_file(path / digest.path, self.store.read(digest, MAX_JSON_BYTES))

    def _sync_names(self, path: Path) -> None:
        """Make all names durable, because an earlier run may not have synced them."""
        for folder in (*(path / name for name in self.form.folders), path, path.parent):
            with media_errors("cannot write", folder):
                if folder.is_dir():
                    sync_folder(folder)

    def written_files(self) -> dict[Path, list[Written]]:
        """Return all files by folder, in the order of writing."""
        written = self.folders.written_blobs(self.store)
        for path, table in self.folders.finished_tables(self._small[STATEMENT_FILE], self.store):
            files = {**self._small, **table}
            files[self.form.envelope_file] = files.pop(self.form.envelope_file)  # the last, as it was written
            written[path] += [Written.of(path / name, raw) for name, raw in files.items()]
        return written


def add_signature(paths: Sequence[Path], envelope: bytes, keyid: str, signature: bytes) -> None:
    """Replace the envelope of every volume with one that has a further `signature`, by the key `keyid`.

    The raw signature is written first, because the new envelope requires it. In between, readers refuse the
    bundle.
    """
    for path in paths:
        write_file(path / signature_file(keyid), signature)
    for path in paths:
        write_file(path / ENVELOPE_FILE, envelope)


def set_envelope_aside(path: Path, envelope_file: str = ENVELOPE_FILE) -> None:
    """Make a sealed folder unfinished, so that it does not look complete while it is changed."""
    envelope = path / envelope_file
    with media_errors("cannot rename", envelope):
        if exists(envelope):
            envelope.replace(envelope.with_name(f"{envelope_file}.part"))
            sync_folder(path)


def _write(path: Path, files: Mapping[str, bytes]) -> None:
    for name, raw in files.items():
        write_file(path / name, raw)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with media_errors("cannot remove", path):
            path.unlink(missing_ok=True)


def _remove_others(folder: Path, wanted: Mapping[str, object]) -> None:
    """Remove files of an earlier run from a folder that only the writer uses."""
    with media_errors("cannot remove", folder):
        for path in folder.glob("*"):
            if f"{folder.name}/{path.name}" not in wanted:
                path.unlink()
