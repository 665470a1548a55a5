import contextlib
import gc
import json
import os
from pathlib import Path

import pytest

from airgap.bundle import volumes as module
from airgap.bundle.contents import BUNDLE_FOLDERS
from airgap.bundle.files import Folder
from airgap.bundle.tar_reader import TarFolder
from airgap.bundle.volumes import (
    VolumeSet,
    group_by_bundle,
    has_all_volumes,
    missing_volumes,
    open_bundle,
    paths_of,
    read_table,
)
from airgap.carry.verify import verify, verify_content
from airgap.errors import (
    AirgapError,
    AmbiguousError,
    DigestMismatchError,
    FormatError,
    IncompleteError,
    IntegrityError,
    MediaError,
    MissingContentError,
    SizeMismatchError,
    UnlistedContentError,
)
from airgap.progress import Silent
from tests.support.bundles import Gap, make_gap
from tests.support.volumes import Volumes, cut_over, in_turn, layers_in, noisy_images


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Gap:
    return make_gap(tmp_path_factory.mktemp("gap"), images=noisy_images())


@pytest.fixture(scope="module")
def cut(made, tmp_path_factory) -> Volumes:
    layers = layers_in(made.bundle)
    return cut_over(made.bundle, tmp_path_factory.mktemp("cut"), in_turn(layers, 3), of=3)


@pytest.fixture
def volumes(cut, tmp_path) -> Volumes:
    return cut.copy(tmp_path)


@pytest.fixture(scope="module")
def parted(made) -> str:
    """The blob that is in five parts, the last three of them on volume 3."""
    layers = layers_in(made.bundle)
    return max(layers, key=lambda name: (layers[name], name))


@pytest.fixture(scope="module")
def lone(cut, parted) -> str:
    """A blob that is on volume 2 in one file."""
    names = ("blobs/" + each["blob"].replace(":", "/") for each in cut.table()["blobs"])
    return next(name for name in names if name != parted and cut.on(name)[0][0] == 2)


def proved(gap: Gap, paths, *, alone: bool = False) -> list[IntegrityError]:
    """All ten steps; what is wrong with the content."""
    with VolumeSet(paths, alone=alone) as found:
        return verify_content(verify(found, gap.receiver()), Silent(), 2)


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
        _flip(path)
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
        _flip(path)
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


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


class TestMissing:
    @pytest.mark.parametrize(
        ("here", "want", "got", "words"),
        [
            ((1,), "volume 2, 3 of 3", "volume 1", "volumes are missing"),
            ((1, 3), "volume 2 of 3", "volume 1, 3", "a volume is missing"),
            ((3, 2), "volume 1 of 3", "volume 2, 3", "a volume is missing"),
        ],
    )
    def test_named(self, volumes, here, want, got, words):
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
        _flip(volumes.part(parted, 0))
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
    "a volume of another bundle": (
        lambda v: (v.retable(lambda d: d.update(statement_sha256="0" * 64), 3), v.folders)[1],
        IncompleteError,
        "a volume of another bundle: {3}, want statement sha256:",
    ),
    "a volume of another cut": (
        lambda v: (v.retable(lambda d: d["blobs"].pop(), 3), v.folders)[1],
        AmbiguousError,
        "the volumes have different cuts: {3}/volume.json, want that of {1}",
    ),
    "another number of volumes": (
        lambda v: (v.retable(lambda d: d.update(of=4), 2), v.folders)[1],
        AmbiguousError,
        "the volumes have different cuts: {2}/volume.json",
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
def test_folders_that_are_no_set(volumes, act, error, words):
    before = _open_files()
    paths = act(volumes)
    with pytest.raises(error) as caught:
        VolumeSet(paths)
    assert words.format(None, *volumes.folders) in str(caught.value)
    assert _open_files() == before


def _open_files() -> int:
    gc.collect()  # what other tests have left open
    return len(list(Path("/proc/self/fd").iterdir()))


def _entry(document, parted):
    return next(each for each in document["blobs"] if "blobs/" + each["blob"].replace(":", "/") == parted)


def _claim(parted, change):
    """Change the parts that every table tells of the blob that is in parts."""

    def harm(volumes):
        volumes.retable(lambda document: change(_entry(document, parted)["parts"]))

    return harm


def _join(parts):
    """One part of the size of all."""
    parts[0]["size"] = sum(part["size"] for part in parts)
    del parts[1:]


def _steal(parts, by):
    """A boundary elsewhere: one part longer, the next one shorter; the sum stays."""
    parts[0]["size"] += by
    parts[1]["size"] -= by


FILES = {
    "a part is missing": (lambda v, p, _: v.part(p, 2).unlink(), MissingContentError, "missing file: {3}/"),
    "a part is short": (lambda v, p, _: os.truncate(v.part(p, 1), 3), SizeMismatchError, "wrong size: {2}/"),
    "a part is long": (
        lambda v, p, _: v.part(p, 4).write_bytes(v.part(p, 4).read_bytes() + b"x"),
        SizeMismatchError,
        "wrong size: {3}/",
    ),
    "a part is empty": (lambda v, p, _: v.part(p, 0).write_bytes(b""), SizeMismatchError, "wrong size: {1}/"),
    "a part is a link": (
        lambda v, p, _: (v.part(p, 0).rename(v[1].parent / "x"), v.part(p, 0).symlink_to(v[1].parent / "x")),
        UnlistedContentError,
        "not a regular file with one link: {1}/",
    ),
    "a part has two links": (
        lambda v, p, _: (v[1].parent / "x").hardlink_to(v.part(p, 0)),
        UnlistedContentError,
        "not a regular file with one link: {1}/",
    ),
    "a part is a pipe": (
        lambda v, p, _: (v.part(p, 3).unlink(), os.mkfifo(v.part(p, 3))),
        UnlistedContentError,
        "not a regular file with one link: {3}/",
    ),
    "a part is a folder": (
        lambda v, p, _: (v.part(p, 1).unlink(), v.part(p, 1).mkdir()),
        UnlistedContentError,
        "folder that the statement does not list: {2}/",
    ),
    "a part on another volume too": (
        lambda v, p, _: v.put(f"{p}.000", v.part(p, 0).read_bytes(), 2),
        UnlistedContentError,
        "file of another volume: {2}/",
    ),
    "a part on another volume": (
        lambda v, p, _: v.part(p, 0).rename(v[2] / f"{p}.000"),
        MissingContentError,
        "missing file: {1}/",
    ),
    "a part too many": (
        lambda v, p, _: v.put(f"{p}.005", b"x", 3),
        UnlistedContentError,
        "file of another volume: {3}/",
    ),
    "a part too many everywhere": (
        lambda v, p, _: v.put(f"{p}.005", b"x"),
        UnlistedContentError,
        "file of another volume",
    ),
    "a part of a blob that is whole": (
        lambda v, _, w: v.put(f"{w}.000", b"x"),
        UnlistedContentError,
        "file of another volume: {1}/",
    ),
    "the whole beside its parts": (
        lambda v, p, _: v.put(p, b"what stock tools would read", 1),
        UnlistedContentError,
        "file of another volume: {1}/",
    ),
    "the whole beside its parts everywhere": (
        lambda v, p, _: v.put(p, b"what stock tools would read"),
        UnlistedContentError,
        "file of another volume: {1}/",
    ),
    "a whole blob on two volumes": (
        lambda v, _, w: v.put(w, (v[2] / w).read_bytes(), 3),
        UnlistedContentError,
        "file of another volume: {3}/",
    ),
    "a whole blob is missing": (
        lambda v, _, w: (v[2] / w).unlink(),
        MissingContentError,
        "missing file: {2}/",
    ),
    "a whole blob is short": (
        lambda v, _, w: os.truncate(v[2] / w, 1),
        SizeMismatchError,
        "wrong size: {2}/",
    ),
    "a part that is being written": (
        lambda v, p, _: v.put(f"{p}.000.part", b"x"),
        UnlistedContentError,
        "file that the statement does not list: {1}/",
    ),
    "a planned table beside the table": (
        lambda v, _p, _w: v.put("volume.json.part", b"x"),
        UnlistedContentError,
        "file that the statement does not list: {1}/volume.json.part",
    ),
    "case twins of the table": (
        lambda v, _p, _w: v.put("VOLUME.JSON", b"x"),
        UnlistedContentError,
        "file that the statement does not list: {1}/VOLUME.JSON",
    ),
    "a case twin on one volume": (
        lambda v, _p, _w: v.put("Index.json", b"x", 2),
        UnlistedContentError,
        "file that is not on every volume: {2}/Index.json",
    ),
    "a part in capitals": (
        lambda v, p, _: v.part(p, 0).rename(
            v[1] / (p.upper().replace("BLOBS/SHA256", "blobs/sha256") + ".000")
        ),
        MissingContentError,
        "missing file: {1}/",
    ),
    "a folder in capitals": (
        lambda v, _p, _w: (v[2] / "BLOBS").mkdir(),
        UnlistedContentError,
        "folder that the statement does not list: {2}/BLOBS",
    ),
    "an empty folder": (
        lambda v, _p, _w: (v[3] / "blobs" / "md5").mkdir(),
        UnlistedContentError,
        "folder that the statement does not list: {3}/blobs/md5",
    ),
    "a link for a folder": (
        lambda v, _p, _w: (
            (v[2] / "sig").rename(v[2].parent / "sig"),
            (v[2] / "sig").symlink_to(v[2].parent / "sig"),
        ),
        UnlistedContentError,
        "not a regular file with one link: {2}/sig",
    ),
    "a file on every volume": (
        lambda v, _p, _w: v.put("x", b"x"),
        UnlistedContentError,
        "does not list: {1}/x",
    ),
    "a file on the first": (
        lambda v, _p, _w: v.put("x", b"x", 1),
        MissingContentError,
        "missing file: {2}/x",
    ),
    "a file on the last": (
        lambda v, _p, _w: v.put("x", b"x", 3),
        UnlistedContentError,
        "file that is not on every volume: {3}/x",
    ),
    "a small file is missing on the first": (
        lambda v, _p, _w: (v[1] / "VERIFY.txt").unlink(),
        UnlistedContentError,
        "file that is not on every volume: {2}/VERIFY.txt",
    ),
    "a small file is missing on the second": (
        lambda v, _p, _w: (v[2] / "VERIFY.txt").unlink(),
        MissingContentError,
        "missing file: {2}/VERIFY.txt",
    ),
    "a small file is another on the last": (
        lambda v, _p, _w: _flip(v[3] / "manifest.json"),
        DigestMismatchError,
        "not the same on every volume: {3}/manifest.json, want {1}/manifest.json",
    ),
    "a small file is another on every volume": (
        lambda v, _p, _w: v.put("VERIFY.txt", b"trust me"),
        DigestMismatchError,
        "wrong digest: {1}/VERIFY.txt",
    ),
    "a repeated file that is too large": (
        lambda v, _p, _w: os.truncate(v[2] / "VERIFY.txt", (64 << 20) + 1),
        SizeMismatchError,
        "too large: {2}/VERIFY.txt",
    ),
    "another signature on one volume": (
        lambda v, _p, _w: _flip(next((v[2] / "sig").iterdir())),
        DigestMismatchError,
        "not the same on every volume: {2}/sig/",
    ),
    "another statement on one volume": (
        lambda v, _p, _w: _flip(v[2] / "statement.json"),
        DigestMismatchError,
        "not the same on every volume: {2}/statement.json",
    ),
    "no envelope on the first": (
        lambda v, _p, _w: (v[1] / "bundle.dsse.json").rename(v[1] / "bundle.dsse.json.part"),
        IncompleteError,
        "not a finished bundle (no bundle.dsse.json): {1}",
    ),
    "no envelope on the last": (
        lambda v, _p, _w: (v[3] / "bundle.dsse.json").rename(v[3] / "bundle.dsse.json.part"),
        IncompleteError,
        "unfinished volume: {3}, want bundle.dsse.json, got no such file",
    ),
    "tables of another bundle": (
        lambda v, _p, _w: v.retable(lambda d: d.update(statement_sha256="0" * 64)),
        IncompleteError,
        "a volume of another bundle: {1}/volume.json, want statement sha256:",
    ),
    "tables that leave a blob out": (
        lambda v, _p, w: v.retable(lambda d: d["blobs"].remove(_entry(d, w))),
        UnlistedContentError,
        "file that is not on every volume: {2}/",
    ),
    "tables that leave out a blob that is gone": (
        lambda v, _p, w: (v.retable(lambda d: d["blobs"].remove(_entry(d, w))), (v[2] / w).unlink()),
        MissingContentError,
        "missing file: {1}/",
    ),
    "tables that leave out a blob in parts": (
        lambda v, p, _: v.retable(lambda d: d["blobs"].remove(_entry(d, p))),
        UnlistedContentError,
        "file of another volume: {1}/",
    ),
    "tables with a blob that nobody listed": (
        lambda v, _p, w: (
            v.retable(
                lambda d: d["blobs"].insert(0, {"blob": f"sha256:{'0' * 64}", "parts": _entry(d, w)["parts"]})
            ),
            v.put(f"blobs/sha256/{'0' * 64}", (v[2] / w).read_bytes(), 2),
        ),
        UnlistedContentError,
        f"file that the statement does not list: {{2}}/blobs/sha256/{'0' * 64}",
    ),
    "a gap: the last part forgotten": (
        lambda v, p, _: (v.part(p, 4).unlink(), _claim(p, lambda parts: parts.pop())(v)),
        SizeMismatchError,
        "wrong size: ",
    ),
    "an overlap: a part twice": (
        lambda v, p, _: (
            v.put(f"{p}.005", v.part(p, 4).read_bytes(), 3),
            _claim(p, lambda parts: parts.append(dict(parts[-1])))(v),
        ),
        SizeMismatchError,
        "wrong size: ",
    ),
    "a boundary elsewhere": (
        lambda v, p, _: _claim(p, lambda parts: _steal(parts, 1))(v),
        SizeMismatchError,
        "wrong size: {1}/",
    ),
    "a size that is claimed": (
        lambda v, p, _: _claim(p, lambda parts: parts[2].update(size=2**53 - 1))(v),
        SizeMismatchError,
        "wrong size: {3}/",
    ),
    "parts in one file": (
        lambda v, p, _: (
            v.put(p, b"".join(v.part(p, n).read_bytes() for n in range(5)), 1),
            _claim(p, _join)(v),
        ),
        UnlistedContentError,
        "file of another volume: {1}/",
    ),
}


@pytest.mark.parametrize(("act", "error", "words"), FILES.values(), ids=FILES)
def test_harm_that_shows_before_the_content_is_read(made, volumes, parted, lone, act, error, words):
    act(volumes, parted, lone)
    with VolumeSet(volumes.folders) as found, pytest.raises(error) as caught:
        verify(found, made.receiver())
    assert words.format(None, *volumes.folders) in str(caught.value)


CONTENT = {
    "a harmed part": lambda v, p, _: _flip(v.part(p, 3)),
    "a harmed whole blob": lambda v, _, w: _flip(v[2] / w),
    "a harmed part whose sum was made anew": lambda v, p, _: (
        _flip(v.part(p, 3)),
        _claim(p, lambda parts: parts[3].update(sha256=_sum(v.part(p, 3))))(v),
    ),
    "a wrong sum": lambda v, p, _: _claim(p, lambda parts: parts[0].update(sha256="0" * 64))(v),
    "two parts in each other's place": lambda v, p, _: (
        _swap(v.part(p, 2), v.part(p, 3)),
        _claim(p, lambda parts: parts.__setitem__(slice(2, 4), [parts[3], parts[2]]))(v),
    ),
}


@pytest.mark.parametrize("harm", CONTENT.values(), ids=CONTENT)
def test_harm_that_shows_in_the_content(made, volumes, parted, lone, harm):
    harm(volumes, parted, lone)
    wrong = proved(made, volumes.folders)
    assert [type(error) for error in wrong] == [DigestMismatchError]


def _sum(path: Path) -> str:
    return module.Digest.of(path.read_bytes()).hex


def _swap(one: Path, other: Path) -> None:
    raw = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(raw)


def test_a_part_that_grows_after_it_was_measured(made, volumes, parted):
    with VolumeSet(volumes.folders) as found:
        bundle = verify(found, made.receiver())
        volumes.part(parted, 1).write_bytes(volumes.part(parted, 1).read_bytes() + b"x")
        wrong = verify_content(bundle, Silent(), 1)
    assert [type(error) for error in wrong] == [SizeMismatchError]


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
