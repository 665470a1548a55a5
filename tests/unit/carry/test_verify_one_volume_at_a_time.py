"""Volumes that pass by one after the other: what is proved, what is asked for, what is found."""

import contextlib
import itertools
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airgap.bundle.files import BUNDLE_FOLDERS, read_small
from airgap.bundle.volume_table import Cut, VolumeTable
from airgap.bundle.volumes import VolumeSet
from airgap.carry.operator import Operator
from airgap.carry.verify_one_volume_at_a_time import VolumePass, verify_in_turn
from airgap.errors import DigestMismatchError, IncompleteError, MediaError, SizeMismatchError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.progress import Silent
from tests.support.bundles import Gap
from tests.support.cut import cut_in_thirds
from tests.support.damage import flip

SUBSETS = [set(some) for count in (1, 2, 3) for some in itertools.combinations((1, 2, 3), count)]


def begin(volumes: list[Path]) -> VolumePass:
    """Before the first volume."""
    with VolumeSet(volumes) as here:
        documents = [file.name for file in here.files(BUNDLE_FOLDERS) if file.name.startswith("blobs/")]
        digests = [Digest(*name.split("/")[1:]) for name in documents]
        sizes = {file.name: file.size for file in here.files(BUNDLE_FOLDERS)}
    return VolumePass(blobs={digest: Descriptor("", digest, sizes[digest.path]) for digest in digests})


def pass_by(passing: VolumePass, volumes: list[Path], numbers, jobs: int = 1):
    """Have these volumes read; what was wrong, and what is wanted then."""
    with VolumeSet([volumes[number - 1] for number in sorted(numbers)], alone=True) as here:
        return passing.read(here, jobs, lambda _: None), passing.wants(here)


@pytest.mark.parametrize(
    ("steps", "wants"),
    [
        ([{1}], [2, 3]),
        ([{1}, {2}], [3]),
        ([{1}, {2}, {3}], []),
        ([{1, 2, 3}], []),
        ([{2}], [1, 2, 3]),
        ([{2}, {1}], [2, 3]),
        ([{3}, {1}, {2}], [3]),
        ([{1, 3}], [2, 3]),
        ([{1, 3}, {2}], [3]),
        ([{1, 3}, {2, 3}], []),
        ([{1}, {1}, {1}], [2, 3]),
    ],
)
def test_what_is_wanted_next(thirds, steps, wants):
    passing = begin(thirds)
    for numbers in steps:
        wrong, wanted = pass_by(passing, thirds, numbers)
        assert wrong == []
    assert wanted == wants


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.lists(st.sampled_from(SUBSETS), max_size=5), jobs=st.integers(1, 3))
def test_following_what_is_asked_ends(thirds, first, jobs):
    """Whatever was put in before: as many questions as volumes, then all is proved."""
    passing = begin(thirds)
    wanted = [1, 2, 3]
    for numbers in first:
        _, wanted = pass_by(passing, thirds, numbers, jobs)
    for _ in range(3):
        if not wanted:
            break
        wrong, wanted = pass_by(passing, thirds, {wanted[0]}, jobs)
        assert wrong == []
    assert wanted == []
    with VolumeSet(thirds) as here:
        assert passing.good > here.table.cut.parts.keys()
    assert passing.good == passing.blobs.keys()


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("steps", [[{1}, {2}, {3}], [{1, 2, 3}], [{3}, {2}, {1}]])
def test_damage_is_found_on_its_volume(volumes, number, steps):
    path = next(path for path in sorted((volumes[number - 1] / "blobs/sha256").iterdir()) if path.suffix)
    flip(path, 1)
    passing, found = begin(volumes), []
    for numbers in steps:
        wrong, wanted = pass_by(passing, volumes, numbers)
        found += wrong
    [error] = found
    assert isinstance(error, DigestMismatchError)
    assert error.subject == str(path)
    assert wanted


def test_a_volume_that_was_not_read_is_wanted_though_no_layer_is(volumes):
    """What is on every volume has to be looked at on every one."""
    passing = begin(volumes)
    with VolumeSet(volumes) as here:
        passing.good = set(here.table.cut.parts)
    assert pass_by(passing, volumes, {2})[1] == [1, 3]


def test_a_part_that_was_exchanged_between_two_visits(volumes):
    """Nothing of the first visit is believed but its hash."""
    passing = begin(volumes)
    pass_by(passing, volumes, {1})
    with VolumeSet([volumes[1]], alone=True) as here:
        [digest, *_] = here.table.cut.parts
        passing.begun[digest] = (digest.hasher(), passing.begun[digest][1])  # as if other bytes had come
    pass_by(passing, volumes, {2})
    wrong, _ = pass_by(passing, volumes, {3})
    assert [error.want for error in wrong] == [digest]


class Failing:
    """A medium that fails at the first byte of a part."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
        real = os.readv

        def readv(fd, buffers):
            if str(Path(f"/proc/self/fd/{fd}").readlink()).endswith(suffix):
                raise OSError(5, "Input/output error")
            return real(fd, buffers)

        monkeypatch.setattr(os, "readv", readv)


def verify(gap: Gap, place, *answers: Path):
    left = list(answers)
    operator = Operator(
        site=gap.site, now=gap.now, progress=Silent(), jobs=1, ask=lambda _: left.pop(0) if left else None
    )
    return verify_in_turn(place, operator)


def test_all_ten_steps(gap, volumes):
    bundle = verify(gap, volumes[2], *volumes)
    assert bundle.statement == gap.statement


def test_a_medium_that_fails_is_not_reported_as_damage(gap, volumes, monkeypatch):
    Failing(monkeypatch, ".001")
    with pytest.raises(MediaError, match="Input/output error"):
        verify(gap, volumes[0], volumes[1])


def test_errors_are_reported_before_the_next_volume_is_requested(gap, volumes):
    path = next(path for path in sorted((volumes[0] / "blobs/sha256").iterdir()) if path.suffix)
    os.truncate(path, 3)
    with pytest.raises(SizeMismatchError):
        verify(gap, volumes[0])


def test_a_bundle_that_is_not_cut(gap):
    with pytest.raises(IncompleteError, match="not a volume: "):
        verify(gap, gap.bundle)


def test_a_volume_is_checked_before_its_parts_are_read(gap, volumes):
    """Each of the volumes brings its own envelope: none is believed for another's sake."""
    (volumes[1] / "bundle.dsse.json").unlink()
    with pytest.raises(IncompleteError, match="not a finished bundle"):
        verify(gap, volumes[0], *volumes[1:])


def without_a_cut(volumes: list[Path]) -> None:
    """Have the tables, which nobody signed, say that every layer is on every volume."""
    with VolumeSet(volumes) as here:
        whole = {}
        for digest in here.table.cut.parts:
            with contextlib.closing(here.open(digest.path)) as stream:
                whole[digest] = read_small(stream, digest, 1 << 20)
        tables = [here.table.on(number) for number in (1, 2, 3)]
    for volume, table in zip(volumes, tables, strict=True):
        for path in (volume / "blobs/sha256").iterdir():
            if path.suffix:
                path.unlink()
        for digest, raw in whole.items():
            (volume / digest.path).write_bytes(raw)
        bare = VolumeTable(table.statement_sha256, table.volume, Cut(3, {}))
        (volume / "volume.json").write_bytes(bare.to_bytes())


def test_what_no_table_lists_is_proved_all_the_same(gap, volumes):
    without_a_cut(volumes)
    verify(gap, volumes[0], *volumes[1:])
    [layer, *_] = sorted((volumes[2] / "blobs/sha256").iterdir(), key=lambda path: -path.stat().st_size)
    flip(layer, 1)
    with pytest.raises(DigestMismatchError, match=re.escape(str(layer))):
        verify(gap, volumes[0], *volumes[1:])


class Swapping(Operator):
    """A medium that is another one when it is opened again."""

    def next_volume(self, *args):
        place = super().next_volume(*args)
        place.rename(place.with_name("ours"))
        (place.parent.parent / "other" / place.name).rename(place)
        return place


def test_a_volume_that_becomes_another_bundles_is_refused(gap, volumes, tmp_path):
    """All that it holds is signed, and of the same cut: but what was read before is not of that bundle."""
    other = gap.copy(tmp_path / "copy")
    other.restate(transfer={"ticket": "another"})
    for path, strange in zip(volumes, cut_in_thirds(other, tmp_path / "theirs"), strict=True):
        target = gap.folder / "other" / path.name
        target.parent.mkdir(exist_ok=True)
        strange.rename(target)
    left = list(volumes[1:])
    operator = Swapping(
        site=gap.site, now=gap.now, progress=Silent(), jobs=1, ask=lambda _: left.pop(0) if left else None
    )
    with pytest.raises(IncompleteError, match="the volume belongs to another bundle"):
        verify_in_turn(volumes[0], operator)
