import hashlib
import os
import shutil

import pytest

from airgap.bundle.cut import Cut, Part, VolumeTable
from airgap.bundle.files import Folder
from airgap.bundle.medium import Medium
from airgap.bundle.readback import read_back
from airgap.bundle.seal import describe
from airgap.bundle.shelf import Shelf, find_shelf, new_shelf
from airgap.bundle.volumes import VolumeSet
from airgap.errors import MediaError, NoSpaceError, SizeMismatchError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from airgap.oci.reference import ImageReference
from tests.support.streams import Bytes

TITLE = "edge-0001"
LAYER, OTHER, DOCUMENT = b"0123456789" * 100, b"other layer", b'{"a document":1}'
WIDE = Digest.of(LAYER, "sha512")
STATEMENT = b"the statement"
KEYID = "0123456789abcdef" * 4
SIGNED = {KEYID: b"signature"}
CUT = Cut(2, {Digest.of(OTHER): (Part(2, len(OTHER)),), WIDE: (Part(1, 400), Part(1, 100), Part(2, 500))})


@pytest.fixture
def places(tmp_path):
    found = [tmp_path / "a", tmp_path / "b"]
    for place in found:
        place.mkdir()
    return found


def fill(shelf, store=None):
    """All blobs."""
    store = store or shelf.store()
    for raw, algorithm in ((LAYER, "sha512"), (OTHER, "sha256"), (DOCUMENT, "sha256")):
        store.fetch(Descriptor("", Digest.of(raw, algorithm), len(raw)), lambda _, raw=raw: Bytes(raw))
    return store


def contents_of(store):
    image = (ImageReference.parse("r.test/x:1"), Descriptor(OCI_MANIFEST, Digest.of(DOCUMENT), len(DOCUMENT)))
    return describe(store.sums, [image], [], {1: b"root"})


def write(shelf):
    """A whole bundle, as the sending side writes it; what it says that it wrote."""
    shelf.unseal()
    store = fill(shelf)
    contents = contents_of(store)
    shelf.write_small(contents, store)
    shelf.write_statement(STATEMENT, store)
    sealed = shelf.commit(b"envelope", SIGNED)
    return shelf.written(store, contents, STATEMENT, sealed)


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


SMALL = {
    "SHA256SUMS",
    "VERIFY.txt",
    "bundle.dsse.json",
    "index.json",
    "manifest.json",
    "oci-layout",
    "sig/0123456789abcdef.sig",
    "statement.json",
    "trust/1.root.json",
    Digest.of(DOCUMENT).path,
}


def unsummed(cut: Cut) -> Cut:
    """The same as it is before the blobs are there."""
    parts = {
        digest: tuple(Part(part.volume, part.size) for part in found) for digest, found in cut.parts.items()
    }
    return Cut(cut.of, parts)


class TestFinding:
    def test_anew(self, places):
        assert new_shelf(places, TITLE, None).folders == (places[0] / TITLE,)
        assert new_shelf(places, TITLE, Cut(1, {})).folders == (places[0] / TITLE,)
        assert new_shelf(places, TITLE, CUT).folders == (
            places[0] / "edge-0001.v1",
            places[1] / "edge-0001.v2",
        )
        four = new_shelf(places, TITLE, Cut(4, {})).folders
        assert [path.parent for path in four] == [places[0], places[1], places[1], places[1]]
        assert four[3].name == "edge-0001.v4"
        assert not any(path.exists() for path in four)

    def test_what_is_there_is_where_it_is(self, places):
        (places[1] / "edge-0001.v1").mkdir()
        (places[0] / "edge-0001.v2").mkdir()
        assert new_shelf(places, TITLE, CUT).folders == (
            places[1] / "edge-0001.v1",
            places[0] / "edge-0001.v2",
        )
        (places[1] / TITLE).mkdir()
        assert new_shelf(places, TITLE, None).first == places[1] / TITLE

    def test_a_file_in_the_way_is_no_folder(self, places):
        (places[1] / "edge-0001.v1").write_bytes(b"")
        assert new_shelf(places, TITLE, CUT).first == places[0] / "edge-0001.v1"

    def test_nothing(self, places):
        assert find_shelf(places, TITLE) is None
        (places[0] / "edge-0002").mkdir()
        (places[0] / "edge-0001.v1").write_bytes(b"")
        assert find_shelf(places, TITLE) is None

    def test_a_plain_folder(self, places):
        (places[1] / TITLE).mkdir()
        assert find_shelf(places, TITLE) == Shelf((places[1] / TITLE,))

    def test_a_cut_that_was_begun(self, places):
        shelf = new_shelf(places, TITLE, CUT)
        shelf.unseal()
        assert find_shelf(places, TITLE) == shelf
        shutil.rmtree(shelf.first)
        assert find_shelf(places, TITLE) == shelf

    def test_a_cut_that_is_finished(self, places):
        shelf = new_shelf(places, TITLE, CUT)
        write(shelf)
        found = find_shelf(places, TITLE)
        assert found.folders == shelf.folders
        assert unsummed(found.cut) == CUT
        assert found.cut.parts[WIDE][0].sha256 == hashlib.sha256(LAYER[:400]).hexdigest()

    def test_a_cut_in_one_folder(self, places):
        one = Cut(1, {WIDE: (Part(1, 500), Part(1, 500))})
        shelf = new_shelf(places, TITLE, one)
        shelf.unseal()
        assert find_shelf(places, TITLE) == shelf

    @pytest.mark.parametrize(
        "harm",
        [
            lambda path: path.write_bytes(b"{}"),
            lambda path: path.write_bytes(b"\xff"),
            lambda path: os.truncate(path, (16 << 20) + 1),
            lambda path: (path.unlink(), path.mkdir()),
            lambda path: (path.unlink(), os.mkfifo(path)),
            lambda path: (path.rename(path.parent / "x"), path.symlink_to("x")),
        ],
        ids=["no table", "noise", "too large", "a folder", "a pipe", "a link"],
    )
    def test_what_is_no_table_is_passed_over(self, places, harm):
        shelf = new_shelf(places, TITLE, CUT)
        shelf.unseal()
        harm(shelf.first / "volume.json.part")
        assert find_shelf(places, TITLE) == shelf
        harm(shelf.folders[1] / "volume.json.part")
        assert find_shelf(places, TITLE) is None


class TestUnsealing:
    def test_a_folder_without_a_cut(self, places):
        new_shelf(places, TITLE, None).unseal()
        assert list(places[0].iterdir()) == []

    def test_the_cut_is_written_down(self, places):
        shelf = new_shelf(places, TITLE, CUT)
        shelf.unseal()
        assert [names(folder) for folder in shelf.folders] == [{"volume.json.part"}] * 2
        for number, folder in enumerate(shelf.folders, 1):
            raw = (folder / "volume.json.part").read_bytes()
            assert VolumeTable.parse(raw, "v") == VolumeTable("0" * 64, number, CUT)

    def test_another_cut_makes_it_unfinished(self, places):
        shelf = new_shelf(places, TITLE, CUT)
        write(shelf)
        other = new_shelf(places, TITLE, Cut(2, {**CUT.parts, WIDE: (Part(1, 500), Part(2, 500))}))
        other.unseal()
        for folder in shelf.folders:
            assert {"volume.json.part", "bundle.dsse.json.part"} < names(folder)
            assert "bundle.dsse.json" not in names(folder)
        assert find_shelf(places, TITLE) == other

    def test_a_medium_that_is_full(self, places, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(NoSpaceError, match=r"cannot write: .*volume\.json\.part"):
            new_shelf(places, TITLE, CUT).unseal()


class TestWriting:
    def test_each_volume_has_its_share_and_all_of_the_rest(self, places):
        shelf = new_shelf(places, TITLE, CUT)
        write(shelf)
        first, second = (names(folder) for folder in shelf.folders)
        assert first == SMALL | {"volume.json", f"{WIDE.path}.000", f"{WIDE.path}.001"}
        assert second == SMALL | {"volume.json", f"{WIDE.path}.002", Digest.of(OTHER).path}
        for name in SMALL:
            assert (shelf.first / name).read_bytes() == (shelf.folders[1] / name).read_bytes(), name

    def test_the_tables(self, places):
        shelf = new_shelf(places, TITLE, CUT)
        write(shelf)
        tables = []
        for folder in shelf.folders:
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
        shelf = new_shelf(places, TITLE, CUT)
        write(shelf)
        with VolumeSet(shelf.folders) as found:
            assert {
                file.name for file in found.files(("blobs", "blobs/sha256", "blobs/sha512", "sig", "trust"))
            } == (SMALL | {WIDE.path, Digest.of(OTHER).path})

    def test_all_that_was_written_is_told_in_order(self, places):
        shelf = new_shelf(places, TITLE, CUT)
        written = write(shelf)
        assert tuple(written) == shelf.folders
        for folder, files in written.items():
            assert {file.path.relative_to(folder).as_posix() for file in files} == names(folder)
            assert len(files) == len(names(folder))
            assert read_back(files, Medium.of(folder), lambda _: None).wrong == ()
            assert files[-1].path == folder / "bundle.dsse.json"

    def test_without_a_cut(self, places):
        shelf = new_shelf(places, TITLE, None)
        written = write(shelf)
        assert names(shelf.first) == SMALL | {WIDE.path, Digest.of(OTHER).path}
        assert {file.path.relative_to(shelf.first).as_posix() for file in written[shelf.first]} == names(
            shelf.first
        )

    def test_a_blob_that_failed_is_not_in_the_table(self, places):
        """`--allow-partial`: the cut was planned with it."""
        shelf = new_shelf(places, TITLE, CUT)
        store = shelf.store()
        store.fetch(Descriptor("", WIDE, len(LAYER)), lambda _: Bytes(LAYER))
        shelf.write_statement(STATEMENT, store)
        with Folder(shelf.first) as found:
            table = VolumeTable.parse(found.read("volume.json", 9999), "v")
        assert list(table.cut.parts) == [WIDE]

    def test_a_table_of_before_goes_when_there_is_no_cut(self, places):
        shelf = new_shelf(places, TITLE, None)
        store = fill(shelf)
        for name in ("volume.json", "volume.json.part"):
            (shelf.first / name).write_bytes(b"old")
        shelf.write_statement(STATEMENT, store)
        assert not {"volume.json", "volume.json.part"} & names(shelf.first)

    def test_a_folder_in_the_way_of_a_table(self, places):
        shelf = new_shelf(places, TITLE, None)
        store = fill(shelf)
        (shelf.first / "volume.json").mkdir()
        with pytest.raises(MediaError, match=r"cannot remove: .*volume\.json"):
            shelf.write_statement(STATEMENT, store)

    def test_unsealed(self, places):
        shelf = new_shelf(places, TITLE, CUT)
        write(shelf)
        shelf.unseal()
        for folder in shelf.folders:
            assert (folder / "bundle.dsse.json.part").read_bytes() == b"envelope"
            assert not (folder / "bundle.dsse.json").exists()

    def test_a_document_that_is_too_large_to_be_on_every_volume(self, places, monkeypatch):
        monkeypatch.setattr("airgap.bundle.shelf.MAX_BYTES", 9)
        shelf = new_shelf(places, TITLE, CUT)
        store = fill(shelf)
        with pytest.raises(SizeMismatchError, match="too large"):
            shelf.write_small(contents_of(store), store)
