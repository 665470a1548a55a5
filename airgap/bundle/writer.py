"""Writes a bundle in the order of FORMAT.md §6. All code that makes or changes a bundle uses this module.

    with BundleWriter.open(folders, note) as writer:
        ...                        # blobs into writer.store; before the first, writer.mark_unfinished()
        writer.seal(contents, statement, envelope, signatures)
        on_media = writer.prove(phase, read_back)

A kit is written in the same order, with other names (`Form`).
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from airgap.bundle.check_written import OnMedia, announce, prove_sealed
from airgap.bundle.contents import ENVELOPE_FILE, FOLDERS, STATEMENT_FILE, Contents, signature_file
from airgap.bundle.files import holds, media_errors, write_file
from airgap.bundle.folders import PLANNED_CUT_FILE, BundleFolders
from airgap.bundle.locks import claimed
from airgap.bundle.read_back import Written
from airgap.bundle.store import BlobStore
from airgap.bundle.volume_table import VOLUME_FILE
from airgap.durable import exists, sync_folder
from airgap.oci.digest import Advance
from airgap.oci.strict_json import MAX_BYTES


@dataclass(frozen=True, slots=True)
class Form:
    """The names that differ between a bundle and a kit."""

    envelope_file: str = ENVELOPE_FILE
    folders: tuple[str, ...] = FOLDERS
    small_folders: tuple[str, ...] = ("trust",)
    """Folders of small files: what an earlier run left there is removed."""


BUNDLE = Form()


@dataclass(slots=True, kw_only=True)
class BundleWriter:
    """Writes one bundle, to one folder or to one folder for each volume."""

    folders: BundleFolders
    store: BlobStore
    form: Form = BUNDLE
    _small: dict[str, bytes] = field(default_factory=dict)
    """The files that `seal` wrote on every volume."""

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        folders: BundleFolders,
        note: Callable[[str], object],
        *,
        form: Form = BUNDLE,
        check: Callable[[Path], object] = lambda _: None,
    ) -> Iterator[Self]:
        """Lock the folders for this process, `check` each of them, and report the media that will be written.

        Raises as `claimed`, and whatever `check` raises.
        """
        with claimed(folders.paths, form.folders):
            for path in folders.paths:
                check(path)
            announce(folders.paths, note)
            yield cls(folders=folders, store=folders.store(), form=form)

    def mark_unfinished(self) -> None:
        """Set the envelope aside before content changes, and keep the planned cut, so that a later
        run resumes it. The envelope is kept, because it may hold other people's signatures.
        """
        for path in self.folders.paths:
            set_envelope_aside(path, self.form.envelope_file)
        for path, table in self.folders.planned_tables():
            write_file(path / PLANNED_CUT_FILE, table)

    def seal(
        self,
        contents: Contents,
        statement: bytes,
        envelope: bytes,
        signatures: Mapping[str, bytes],
        before_envelope: Callable[[], object] = lambda: None,
    ) -> None:
        """Write everything but the blobs, which are in the store already (FORMAT.md §6, steps 3 to 6).

        `signatures` are the raw signatures of the envelope by key id. Raises `FormatError` for another name.
        """
        signature_files = {signature_file(keyid): raw for keyid, raw in signatures.items()}
        self._write_small_files(contents)
        self._write_statement(statement)
        before_envelope()
        for path in self.folders.paths:
            self._write_signatures(path, signature_files)
            self._sync_names(path)
            write_file(path / self.form.envelope_file, envelope)
        self._small = contents.small | {STATEMENT_FILE: statement} | signature_files
        self._small[self.form.envelope_file] = envelope

    def prove(
        self, phase: Callable[[str, int], AbstractContextManager[Advance]], wanted: bool | None
    ) -> OnMedia:
        """Read back what `seal` and the store wrote, in the order of writing. If the media do not hold the
        bundle, it is marked unfinished again. Raises as `prove_sealed`.
        """
        files = self.written_files()
        return prove_sealed(files, phase, wanted, self.mark_unfinished, self.form.folders)

    def _write_small_files(self, contents: Contents) -> None:
        for path in self.folders.paths:
            self._mark_unfinished_unless(path, contents.small)
            for name, raw in contents.small.items():
                write_file(path / name, raw)
            for folder in self.form.small_folders:
                _remove_others(path / folder, contents.small)
        for digest in self.store.sums.keys() - self.folders.cut_blobs():
            for path in self.folders.paths[1:]:
                write_file(path / digest.path, self.store.read(digest, MAX_BYTES))

    def _write_statement(self, statement: bytes) -> None:
        """Write the statement and the finished table of each volume; remove a table of an earlier run."""
        for path, table in self.folders.finished_tables(statement, self.store):
            files = {STATEMENT_FILE: statement, **table}
            self._mark_unfinished_unless(path, files)
            for name, raw in files.items():
                write_file(path / name, raw)
            for name in {PLANNED_CUT_FILE, VOLUME_FILE} - table.keys():
                with media_errors("cannot remove", path / name):
                    (path / name).unlink(missing_ok=True)

    def _write_signatures(self, path: Path, files: Mapping[str, bytes]) -> None:
        """Write the raw signatures, and remove those of an earlier run."""
        for name, raw in files.items():
            write_file(path / name, raw)
        _remove_others(path / "sig", files)

    def _sync_names(self, path: Path) -> None:
        """Make all names durable, because an earlier run may not have synced them."""
        for folder in (*(path / name for name in self.form.folders), path, path.parent):
            with media_errors("cannot write", folder):
                if folder.is_dir():
                    sync_folder(folder)

    def _mark_unfinished_unless(self, path: Path, files: Mapping[str, bytes]) -> None:
        """Set the envelope aside, unless all small files are already written."""
        with media_errors("cannot read", path):
            same = all(holds(path / name, raw) for name, raw in files.items())
        if not same:
            set_envelope_aside(path, self.form.envelope_file)

    def written_files(self) -> dict[Path, list[Written]]:
        """Return all files by folder, in the order of writing."""
        found = self.folders.written_blobs(self.store)
        for path, table in self.folders.finished_tables(self._small[STATEMENT_FILE], self.store):
            files = {**self._small, **table}
            files[self.form.envelope_file] = files.pop(self.form.envelope_file)  # the last, as it was written
            found[path] += [Written.of(path / name, raw) for name, raw in files.items()]
        return found


def add_signature(paths: Sequence[Path], envelope: bytes, keyid: str, signature: bytes) -> None:
    """Replace the envelope of every volume by one with a further `signature`, by the key `keyid`.

    The raw signature comes first, because the new envelope requires it; in between, readers refuse the
    bundle.
    """
    for path in paths:
        write_file(path / signature_file(keyid), signature)
    for path in paths:
        write_file(path / ENVELOPE_FILE, envelope)


def set_envelope_aside(path: Path, envelope_file: str = ENVELOPE_FILE) -> None:
    """Make a sealed folder unfinished, so that no state in between looks complete."""
    envelope = path / envelope_file
    with media_errors("cannot rename", envelope):
        if exists(envelope):
            envelope.replace(envelope.with_name(f"{envelope_file}.part"))
            sync_folder(path)


def _remove_others(folder: Path, wanted: Mapping[str, object]) -> None:
    """Remove files of an earlier run from a folder that only the writer uses."""
    with media_errors("cannot remove", folder):
        for path in folder.glob("*"):
            if f"{folder.name}/{path.name}" not in wanted:
                path.unlink()
