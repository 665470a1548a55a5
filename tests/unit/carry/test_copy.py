"""Copies of a bundle: joined, cut, and repaired."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.files import Folder
from airgap.bundle.folders import BundleFolders
from airgap.bundle.volume_table import Cut, Part, VolumeSize, VolumeTable
from airgap.bundle.volumes import VolumeSet, open_bundle
from airgap.carry import copy as copying
from airgap.carry.copy import copy_bundle, cut_folders, damaged_folders, joined_folders
from airgap.carry.operator import Operator
from airgap.carry.verify import check, verify, verify_content
from airgap.errors import (
    DigestMismatchError,
    IncompleteError,
    IntegrityError,
    MissingContentError,
    NoSpaceError,
    UsageError,
)
from airgap.progress import Silent
from tests.support.bundles import ONE, Gap, make_gap, small_images
from tests.support.cut import stamps
from tests.support.damage import flip
from tests.support.images import simple_image

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
    with pytest.raises(UsageError, match=r"cannot recognise a copy of the bundle: .*renamed, want edge-0001"):
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
