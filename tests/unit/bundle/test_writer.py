import errno
import hashlib
import os
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.bundle.folders import find_folders, new_folders
from airgap.bundle.medium import Medium
from airgap.bundle.read_back import read_back
from airgap.bundle.volume_table import Cut, Part, VolumeTable
from airgap.bundle.volumes import VolumeSet
from airgap.bundle.writer import add_signature, set_envelope_aside
from airgap.errors import FormatError, MediaError, NoSpaceError, SizeMismatchError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from tests.support.streams import Bytes
from tests.support.writers import (
    CUT,
    KEYID,
    LAYER,
    OTHER,
    SMALL,
    STATEMENT,
    TITLE,
    WIDE,
    Sealed,
    contents_of,
    fill,
    names,
    write,
    writer_of,
)


@pytest.fixture
def places(tmp_path):
    found = [tmp_path / "a", tmp_path / "b"]
    for place in found:
        place.mkdir()
    return found


def seal(writer, before_envelope=lambda: None):
    writer.seal(contents_of(writer.store), Sealed(), before_envelope)


class TestMarkingUnfinished:
    def test_a_folder_without_a_cut(self, places):
        writer_of(new_folders(places, TITLE, None)).mark_unfinished()
        assert list(places[0].iterdir()) == []

    def test_the_cut_is_written_down(self, places):
        folders = new_folders(places, TITLE, CUT)
        writer_of(folders).mark_unfinished()
        assert [names(folder) for folder in folders.paths] == [{"volume.json.part"}] * 2
        for number, folder in enumerate(folders.paths, 1):
            raw = (folder / "volume.json.part").read_bytes()
            assert VolumeTable.parse(raw, "v") == VolumeTable("0" * 64, number, CUT)

    def test_another_cut_makes_it_unfinished(self, places):
        folders = new_folders(places, TITLE, CUT)
        write(folders)
        other = new_folders(places, TITLE, Cut(2, {**CUT.parts, WIDE: (Part(1, 500), Part(2, 500))}))
        writer_of(other).mark_unfinished()
        for folder in folders.paths:
            assert {"volume.json.part", "bundle.dsse.json.part"} < names(folder)
            assert "bundle.dsse.json" not in names(folder)
        assert find_folders(places, TITLE) == other

    def test_a_medium_that_is_full(self, places, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(NoSpaceError, match=r"cannot write: .*volume\.json\.part"):
            writer_of(new_folders(places, TITLE, CUT)).mark_unfinished()


class TestWriting:
    def test_each_volume_has_its_share_and_all_of_the_rest(self, places):
        folders = new_folders(places, TITLE, CUT)
        write(folders)
        first, second = (names(folder) for folder in folders.paths)
        assert first == SMALL | {"volume.json", f"{WIDE.path}.000", f"{WIDE.path}.001"}
        assert second == SMALL | {"volume.json", f"{WIDE.path}.002", Digest.of(OTHER).path}
        for name in SMALL:
            assert (folders.first / name).read_bytes() == (folders.paths[1] / name).read_bytes(), name

    def test_the_tables(self, places):
        folders = new_folders(places, TITLE, CUT)
        write(folders)
        tables = []
        for folder in folders.paths:
            with Folder(folder) as found:
                tables.append(VolumeTable.parse(found.read("volume.json", 9999), "v"))
        assert [table.volume for table in tables] == [1, 2]
        assert tables[0].cut == tables[1].cut
        assert {table.statement_sha256 for table in tables} == {hashlib.sha256(STATEMENT).hexdigest()}
        pieces = (LAYER[:400], LAYER[400:500], LAYER[500:])
        assert [p.sha256 for p in tables[0].cut.parts[WIDE]] == [
            hashlib.sha256(p).hexdigest() for p in pieces
        ]
        assert [p.sha256 for p in tables[0].cut.parts[Digest.of(OTHER)]] == [Digest.of(OTHER).hex]

    def test_it_is_read_as_it_was_written(self, places):
        folders = new_folders(places, TITLE, CUT)
        write(folders)
        with VolumeSet(folders.paths) as found:
            assert {
                file.name for file in found.files(("blobs", "blobs/sha256", "blobs/sha512", "sig", "trust"))
            } == (SMALL | {WIDE.path, Digest.of(OTHER).path})

    def test_all_that_was_written_is_told_in_order(self, places):
        folders = new_folders(places, TITLE, CUT)
        written = write(folders).written_files()
        assert tuple(written) == folders.paths
        for folder, files in written.items():
            assert {file.path.relative_to(folder).as_posix() for file in files} == names(folder)
            assert len(files) == len(names(folder))
            assert read_back(files, Medium.of(folder), lambda _: None).wrong == ()
            assert files[-1].path == folder / "bundle.dsse.json"

    def test_without_a_cut(self, places):
        folders = new_folders(places, TITLE, None)
        written = write(folders).written_files()
        assert names(folders.first) == SMALL | {WIDE.path, Digest.of(OTHER).path}
        assert {file.path.relative_to(folders.first).as_posix() for file in written[folders.first]} == names(
            folders.first
        )

    def test_a_blob_that_failed_is_not_in_the_table(self, places):
        """`--allow-partial`: the cut was planned with it."""
        writer = writer_of(new_folders(places, TITLE, CUT))
        writer.store.fetch(Descriptor("", WIDE, len(LAYER)), lambda _: Bytes(LAYER))
        seal(writer)
        with Folder(writer.folders.first) as found:
            table = VolumeTable.parse(found.read("volume.json", 9999), "v")
        assert list(table.cut.parts) == [WIDE]

    def test_a_table_of_an_earlier_run_is_removed_when_there_is_no_cut(self, places):
        writer = writer_of(new_folders(places, TITLE, None))
        fill(writer.store)
        for name in ("volume.json", "volume.json.part"):
            (writer.folders.first / name).write_bytes(b"old")
        seal(writer)
        assert not {"volume.json", "volume.json.part"} & names(writer.folders.first)

    def test_a_folder_in_the_way_of_a_table(self, places):
        writer = writer_of(new_folders(places, TITLE, None))
        fill(writer.store)
        (writer.folders.first / "volume.json").mkdir()
        with pytest.raises(MediaError, match=r"cannot remove: .*volume\.json"):
            seal(writer)

    def test_the_envelope_is_set_aside(self, places):
        folders = new_folders(places, TITLE, CUT)
        write(folders)
        writer_of(folders).mark_unfinished()
        for folder in folders.paths:
            assert (folder / "bundle.dsse.json.part").read_bytes() == b"envelope"
            assert not (folder / "bundle.dsse.json").exists()

    def test_a_document_that_is_too_large_to_be_on_every_volume(self, places, monkeypatch):
        monkeypatch.setattr("airgap.bundle.writer.MAX_JSON_BYTES", 9)
        writer = writer_of(new_folders(places, TITLE, CUT))
        fill(writer.store)
        with pytest.raises(SizeMismatchError, match="too large"):
            seal(writer)

    def test_files_of_an_earlier_run_are_removed(self, places):
        folders = new_folders(places, TITLE, CUT)
        write(folders)
        for path in folders.paths:
            (path / "sig" / f"{'f' * 16}.sig").write_bytes(b"old")
            (path / "trust" / "2.root.json").write_bytes(b"old")
        write(folders)
        for path in folders.paths:
            assert [file.name for file in (path / "sig").iterdir()] == [f"{KEYID[:16]}.sig"]
            assert [file.name for file in (path / "trust").iterdir()] == ["1.root.json"]


class TestOrder:
    def test_the_statement_comes_first_and_the_envelope_last(self, places):
        writer = writer_of(new_folders(places, TITLE, CUT))
        fill(writer.store)
        found = []
        seal(writer, lambda: found.extend(map(names, writer.folders.paths)))
        for path, before in zip(writer.folders.paths, found, strict=True):
            assert names(path) - before == {"sig/0123456789abcdef.sig", "bundle.dsse.json"}
            assert {"statement.json", "volume.json"} <= before

    def test_the_envelope_is_not_written_when_something_before_it_fails(self, places):
        writer = writer_of(new_folders(places, TITLE, CUT))
        fill(writer.store)

        def fail():
            raise MediaError("the home is full")

        with pytest.raises(MediaError, match="the home is full"):
            seal(writer, fail)
        assert not any("bundle.dsse.json" in names(path) for path in writer.folders.paths)

    def test_every_name_is_durable_before_the_envelope(self, places, monkeypatch):
        """An earlier run may have given names, and then failed to make them durable."""
        writer = write(new_folders(places, TITLE, None))
        folder, order = writer.folders.first, []
        (folder / "bundle.dsse.json").unlink()
        monkeypatch.setattr(os, "fsync", lambda fd: order.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
        seal(writer)
        before = set(order[: order.index(f"{folder / 'bundle.dsse.json'}.part")])
        below = ("", "/blobs", "/blobs/sha256", "/sig", "/trust")
        assert {str(folder.parent), *(f"{folder}{name}" for name in below)} <= before

    @pytest.mark.parametrize("keyid", ["", "../../../etc/x", "A" * 64, "0" * 63, f"{KEYID}\n"])
    def test_what_is_not_a_key_id_is_refused_before_anything_is_written(self, places, keyid):
        writer = writer_of(new_folders(places, TITLE, None))
        with pytest.raises(FormatError, match="not a key id"):
            writer.seal(contents_of(writer.store), Sealed({keyid: b"signature"}))
        assert not writer.folders.first.exists()

    def test_a_further_signature_comes_before_the_envelope_that_names_it(self, places, monkeypatch):
        paths = write(new_folders(places, TITLE, CUT)).folders.paths
        written = []
        monkeypatch.setattr("airgap.bundle.writer.write_file", lambda path, raw: written.append((path, raw)))
        add_signature(paths, b"two", "f" * 64, b"further")
        signatures = [(path / "sig" / f"{'f' * 16}.sig", b"further") for path in paths]
        assert written == [*signatures, *((path / "bundle.dsse.json", b"two") for path in paths)]


def test_a_medium_that_fails(places, monkeypatch):
    folder = write(new_folders(places, TITLE, None)).folders.first

    def fail(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(MediaError, match="cannot rename"):
        set_envelope_aside(folder)
