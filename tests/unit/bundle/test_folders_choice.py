import contextlib
import resource
from pathlib import Path

import pytest

from airgap.bundle.folders import SpaceNeeded, choose_folders, choose_one_folder, count_volumes, layers_of
from airgap.bundle.graph import walk_image
from airgap.bundle.volume_table import VolumeSize
from airgap.bundle.writer import BundleWriter
from airgap.errors import MediaError, NoSpaceError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from tests.support.images import Layer, make_image, noise
from tests.support.streams import Bytes

TITLE = "edge-0001"
MB = 1_000_000
LAYERS = [noise(size, number) for number, size in enumerate((3 * MB, 2 * MB, 1_500_000))]
DOCUMENT = b'{"a":"document"}'
SIZES = {Digest.of(raw): len(raw) for raw in LAYERS}
BIG, MIDDLE, SMALL = SIZES
NEEDED = SpaceNeeded(TITLE, SIZES, SIZES | {Digest.of(DOCUMENT): len(DOCUMENT)}, 1)
ROOM = 5 * MB + NEEDED.overhead
"""For the largest layer and the smallest one, or for one that is cut."""


@contextlib.contextmanager
def files_up_to(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def media(tmp_path):
    return [tmp_path / "a", tmp_path / "b"]


def begun(folders, *raws):
    """An earlier run that got so far."""
    store = folders.store()
    BundleWriter(folders=folders, store=store).mark_unfinished()
    for raw in raws:
        store.fetch(Descriptor("", Digest.of(raw), len(raw)), lambda _, raw=raw: Bytes(raw))


def test_one_place_is_one_folder(media):
    folders = choose_folders(NEEDED, media[:1])
    assert (folders.paths, folders.cut) == ((media[0] / TITLE,), None)
    assert list(media[0].iterdir()) == []


def test_several_places_are_volumes_if_they_are_needed(media):
    folders = choose_folders(NEEDED, media, VolumeSize(ROOM))
    assert folders.paths == (media[0] / f"{TITLE}.v1", media[1] / f"{TITLE}.v2")
    assert {digest: parts[0].volume for digest, parts in folders.cut.parts.items()} == {
        BIG: 1, MIDDLE: 1, SMALL: 2,
    }  # fmt: skip
    assert choose_folders(NEEDED, media).paths == (media[0] / TITLE,)  # all of it fits on the first


def test_as_many_volumes_as_a_size_makes(media):
    folders = choose_folders(NEEDED, media[:1], VolumeSize(2 * MB + NEEDED.overhead))
    assert len(folders.paths) == count_volumes(NEEDED, media[:1], VolumeSize(2 * MB + NEEDED.overhead)) == 4
    for number in range(1, 5):
        on_it = sum(p.size for parts in folders.cut.parts.values() for p in parts if p.volume == number)
        assert on_it + NEEDED.overhead <= 2 * MB + NEEDED.overhead


def test_a_volume_that_cannot_hold_its_own_tables(media):
    with pytest.raises(NoSpaceError, match="the bundle does not fit"):
        choose_folders(NEEDED, media[:1], VolumeSize(NEEDED.overhead))
    assert list(media[0].iterdir()) == []


def test_a_place_is_asked_how_large_a_file_may_be(media):
    with files_up_to(2 * MB):
        folders = choose_folders(NEEDED, media[:1])
        with pytest.raises(
            NoSpaceError, match="larger than the largest file that the medium can hold"
        ) as caught:
            choose_one_folder(NEEDED, media[1])
    assert [part.size for part in folders.cut.parts[BIG]] == [2 * MB, MB]
    assert folders.paths == (media[0] / TITLE,)  # one volume, in parts all the same
    assert "at most 2,000,000" in str(caught.value)
    assert choose_one_folder(NEEDED, media[1]).paths == (media[1] / TITLE,)


def test_a_begun_cut_is_gone_on_with(media):
    first = choose_folders(NEEDED, media, VolumeSize(ROOM))
    begun(first, LAYERS[2])
    again = choose_folders(NEEDED, media, VolumeSize(ROOM))
    assert (again.paths, again.cut) == (first.paths, first.cut)
    assert again.store().check(SMALL, SIZES[SMALL])


@pytest.mark.parametrize("change", ["needed", "volume size", "file size"])
def test_a_begun_cut_that_is_not_right_any_more_is_made_anew(media, change):
    first = choose_folders(NEEDED, media, VolumeSize(ROOM))
    begun(first, LAYERS[2])
    needed, size = NEEDED, VolumeSize(ROOM)
    if change == "needed":
        needed = SpaceNeeded(TITLE, {BIG: SIZES[BIG], SMALL: SIZES[SMALL]}, NEEDED.blobs, 1)
    elif change == "volume size":
        size = VolumeSize(ROOM - MB)
    else:
        size = VolumeSize(ROOM, 2 * MB)
    again = choose_folders(needed, media, size)
    assert again.cut != first.cut
    assert again.cut.same_as(needed.layers)


def test_a_smaller_begun_cut_will_do(media):
    first = choose_folders(NEEDED, media, VolumeSize(ROOM))
    begun(first)
    assert choose_folders(NEEDED, media, VolumeSize(ROOM + MB)).cut == first.cut


def test_a_place_that_is_full_but_for_what_is_there(media):
    """What an earlier run has brought counts as there: only the rest needs room."""
    huge = 1 << 60
    with pytest.raises(NoSpaceError, match="the bundle does not fit"):
        choose_folders(SpaceNeeded(TITLE, {BIG: huge}, {BIG: huge}, 1), media[:1])
    assert not media[0].exists()
    blob = media[0] / TITLE / BIG.path
    blob.parent.mkdir(parents=True)
    with blob.open("wb") as file:
        file.truncate(1 << 43)
    there = {BIG: 1 << 43}
    assert choose_folders(SpaceNeeded(TITLE, there, there, 1), media[:1]).paths == (media[0] / TITLE,)


def test_a_folder_where_media_are_mounted_and_none_is():
    with pytest.raises(MediaError, match="no medium is mounted there"):
        choose_folders(NEEDED, [Path("/media/airgap-test")])


def test_what_is_read_first_is_no_layer_to_cut():
    plain = make_image([Layer.of({"a": b"a"}), Layer.of({"b": b"b"})])
    nested = make_image([Layer(plain.raw, "application/x.test", Digest.of(plain.raw))])
    graphs = [
        walk_image(
            image.descriptor, lambda d, i=image: i.contents[d.digest], lambda index: index.manifests, "x"
        )
        for image in (plain, nested)
    ]
    carried = {digest: len(raw) for image in (plain, nested) for digest, raw in image.contents.items()}
    assert set(layers_of(graphs, carried, lambda _: False)) == set(plain.layers)
    assert set(layers_of(graphs[1:], carried, lambda _: False)) == {Digest.of(plain.raw)}
    read = plain.layers[0]
    assert set(layers_of(graphs, carried, lambda layer: layer.digest == read)) == {plain.layers[1]}
    assert layers_of(graphs, {}, lambda _: False) == {}
