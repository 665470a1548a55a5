"""Tables of volumes that are read, volumes that are opened together, and media that fail."""

import json
import os

import pytest

from airgap.bundle import volumes as module
from airgap.bundle.bundle_tar import TarFolder
from airgap.bundle.files import BUNDLE_FOLDERS, Folder
from airgap.bundle.volumes import (
    VolumeSet,
    group_by_bundle,
    has_all_volumes,
    missing_volumes,
    open_bundle,
    paths_of,
    read_table,
)
from airgap.errors import (
    IncompleteError,
    MediaError,
    MissingContentError,
    SizeMismatchError,
    UnlistedContentError,
)


def test_too_many_files_on_a_volume(volumes, monkeypatch):
    """They are counted while they are listed: a folder full of them costs nothing."""
    most = max(len(volumes.names(number)) for number in (1, 2, 3))
    monkeypatch.setattr(module, "MAX_BUNDLE_FILES", most)
    with VolumeSet(volumes.folders) as found:
        list(found.files(BUNDLE_FOLDERS))
        monkeypatch.setattr(module, "MAX_BUNDLE_FILES", most - 1)
        with pytest.raises(UnlistedContentError, match=rf"too many files: .*, want at most {most - 1}"):
            list(found.files(BUNDLE_FOLDERS))


def test_a_statement_that_went_away_is_not_asked(volumes):
    """Step 6 has read it, and step 8 says that it is missing."""
    for number in (1, 2, 3):
        (volumes[number] / "statement.json").unlink()
    with VolumeSet(volumes.folders) as found:
        assert "statement.json" not in {file.name for file in found.files(BUNDLE_FOLDERS)}


def test_media_that_fail(volumes, monkeypatch):
    with VolumeSet(volumes.folders) as found, monkeypatch.context() as patch:

        def scandir(_):
            raise OSError(5, "Input/output error")

        patch.setattr(os, "scandir", scandir)
        with pytest.raises(MediaError, match="cannot read"):
            list(found.files(BUNDLE_FOLDERS))


class TestReadTable:
    def test_none(self, made):
        with Folder(made.bundle) as folder:
            assert read_table(folder) is None

    def test_one(self, volumes):
        with Folder(volumes[2]) as folder:
            found = read_table(folder)
        assert (found.volume, found.cut.of) == (2, 3)
        assert found.to_bytes() == (volumes[2] / "volume.json").read_bytes()


class TestOpening:
    def test_each_form(self, made, volumes, tmp_path):
        with open_bundle(made.bundle) as found:
            assert isinstance(found, Folder)
        with open_bundle([made.bundle]) as found:
            assert isinstance(found, Folder)
        with open_bundle(volumes.folders) as found:
            assert isinstance(found, VolumeSet)
        with open_bundle(volumes[2], alone=True) as found:
            assert found.missing == (1, 3)
        with pytest.raises(IncompleteError, match="volumes are missing"):
            open_bundle(volumes[2])

    def test_a_tar(self, tmp_path):
        path = tmp_path / "edge-0001.tar"
        path.write_bytes(bytes(1024))
        with open_bundle(path) as found:
            assert isinstance(found, TarFolder)

    def test_two_bundles_are_no_set(self, made):
        with pytest.raises(IncompleteError, match="not a volume"):
            open_bundle([made.bundle, made.bundle])

    def test_no_such_folder(self, tmp_path):
        with pytest.raises(MissingContentError, match="no such folder"):
            open_bundle(tmp_path / "none")

    def test_paths(self, tmp_path):
        assert paths_of(tmp_path) == (tmp_path,)
        assert paths_of([tmp_path, tmp_path]) == (tmp_path, tmp_path)


class TestWholeness:
    def test_of_volumes(self, made, volumes):
        assert has_all_volumes(volumes.folders)
        assert not has_all_volumes(volumes[1])
        assert not has_all_volumes([volumes[1], volumes[1], volumes[3]])
        assert has_all_volumes(made.bundle)

    def test_what_cannot_be_read_is_left_to_who_opens_it(self, volumes, tmp_path):
        volumes.put("volume.json", b"{}", 2)
        assert has_all_volumes(volumes[2])
        assert has_all_volumes(tmp_path / "none")


class TestGrouping:
    def test_volumes_of_one_bundle_are_together(self, made, volumes):
        paths = [volumes[3], made.bundle, volumes[1], volumes[2]]
        assert group_by_bundle(paths) == [(volumes[3], volumes[1], volumes[2]), (made.bundle,)]
        assert group_by_bundle(volumes.folders) == [volumes.folders]
        assert group_by_bundle([]) == []

    def test_one_bundle_alone_may_lack_a_volume(self, volumes):
        """It is told when it is opened."""
        assert group_by_bundle([volumes[1], volumes[3]]) == [(volumes[1], volumes[3])]

    def test_a_volume_is_missing_and_another_bundles_is_here(self, volumes, tmp_path):
        other = volumes.copy(tmp_path / "other")
        other.retable(lambda document: document.update(statement_sha256="0" * 64))
        assert group_by_bundle([*volumes.folders, *other.folders]) == [volumes.folders, other.folders]
        with pytest.raises(IncompleteError) as caught:
            group_by_bundle([volumes[1], other[2], volumes[3]])
        assert str(caught.value) == f"a volume is missing: {volumes[1]}, want volume 2 of 3, got volume 1, 3"
        assert caught.value.hint == f"of another bundle: {other[2]}"
        assert group_by_bundle([volumes[1], other[2]], alone=True) == [(volumes[1],), (other[2],)]

    def test_what_cannot_be_read_stands_for_itself(self, volumes, tmp_path):
        volumes.put("volume.json", b"noise", 2)
        assert group_by_bundle([volumes[2], tmp_path / "none"]) == [(volumes[2],), (tmp_path / "none",)]


def test_the_error_of_missing_volumes():
    found = missing_volumes("edge-0001", [2], 3, [1, 3], "put it in")
    assert str(found) == "a volume is missing: edge-0001, want volume 2 of 3, got volume 1, 3"
    assert found.hint == "put it in"


def test_the_helper_writes_what_the_format_says(cut, parted):
    """The judge is judged: canonical bytes, and every file where a table says."""
    for number in (1, 2, 3):
        raw = (cut[number] / "volume.json").read_bytes()
        assert json.loads(raw)["volume"] == number
        with Folder(cut[number]) as folder:
            assert read_table(folder).to_bytes() == raw
    assert [volume for volume, _ in cut.on(parted)] == [1, 2, 3, 3, 3]


def test_a_disk_that_fails_is_no_missing_volume(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(5, "bad")

    (tmp_path / "volume.json").write_bytes(b"{}")
    assert group_by_bundle([tmp_path]) == [(tmp_path,)]
    monkeypatch.setattr(os, "readv", fail)
    with pytest.raises(MediaError, match=f"cannot read: {tmp_path}/volume.json, got bad"):
        group_by_bundle([tmp_path])


@pytest.mark.parametrize("name", ["lone", "parted"])
def test_a_small_blob_is_read_where_it_is(made, volumes, request, name):
    """The payload of a cosign signature is a layer, and read before the others."""
    blob = request.getfixturevalue(name)
    with VolumeSet(volumes.folders) as found:
        assert found.read(blob, 1 << 20) == (made.bundle / blob).read_bytes()
        with pytest.raises(SizeMismatchError, match="too large"):
            found.read(blob, 100)
    with VolumeSet([volumes[1]], alone=True) as found, pytest.raises(IncompleteError, match="missing"):
        found.read(blob, 1 << 20)
