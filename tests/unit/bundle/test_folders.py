import hashlib
import os
import shutil

import pytest

from airgap.bundle.folders import BundleFolders, find_folders, new_folders
from airgap.bundle.volume_table import Cut, Part
from tests.support.writers import CUT, LAYER, TITLE, WIDE, unsummed, write, writer_of


@pytest.fixture
def places(tmp_path):
    found = [tmp_path / "a", tmp_path / "b"]
    for place in found:
        place.mkdir()
    return found


class TestFinding:
    def test_anew(self, places):
        assert new_folders(places, TITLE, None).paths == (places[0] / TITLE,)
        assert new_folders(places, TITLE, Cut(1, {})).paths == (places[0] / TITLE,)
        assert new_folders(places, TITLE, CUT).paths == (
            places[0] / "edge-0001.v1",
            places[1] / "edge-0001.v2",
        )
        four = new_folders(places, TITLE, Cut(4, {})).paths
        assert [path.parent for path in four] == [places[0], places[1], places[1], places[1]]
        assert four[3].name == "edge-0001.v4"
        assert not any(path.exists() for path in four)

    def test_what_is_there_is_where_it_is(self, places):
        (places[1] / "edge-0001.v1").mkdir()
        (places[0] / "edge-0001.v2").mkdir()
        assert new_folders(places, TITLE, CUT).paths == (
            places[1] / "edge-0001.v1",
            places[0] / "edge-0001.v2",
        )
        (places[1] / TITLE).mkdir()
        assert new_folders(places, TITLE, None).first == places[1] / TITLE

    def test_a_file_in_the_way_is_no_folder(self, places):
        (places[1] / "edge-0001.v1").write_bytes(b"")
        assert new_folders(places, TITLE, CUT).first == places[0] / "edge-0001.v1"

    def test_nothing(self, places):
        assert find_folders(places, TITLE) is None
        (places[0] / "edge-0002").mkdir()
        (places[0] / "edge-0001.v1").write_bytes(b"")
        assert find_folders(places, TITLE) is None

    def test_a_plain_folder(self, places):
        (places[1] / TITLE).mkdir()
        assert find_folders(places, TITLE) == BundleFolders((places[1] / TITLE,))

    def test_a_cut_that_was_begun(self, places):
        folders = new_folders(places, TITLE, CUT)
        writer_of(folders).mark_unfinished()
        assert find_folders(places, TITLE) == folders
        shutil.rmtree(folders.first)
        assert find_folders(places, TITLE) == folders

    def test_a_cut_that_is_finished(self, places):
        folders = new_folders(places, TITLE, CUT)
        write(folders)
        found = find_folders(places, TITLE)
        assert found.paths == folders.paths
        assert unsummed(found.cut) == CUT
        assert found.cut.parts[WIDE][0].sha256 == hashlib.sha256(LAYER[:400]).hexdigest()

    def test_a_cut_in_one_folder(self, places):
        one = Cut(1, {WIDE: (Part(1, 500), Part(1, 500))})
        folders = new_folders(places, TITLE, one)
        writer_of(folders).mark_unfinished()
        assert find_folders(places, TITLE) == folders

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
        folders = new_folders(places, TITLE, CUT)
        writer_of(folders).mark_unfinished()
        harm(folders.first / "volume.json.part")
        assert find_folders(places, TITLE) == folders
        harm(folders.paths[1] / "volume.json.part")
        assert find_folders(places, TITLE) is None
