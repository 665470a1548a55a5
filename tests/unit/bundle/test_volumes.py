"""The volumes of a bundle: read as one, and what is missing or no set of volumes."""

import contextlib
import os

import pytest

from airgap.bundle.files import BUNDLE_FOLDERS, Folder
from airgap.bundle.volumes import (
    VolumeSet,
    open_bundle,
)
from airgap.carry.verify import verify, verify_content
from airgap.errors import (
    AirgapError,
    AmbiguousError,
    DigestMismatchError,
    FormatError,
    IncompleteError,
    MissingContentError,
    SizeMismatchError,
    UnlistedContentError,
)
from airgap.progress import Silent
from tests.support.damage import flip
from tests.support.volumes import cut_over, layers_in
from tests.unit.bundle.volumes_support import open_files, proved


class TestWhole:
    @pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
    def test_in_any_order(self, made, volumes, order):
        assert proved(made, [volumes[number] for number in order]) == []

    def test_the_same_as_the_folder(self, made, volumes):
        with VolumeSet(volumes.folders) as found, Folder(made.bundle) as folder:
            assert set(found.files(BUNDLE_FOLDERS)) == set(folder.files(BUNDLE_FOLDERS))
            for file in folder.files(BUNDLE_FOLDERS):
                assert found.has(file.name)
                if not file.name.startswith("blobs/"):
                    assert found.read(file.name, 1 << 20) == folder.read(file.name, 1 << 20)
                with folder.open(file.name) as one, contextlib.closing(found.open(file.name)) as other:
                    assert _all(other) == _all(one), file.name
            assert not found.has("x")
            assert found.path == volumes[1]
            assert found.missing == ()

    def test_one_folder_with_a_blob_in_parts(self, made, tmp_path, parted):
        size = layers_in(made.bundle)[parted]
        one = cut_over(made.bundle, tmp_path, {parted: [(1, 1), (1, size - 1)]}, of=1)
        assert proved(made, one.folders) == []
        with open_bundle(one[1]) as found:
            assert isinstance(found, VolumeSet)

    def test_a_thousand_parts(self, made, tmp_path, parted):
        size = layers_in(made.bundle)[parted]
        places = {parted: [(n % 3 + 1, 1) for n in range(999)] + [(1, size - 999)]}
        assert proved(made, cut_over(made.bundle, tmp_path, places, of=3).folders) == []

    def test_a_volume_with_no_layers(self, made, tmp_path):
        assert proved(made, cut_over(made.bundle, tmp_path, {}, of=2).folders) == []

    def test_through_a_link_to_the_folder(self, made, volumes, tmp_path):
        (tmp_path / "link").symlink_to(volumes[2])
        assert proved(made, [volumes[1], tmp_path / "link", volumes[3]]) == []


def _all(stream, size: int = 1000) -> bytes:
    out, buffer = bytearray(), memoryview(bytearray(size))
    while got := stream.readinto(buffer):
        out += buffer[:got]
    return bytes(out)


class TestParts:
    @pytest.mark.parametrize("step", [1, 7, 10_000])
    @pytest.mark.parametrize("offset", [0, 1, 700, 2000])
    def test_read_from_anywhere(self, made, volumes, parted, offset, step):
        raw = (made.bundle / parted).read_bytes()
        with VolumeSet(volumes.folders) as found, contextlib.closing(found.open(parted)) as stream:
            stream.seek(offset)
            assert _all(stream, step) == raw[offset:]
            stream.seek(len(raw) - 3)
            assert _all(stream, step) == raw[-3:]
            stream.seek(len(raw) + 3)
            assert _all(stream, step) == b""

    @pytest.mark.parametrize("number", range(5))
    def test_a_harmed_part_is_named(self, volumes, parted, number):
        path = volumes.part(parted, number)
        flip(path, -1)
        with (
            VolumeSet(volumes.folders) as found,
            contextlib.closing(found.open(parted)) as stream,
            pytest.raises(DigestMismatchError, match=f"wrong digest: {path},"),
        ):
            _all(stream)

    def test_a_part_that_is_begun_in_the_middle_is_left_to_the_digest_of_the_whole(
        self, made, volumes, parted
    ):
        path = volumes.part(parted, 0)
        flip(path, -1)
        with VolumeSet(volumes.folders) as found, contextlib.closing(found.open(parted)) as stream:
            stream.seek(1)
            assert len(_all(stream)) == len((made.bundle / parted).read_bytes()) - 1

    @pytest.mark.parametrize("at", ["first", "last"])
    def test_where(self, volumes, parted, lone, at):
        with VolumeSet(volumes.folders) as found:
            number = {"first": 0, "last": 4}[at]
            assert found.where(f"{parted}.{number:03d}") == str(volumes.part(parted, number))
            assert found.where(parted) == ", ".join(str(volumes.part(parted, n)) for n in range(5))
            assert found.where(lone) == str(volumes[2] / lone)
            assert found.where("index.json") == f"{volumes[1]}/index.json"

    def test_reading_is_bounded(self, volumes):
        with VolumeSet(volumes.folders) as found, pytest.raises(SizeMismatchError, match="too large"):
            found.read("index.json", 9)


class TestMissing:
    @pytest.mark.parametrize(
        ("here", "want", "got", "words"),
        [
            ((1,), "volume 2, 3 of 3", "volume 1", "volumes are missing"),
            ((1, 3), "volume 2 of 3", "volume 1, 3", "a volume is missing"),
            ((3, 2), "volume 1 of 3", "volume 2, 3", "a volume is missing"),
        ],
    )
    def test_missing_volumes_are_named(self, volumes, here, want, got, words):
        with pytest.raises(IncompleteError) as caught:
            VolumeSet([volumes[number] for number in here])
        assert str(caught.value) == f"{words}: {volumes[min(here)]}, want {want}, got {got}"
        assert "airgap receive VOLUME --into DIR" in caught.value.hint

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_each_is_looked_at_alone(self, made, volumes, parted, lone, number):
        """Steps 1 to 9 hold; content that is elsewhere is incomplete, and not wrong."""
        with VolumeSet([volumes[number]], alone=True) as found:
            assert found.missing == tuple({1, 2, 3} - {number})
            bundle = verify(found, made.receiver())
            assert sum(file.size for file in found.files(BUNDLE_FOLDERS)) > bundle.statement.total_bytes
            with pytest.raises(IncompleteError, match=r"volumes? .*missing"):
                verify_content(bundle, Silent(), 1)
            if number != 2:
                with pytest.raises(IncompleteError, match="want volume 2 of 3"):
                    found.open(lone)
                assert found.where(lone) == f"{lone} on volume 2"
            with contextlib.closing(found.open(parted)) as stream, pytest.raises(IncompleteError):
                _all(stream)

    def test_what_is_here_is_read_as_far_as_it_goes(self, made, volumes, parted):
        raw = (made.bundle / parted).read_bytes()
        first = volumes.part(parted, 0).stat().st_size
        buffer = memoryview(bytearray(first))
        with (
            VolumeSet([volumes[1]], alone=True) as found,
            contextlib.closing(found.open(parted)) as stream,
        ):
            assert stream.readinto(buffer) == first
            with pytest.raises(IncompleteError, match="want volume 2 of 3, got volume 1"):
                stream.readinto(buffer)
        assert buffer == raw[:first]

    def test_a_harmed_volume_alone(self, volumes, parted):
        flip(volumes.part(parted, 0), -1)
        with (
            VolumeSet([volumes[1]], alone=True) as found,
            contextlib.closing(found.open(parted)) as stream,
            pytest.raises(DigestMismatchError),
        ):
            _all(stream)


NOT_ONE = {
    "the same volume twice": (
        lambda v: (*v.folders, v[2]),
        IncompleteError,
        "volume 2 was given twice: {2}, got {2}",
    ),
    "a copy of a volume": (
        lambda v: (*v.folders, v[2].rename(v[2].parent / "x")),
        MissingContentError,
        "no such folder",
    ),
    "no folder": (lambda v: (v[1], v[2].parent / "none"), MissingContentError, "no such folder: "),
    "a file": (lambda v: (v[1], v[1] / "index.json"), MissingContentError, "no such folder: "),
    "no table": (
        lambda v: ((v[2] / "volume.json").unlink(), v.folders)[1],
        IncompleteError,
        "not a volume: {2}, want volume.json",
    ),
    "an unfinished table": (
        lambda v: ((v[2] / "volume.json").rename(v[2] / "volume.json.part"), v.folders)[1],
        IncompleteError,
        "not a volume: {2}",
    ),
    "a broken table": (
        lambda v: (v.put("volume.json", b"{}", 3), v.folders)[1],
        FormatError,
        "wrong type: {3}/volume.json",
    ),
    "a table that is too large": (
        lambda v: (v.put("volume.json", b" " * ((16 << 20) + 1), 1), v.folders)[1],
        SizeMismatchError,
        "too large: {1}/volume.json",
    ),
    "a table that is a link": (
        lambda v: (
            (v[2] / "volume.json").rename(v[2] / "x"),
            (v[2] / "volume.json").symlink_to("x"),
            v.folders,
        )[2],
        UnlistedContentError,
        "not a regular file: {2}/volume.json",
    ),
    "a table that is a pipe": (
        lambda v: ((v[2] / "volume.json").unlink(), os.mkfifo(v[2] / "volume.json"), v.folders)[2],
        UnlistedContentError,
        "not a regular file with one link: {2}/volume.json",
    ),
    "a table that is a folder": (
        lambda v: ((v[2] / "volume.json").unlink(), (v[2] / "volume.json").mkdir(), v.folders)[2],
        AirgapError,
        "{2}/volume.json",
    ),
    "two volumes with one number": (
        lambda v: (v.retable(lambda d: d.update(volume=1), 2), v.folders)[1],
        IncompleteError,
        "volume 1 was given twice: {2}, got {1}",
    ),
    "the volume belongs to another bundle": (
        lambda v: (v.retable(lambda d: d.update(statement_sha256="0" * 64), 3), v.folders)[1],
        IncompleteError,
        "the volume belongs to another bundle: {3}, want statement sha256:",
    ),
    "a volume of another cut": (
        lambda v: (v.retable(lambda d: d["blobs"].pop(), 3), v.folders)[1],
        AmbiguousError,
        "the volumes are from different cuts: {3}/volume.json, want that of {1}",
    ),
    "another number of volumes": (
        lambda v: (v.retable(lambda d: d.update(of=4), 2), v.folders)[1],
        AmbiguousError,
        "the volumes are from different cuts: {2}/volume.json",
    ),
    "one volume less than the tables say": (
        lambda v: (v.retable(lambda d: d.update(of=4)), v.folders)[1],
        IncompleteError,
        "a volume is missing: {1}, want volume 4 of 4, got volume 1, 2, 3",
    ),
    "999 volumes": (
        lambda v: (v.retable(lambda d: d.update(of=999)), v.folders)[1],
        IncompleteError,
        "volumes are missing: {1}, want volume 4, 5, 6",
    ),
    "one volume more than the tables say": (
        lambda v: (v.retable(lambda d: d.update(of=2)), v.folders)[1],
        FormatError,
        "no such volume",
    ),
}


@pytest.mark.parametrize(("act", "error", "words"), NOT_ONE.values(), ids=NOT_ONE)
def test_folders_that_are_no_set(volumes, tmp_path, act, error, words):
    paths = act(volumes)
    with pytest.raises(error) as caught:
        VolumeSet(paths)
    assert words.format(None, *volumes.folders) in str(caught.value)
    assert open_files(tmp_path) == []
