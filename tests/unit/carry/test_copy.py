"""A bundle written once more: what is copied, what is left alone, and what is refused."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.bundle.blob_files import Segment
from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.files import Folder
from airgap.bundle.folders import BundleFolders
from airgap.bundle.store import BlobStore, fill
from airgap.bundle.volume_table import Cut, Part, VolumeSize, VolumeTable
from airgap.bundle.volumes import VolumeSet, open_bundle
from airgap.carry import copy as copying
from airgap.carry.copy import copy_bundle, cut_folders, damaged_folders, joined_folders
from airgap.carry.operator import Operator
from airgap.carry.verify import check, verify, verify_content
from airgap.errors import (
    DigestMismatchError,
    EndpointError,
    IncompleteError,
    IntegrityError,
    MissingContentError,
    NoSpaceError,
    SizeMismatchError,
    UnavailableError,
    UsageError,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_LAYER_TAR, Descriptor
from airgap.progress import Silent
from tests.support.bundles import ONE, Gap, make_gap, small_images
from tests.support.cut import flip, stamps
from tests.support.images import noise, simple_image
from tests.support.streams import BrokenStream, Bytes

LAYER = small_images()[ONE].layers[0]
TITLE = "edge-0001"


@pytest.fixture
def operator(gap: Gap) -> Operator:
    return Operator(site=gap.site, now=gap.now, progress=Silent(), jobs=1)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def copy(gap: Gap, place, folders_of, operator: Operator):
    """Copy the bundle at `place` to the folders that is made for it."""
    with open_bundle(place, alone=True) as here:
        bundle = check(here, gap.receiver())
        return copy_bundle(bundle, folders_of(bundle), operator)


def join(gap: Gap, place, operator: Operator):
    return copy(
        gap, place, lambda bundle: joined_folders(bundle, place, gap.folder / "x", operator), operator
    )


# -- copy_bundle


def test_volumes_become_one_folder(gap, volumes, operator):
    copied = join(gap, volumes, operator)
    assert copied.wants == ()
    assert copied.proof is not None
    assert content(gap.folder / "x" / TITLE) == content(gap.bundle)
    again = join(gap, volumes, operator)
    assert (again.written, again.wants) == (0, ())


def test_every_blob_is_counted_once(gap, volumes, operator):
    with VolumeSet(volumes) as here:
        blobs = check(here, gap.receiver()).blobs
    assert join(gap, volumes, operator).written == len(blobs)


@pytest.mark.parametrize(
    ("steps", "wants"),
    [
        ([[1]], (2, 3)),
        ([[1], [2]], (3,)),
        ([[1, 2]], (3,)),
        ([[1, 3]], (2,)),
        ([[2]], (1, 3)),
        ([[3]], (1, 2)),
        ([[2, 3]], (1,)),
        ([[1], [3]], (2,)),
        ([[1], [2], [3]], ()),
        ([[1], [2, 3]], ()),
        ([[1, 2], [3]], ()),
    ],
)
def test_content_of_missing_volumes_is_left_out(gap, volumes, operator, steps, wants):
    for numbers in steps:
        copied = join(gap, [volumes[number - 1] for number in numbers], operator)
    assert copied.wants == wants
    assert (copied.proof is None) == bool(wants)
    made = gap.folder / "x" / TITLE
    assert (made / ENVELOPE_FILE).exists() == (not wants)
    if not wants:
        assert content(made) == content(gap.bundle)


def test_a_damaged_part_is_not_hidden_by_a_volume_that_is_missing(gap, volumes, operator):
    join(gap, volumes[:1], operator)
    path = volumes[1] / f"{LAYER.path}.001"
    flip(path)
    with pytest.raises(DigestMismatchError, match="wrong digest: ") as caught:
        join(gap, [volumes[1]], operator)
    assert caught.value.subject == str(path)
    flip(path)
    assert join(gap, volumes, operator).wants == ()


def test_a_part_that_is_missing_on_its_volume_is_damage(gap, volumes, operator):
    (volumes[1] / f"{LAYER.path}.001").unlink()
    with pytest.raises(MissingContentError):
        join(gap, volumes, operator)


def test_media_that_do_not_hold_it_leave_an_unfinished_copy(gap, operator, monkeypatch):
    def prove(*_):
        assert (gap.folder / "x" / TITLE / ENVELOPE_FILE).exists()
        raise IntegrityError("the medium does not hold what was written")

    monkeypatch.setattr("airgap.bundle.check_written.prove", prove)
    with pytest.raises(IntegrityError, match="does not hold"):
        join(gap, gap.bundle, operator)
    with Folder(gap.folder / "x" / TITLE) as folder, pytest.raises(IncompleteError):
        verify(folder, gap.receiver())


def test_a_copy_is_unfinished_while_it_changes(gap, volumes, operator, monkeypatch):
    """No half state looks complete: not even the mending of one file."""
    flip(volumes[1] / f"{LAYER.path}.001")
    seen = []
    real = copying._copy_blob

    def copy_blob(*arguments):
        seen.append([(volume / ENVELOPE_FILE).exists() for volume in volumes])
        real(*arguments)

    monkeypatch.setattr(copying, "_copy_blob", copy_blob)
    copy(gap, gap.bundle, lambda bundle: damaged_folders(volumes, bundle, gap.bundle), operator)
    assert seen == [[False, False, False]]
    assert all((volume / ENVELOPE_FILE).exists() for volume in volumes)


# -- where to


def test_a_cut_over_the_bundle_itself_is_refused(gap, volumes, operator):
    with VolumeSet(volumes) as here:
        bundle = check(here, gap.receiver())
        with pytest.raises(UsageError, match="written over the bundle itself"):
            cut_folders(bundle, volumes, [gap.folder / "cut"], None, operator)
    with Folder(gap.bundle) as folder:
        bundle = check(folder, gap.receiver())
        link = gap.folder / "link"
        link.symlink_to(gap.bundle.parent)
        for into in (gap.bundle.parent, link, gap.bundle.parent / ".." / gap.bundle.parent.name):
            with pytest.raises(UsageError, match="written over the bundle itself"):
                joined_folders(bundle, gap.bundle, into, operator)
        with pytest.raises(UsageError, match="written over the bundle itself"):
            damaged_folders([gap.bundle], bundle, gap.bundle)


def test_a_cut_into_what_is_too_small(gap, operator):
    with Folder(gap.bundle) as folder, pytest.raises(NoSpaceError, match="the bundle does not fit"):
        cut_folders(
            check(folder, gap.receiver()), gap.bundle, [gap.folder / "x"], VolumeSize(1 << 20), operator
        )


def test_small_bundles_are_not_cut(gap, operator):
    with Folder(gap.bundle) as folder:
        places = [gap.folder / "x", gap.folder / "y"]
        folders = cut_folders(
            check(folder, gap.receiver()), gap.bundle, places, VolumeSize(1 << 30), operator
        )
    assert folders == BundleFolders((gap.folder / "x" / TITLE,), None)


# -- which copy is mended


def folders_of(gap: Gap, paths: list[Path]) -> BundleFolders:
    with Folder(gap.bundle) as folder:
        return damaged_folders(paths, check(folder, gap.receiver()), gap.bundle)


def rewrite(volume: Path, change) -> None:
    """Another `volume.json`: it is not signed."""
    path = volume / "volume.json"
    path.write_bytes(change(VolumeTable.parse(path.read_bytes(), "x")).to_bytes())


def test_the_volumes_of_a_damaged_copy_in_any_order(gap, volumes):
    for paths in (volumes, volumes[::-1], [volumes[1], volumes[2], volumes[0]]):
        assert folders_of(gap, paths).paths == tuple(volumes)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("harm", ["gone", "emptied", "no table", "torn table", "other cut"])
def test_a_volume_without_its_table_is_known_by_its_name(gap, volumes, number, harm):
    volume = volumes[number - 1]
    if harm in ("gone", "emptied"):
        volume.rename(gap.folder / "away")
    if harm == "emptied":
        volume.mkdir()
    if harm == "no table":
        (volume / "volume.json").unlink()
    if harm == "torn table":
        (volume / "volume.json").write_bytes(b'{"version":1')
    if harm == "other cut":
        rewrite(volume, lambda table: replace(table, cut=Cut(3, {LAYER: (Part(1, 7),)})))
    folders = folders_of(gap, volumes)
    assert folders.paths == tuple(volumes)
    assert folders.cut is not None
    assert len(folders.cut.parts[LAYER]) == 3


REFUSED = {
    "one of three": lambda gap, volumes: volumes[:1],
    "two of three": lambda gap, volumes: volumes[1:],
    "one twice": lambda gap, volumes: [volumes[0], volumes[1], volumes[1]],
    "a strange folder for the third": lambda gap, volumes: [*volumes[:2], gap.folder / "source"],
    "a fourth": lambda gap, volumes: [*volumes, gap.folder / "x"],
    "no table at all": lambda gap, volumes: [v for v in volumes if not (v / "volume.json").unlink()],
    "tables of other layers": lambda gap, volumes: [
        v for v in volumes if not rewrite(v, lambda table: replace(table, cut=Cut(3, {LAYER: (Part(1, 7),)})))
    ],
    "tables of another bundle": lambda gap, volumes: [
        v for v in volumes if not rewrite(v, lambda table: replace(table, statement_sha256="0" * 64))
    ],
    "a volume's name alone": lambda gap, volumes: [gap.folder / f"{TITLE}.v2"],
}


@pytest.mark.parametrize("paths", REFUSED.values(), ids=REFUSED)
def test_what_is_not_all_of_one_copy(gap, volumes, paths):
    given = paths(gap, volumes)
    before = stamps(*volumes)
    with pytest.raises(UsageError, match="all volumes must be repaired together: edge-0001, want ") as caught:
        folders_of(gap, given)
    assert "airgap repack" in (caught.value.hint or "")
    assert stamps(*volumes) == before


def test_a_copy_in_a_folder_of_another_name(gap, tmp_path):
    """Its envelope tells what it is, or its statement; a folder that has neither may be anybody's."""
    other = tmp_path / "renamed"
    shutil.copytree(gap.bundle, other)
    (other / "statement.json").write_bytes(b"{}")
    assert folders_of(gap, [other]) == BundleFolders((other,))
    shutil.copy(gap.bundle / "statement.json", other)
    (other / "bundle.dsse.json").write_bytes(b"{}")
    assert folders_of(gap, [other]) == BundleFolders((other,))
    (other / "statement.json").unlink()
    with pytest.raises(UsageError, match=r"not recognisable as a copy: .*renamed, want edge-0001"):
        folders_of(gap, [other])
    assert folders_of(gap, [other.rename(tmp_path / TITLE)]) == BundleFolders((tmp_path / TITLE,))


ANOTHER = {
    "sealed": lambda path: None,
    "unsealed": lambda path: (path / "bundle.dsse.json").rename(path / "bundle.dsse.json.part"),
    "stated": lambda path: (path / "bundle.dsse.json").unlink(),
    "with a damaged statement": lambda path: (path / "statement.json").write_bytes(b"{}"),
    "with a damaged envelope": lambda path: (path / "bundle.dsse.json").write_bytes(b"{}"),
}


@pytest.mark.parametrize("state", ANOTHER.values(), ids=ANOTHER)
@pytest.mark.parametrize("way", ["joined", "mended"])
def test_another_bundle_of_that_name_is_not_written_over(gap, tmp_path, operator, state, way):
    other = make_gap(tmp_path / "theirs", images={"registry.test/x:9": simple_image("x")}, now=gap.now)
    assert other.bundle.name == TITLE
    state(other.bundle)
    before = content(other.bundle)
    place = other.bundle.parent
    folders = {
        "joined": lambda bundle: joined_folders(bundle, gap.bundle, place, operator),
        "mended": lambda bundle: damaged_folders([other.bundle], bundle, gap.bundle),
    }[way]
    error = {
        "joined": r"another bundle is in the way: .*, want edge-0001, statement sha256:",
        "mended": r"--from is not a copy of this bundle: .*, got edge-0001, statement sha256:",
    }[way]
    with pytest.raises(UsageError, match=error):
        copy(gap, gap.bundle, folders, operator)
    assert content(other.bundle) == before


def test_a_tar_cannot_be_repaired(gap, tmp_path):
    path = tmp_path / "edge-0001.tar"
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="a tar cannot be repaired"):
        folders_of(gap, [path])


def test_a_lost_volume_is_made_again(gap, volumes, operator):
    before = content(volumes[1])
    volumes[1].rename(gap.folder / "away")
    copied = copy(gap, gap.bundle, lambda bundle: damaged_folders(volumes, bundle, gap.bundle), operator)
    assert content(volumes[1]) == before
    assert copied.wants == ()
    with VolumeSet(volumes) as here:
        assert verify_content(verify(here, gap.receiver()), Silent(), 1) == []


# -- the mending of a layer in parts: only what is wrong is fetched, and no table is believed

CONTENT = noise(1000, 8)
BLOB = Descriptor(OCI_LAYER_TAR, Digest.of(CONTENT), len(CONTENT))
ENDS = (300, 650, 1000)


class Source:
    """Gives `raw` from any offset; remembers from where, and counts the bytes."""

    def __init__(self, raw: bytes = CONTENT) -> None:
        self.raw = raw
        self.offsets: list[int] = []
        self.given = 0

    def __call__(self, offset: int):
        self.offsets.append(offset)
        stream = Bytes(self.raw[offset:], 64)
        real = stream.readinto

        def readinto(buffer, /):
            got = real(buffer)
            self.given += got
            return got

        stream.readinto = readinto  # type: ignore[method-assign]
        return stream


def in_parts(folder: Path, ends=ENDS, sums=None) -> tuple[BlobStore, list[Segment]]:
    """A store in which the blob is whole, in parts that end there; `sums` are what a table says of them."""
    segments = []
    for number, (start, end) in enumerate(zip((0, *ends), ends, strict=False)):
        path = folder / f"v{number}" / f"{BLOB.digest.path}.{number:03d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT[start:end])
        said = Digest.of(CONTENT[start:end]).hex if sums is None else sums[number]
        segments.append(Segment(path, end - start, said))
    others = [folder / f"v{number}" for number in range(1, len(ends))]
    return BlobStore(folder / "v0", others, {BLOB.digest: tuple(segments)}), segments


def harm(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def joined(segments) -> bytes:
    return b"".join(segment.path.read_bytes() for segment in segments)


@pytest.mark.parametrize("wrong", [{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}])
def test_only_wrong_parts_are_asked_for(tmp_path, wrong):
    store, segments = in_parts(tmp_path)
    for number in wrong:
        harm(segments[number].path)
    inodes = [segment.path.stat().st_ino for segment in segments]
    source = Source()
    store.fetch(BLOB, source)
    starts = (0, *ENDS)
    assert source.offsets == [starts[number] for number in sorted(wrong)]
    assert source.given == sum(segments[number].size for number in wrong)
    assert joined(segments) == CONTENT
    assert {n for n in range(3) if segments[n].path.stat().st_ino == inodes[n]} >= {0, 1, 2} - wrong
    assert store.sums[BLOB.digest] == (BLOB.digest.hex, 1000)
    assert store.part_sums == {segment.path: segment.sha256 for segment in segments}
    assert store.written == 1
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("sums", [[None, None, None], ["0" * 64] * 3])
def test_without_sums_that_hold_the_whole_is_fetched(tmp_path, sums):
    store, segments = in_parts(tmp_path, sums=sums)
    harm(segments[1].path)
    source = Source()
    store.fetch(BLOB, source)
    assert joined(segments) == CONTENT
    assert source.given >= 350


def test_progress_counts_the_whole_layer_once(tmp_path):
    store, segments = in_parts(tmp_path)
    harm(segments[2].path)
    done = []
    store.fetch(BLOB, Source(), advance=done.append)
    assert sum(done) == 1000


def test_a_source_that_cannot_begin_in_the_middle(tmp_path):
    store, segments = in_parts(tmp_path)
    harm(segments[1].path)
    source = Source()

    def open_at(offset):
        if offset:
            raise EndpointError("no ranges here")
        return source(offset)

    store.fetch(BLOB, open_at)
    assert joined(segments) == CONTENT
    assert not list(tmp_path.rglob("*.part"))


def test_a_source_that_is_away_takes_nothing_along(tmp_path):
    store, segments = in_parts(tmp_path)
    harm(segments[1].path)
    good = [segments[n].path.read_bytes() for n in (0, 2)]
    with pytest.raises(UnavailableError):
        store.fetch(BLOB, lambda at: BrokenStream(CONTENT[at : at + 100], UnavailableError("gone")))
    assert [segments[n].path.read_bytes() for n in (0, 2)] == good
    source = Source()
    store.fetch(BLOB, source)
    assert source.given == 350
    assert joined(segments) == CONTENT


@pytest.mark.parametrize("raw", [CONTENT[:500] + b"!" + CONTENT[501:], CONTENT[:600], CONTENT + b"!"])
def test_a_source_that_is_wrong_takes_nothing_along(tmp_path, raw):
    store, segments = in_parts(tmp_path)
    harm(segments[1].path)
    good = [segments[n].path.read_bytes() for n in (0, 2)]
    if raw[300:650] == CONTENT[300:650]:  # then what it has to give is right
        store.fetch(BLOB, Source(raw))
        assert joined(segments) == CONTENT
        return
    with pytest.raises((DigestMismatchError, SizeMismatchError)):
        store.fetch(BLOB, Source(raw))
    assert [segments[n].path.read_bytes() for n in (0, 2)] == good
    assert BLOB.digest not in store.sums
    assert not list(tmp_path.rglob("*.part"))


def test_a_medium_that_fails_is_everybodys(tmp_path, monkeypatch):
    store, segments = in_parts(tmp_path)
    harm(segments[1].path)

    def full(_fd, _data):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("airgap.bundle.blob_files.write_all", full)
    with pytest.raises(NoSpaceError):
        fill(
            store,
            [BLOB],
            lambda blob, advance: store.fetch(blob, Source(), advance=advance),
            title="mending",
            jobs=1,
            phase=Silent().phase,
            before_change=lambda: None,
        )


STATES = st.sampled_from(["right", "flipped", "short", "long", "gone", "half written"])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_was_left_it_comes_out_right(tmp_path_factory, data):
    """Any parts in any state, under tables that tell the truth, lie, or are silent."""
    cuts = sorted(data.draw(st.sets(st.integers(1, 999), min_size=1, max_size=4)))
    ends = (*cuts, 1000)
    sizes = [end - start for start, end in zip((0, *ends), ends, strict=False)]
    truth = [Digest.of(CONTENT[end - size : end]).hex for size, end in zip(sizes, ends, strict=True)]
    sums = [data.draw(st.sampled_from([true, true, true, "1" * 64, None])) for true in truth]
    store, segments = in_parts(tmp_path_factory.mktemp("parts"), ends, sums)
    states = [data.draw(STATES) for _ in segments]
    for segment, state in zip(segments, states, strict=True):
        raw = segment.path.read_bytes()
        if state == "flipped":
            harm(segment.path)
        elif state == "short":
            segment.path.write_bytes(raw[:-1])
        elif state == "long":
            segment.path.write_bytes(raw + b"x")
        elif state in ("gone", "half written"):
            segment.path.unlink()
        if state == "half written":
            segment.part.write_bytes(raw[: len(raw) // 2])
    source = Source()
    if not store.check(BLOB.digest, BLOB.size):
        store.fetch(BLOB, source)
    assert joined(segments) == CONTENT
    assert store.sums[BLOB.digest] == (BLOB.digest.hex, 1000)
    right = [state == "right" for state in states]
    if sums == truth and any(right):
        assert source.given == sum(size for size, good in zip(sizes, right, strict=True) if not good)
