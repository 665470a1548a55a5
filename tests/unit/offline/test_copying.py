"""A bundle written once more: what is copied, what is left alone, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from airgap.bundle.cut import Cut, Part, VolumeSize, VolumeTable
from airgap.bundle.files import Folder
from airgap.bundle.seal import ENVELOPE_FILE
from airgap.bundle.shelf import Shelf
from airgap.bundle.volumes import VolumeSet, open_bundle
from airgap.errors import (
    DigestMismatchError,
    IncompleteError,
    IntegrityError,
    MissingContentError,
    NoSpaceError,
    UsageError,
)
from airgap.offline import copying
from airgap.offline.copying import copy_bundle, cut_shelf, damaged_shelf, joined_shelf
from airgap.offline.desk import Desk
from airgap.offline.verify import check, verify, verify_content
from airgap.progress import Silent
from tests.support.bundles import ONE, Gap, small_images
from tests.support.cut import cut_in_thirds, flip, stamps

LAYER = small_images()[ONE].layers[0]
TITLE = "edge-0001"


@pytest.fixture
def volumes(gap: Gap) -> list[Path]:
    return cut_in_thirds(gap, gap.folder / "cut")


@pytest.fixture
def desk(gap: Gap) -> Desk:
    return Desk(gap.site, gap.now, Silent(), 1)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def copy(gap: Gap, place, shelf_of, desk: Desk):
    """Copy the bundle at `place` to the shelf that is made for it."""
    with open_bundle(place, alone=True) as here:
        bundle = check(here, gap.receiver())
        return copy_bundle(bundle, shelf_of(bundle), desk)


def join(gap: Gap, place, desk: Desk):
    return copy(gap, place, lambda bundle: joined_shelf(bundle, place, gap.folder / "x", desk), desk)


# -- copy_bundle


def test_volumes_become_one_folder(gap, volumes, desk):
    copied = join(gap, volumes, desk)
    assert copied.wants == ()
    assert copied.proof is not None
    assert content(gap.folder / "x" / TITLE) == content(gap.bundle)
    again = join(gap, volumes, desk)
    assert (again.written, again.wants) == (0, ())


def test_every_blob_is_counted_once(gap, volumes, desk):
    with VolumeSet(volumes) as here:
        blobs = check(here, gap.receiver()).blobs
    assert join(gap, volumes, desk).written == len(blobs)


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
def test_what_is_not_here_is_left_out(gap, volumes, desk, steps, wants):
    for numbers in steps:
        copied = join(gap, [volumes[number - 1] for number in numbers], desk)
    assert copied.wants == wants
    assert (copied.proof is None) == bool(wants)
    made = gap.folder / "x" / TITLE
    assert (made / ENVELOPE_FILE).exists() == (not wants)
    if not wants:
        assert content(made) == content(gap.bundle)


def test_a_damaged_part_is_not_hidden_by_a_volume_that_is_missing(gap, volumes, desk):
    join(gap, volumes[:1], desk)
    path = volumes[1] / f"{LAYER.path}.001"
    flip(path)
    with pytest.raises(DigestMismatchError, match="wrong digest: ") as caught:
        join(gap, [volumes[1]], desk)
    assert caught.value.subject == str(path)
    flip(path)
    assert join(gap, volumes, desk).wants == ()


def test_a_part_that_is_missing_on_its_volume_is_damage(gap, volumes, desk):
    (volumes[1] / f"{LAYER.path}.001").unlink()
    with pytest.raises(MissingContentError):
        join(gap, volumes, desk)


def test_media_that_do_not_hold_it_leave_an_unfinished_copy(gap, desk, monkeypatch):
    def prove(*_):
        assert (gap.folder / "x" / TITLE / ENVELOPE_FILE).exists()
        raise IntegrityError("the medium does not hold what was written")

    monkeypatch.setattr(copying, "prove", prove)
    with pytest.raises(IntegrityError, match="does not hold"):
        join(gap, gap.bundle, desk)
    with Folder(gap.folder / "x" / TITLE) as folder, pytest.raises(IncompleteError):
        verify(folder, gap.receiver())


def test_a_copy_is_unfinished_while_it_changes(gap, volumes, desk, monkeypatch):
    """No half state looks complete: not even the mending of one file."""
    flip(volumes[1] / f"{LAYER.path}.001")
    seen = []
    real = copying._copy_blob

    def copy_blob(*arguments):
        seen.append([(volume / ENVELOPE_FILE).exists() for volume in volumes])
        real(*arguments)

    monkeypatch.setattr(copying, "_copy_blob", copy_blob)
    copy(gap, gap.bundle, lambda bundle: damaged_shelf(volumes, bundle, gap.bundle), desk)
    assert seen == [[False, False, False]]
    assert all((volume / ENVELOPE_FILE).exists() for volume in volumes)


# -- where to


def test_a_cut_goes_nowhere_near_the_bundle(gap, volumes, desk):
    with VolumeSet(volumes) as here:
        bundle = check(here, gap.receiver())
        with pytest.raises(UsageError, match="written over the bundle itself"):
            cut_shelf(bundle, volumes, [gap.folder / "cut"], None, desk)
    with Folder(gap.bundle) as folder:
        bundle = check(folder, gap.receiver())
        link = gap.folder / "link"
        link.symlink_to(gap.bundle.parent)
        for into in (gap.bundle.parent, link, gap.bundle.parent / ".." / gap.bundle.parent.name):
            with pytest.raises(UsageError, match="written over the bundle itself"):
                joined_shelf(bundle, gap.bundle, into, desk)
        with pytest.raises(UsageError, match="written over the bundle itself"):
            damaged_shelf([gap.bundle], bundle, gap.bundle)


def test_a_cut_into_what_is_too_small(gap, desk):
    with Folder(gap.bundle) as folder, pytest.raises(NoSpaceError, match="the bundle does not fit"):
        cut_shelf(check(folder, gap.receiver()), gap.bundle, [gap.folder / "x"], VolumeSize(1 << 20), desk)


def test_small_bundles_are_not_cut(gap, desk):
    with Folder(gap.bundle) as folder:
        places = [gap.folder / "x", gap.folder / "y"]
        shelf = cut_shelf(check(folder, gap.receiver()), gap.bundle, places, VolumeSize(1 << 30), desk)
    assert shelf == Shelf((gap.folder / "x" / TITLE,), None)


# -- which copy is mended


def shelf_of(gap: Gap, paths: list[Path]) -> Shelf:
    with Folder(gap.bundle) as folder:
        return damaged_shelf(paths, check(folder, gap.receiver()), gap.bundle)


def rewrite(volume: Path, change) -> None:
    """Another `volume.json`: it is not signed."""
    path = volume / "volume.json"
    path.write_bytes(change(VolumeTable.parse(path.read_bytes(), "x")).to_bytes())


def test_the_volumes_of_a_damaged_copy_in_any_order(gap, volumes):
    for paths in (volumes, volumes[::-1], [volumes[1], volumes[2], volumes[0]]):
        assert shelf_of(gap, paths).folders == tuple(volumes)


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
    shelf = shelf_of(gap, volumes)
    assert shelf.folders == tuple(volumes)
    assert shelf.cut is not None
    assert len(shelf.cut.parts[LAYER]) == 3


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
    with pytest.raises(UsageError, match="all volumes are mended together: edge-0001, want ") as caught:
        shelf_of(gap, given)
    assert "airgap repack" in (caught.value.hint or "")
    assert stamps(*volumes) == before


def test_a_copy_of_another_bundle(gap, tmp_path):
    other = tmp_path / "other-0003"
    other.mkdir()
    (other / "statement.json").write_bytes(b"{}")
    with pytest.raises(
        UsageError, match=f"a copy of another bundle: {other}, want edge-0001, statement sha256:"
    ):
        shelf_of(gap, [other])
    mine = tmp_path / TITLE  # a damaged statement of the same bundle
    mine.mkdir()
    (mine / "statement.json").write_bytes(b"{}")
    assert shelf_of(gap, [mine]) == Shelf((mine,))


def test_a_tar_is_no_copy_to_mend(gap, tmp_path):
    path = tmp_path / "edge-0001.tar"
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="a tar is not mended"):
        shelf_of(gap, [path])


def test_a_lost_volume_is_made_again(gap, volumes, desk):
    before = content(volumes[1])
    volumes[1].rename(gap.folder / "away")
    copied = copy(gap, gap.bundle, lambda bundle: damaged_shelf(volumes, bundle, gap.bundle), desk)
    assert content(volumes[1]) == before
    assert copied.wants == ()
    with VolumeSet(volumes) as here:
        assert verify_content(verify(here, gap.receiver()), Silent(), 1) == []
