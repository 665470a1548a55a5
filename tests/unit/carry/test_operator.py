"""The question for the next volume, and what counts as an answer."""

import shutil
from pathlib import Path

import pytest

from airgap.bundle.volumes import VolumeSet
from airgap.carry.operator import Operator, Wanted, never_ask
from airgap.errors import IncompleteError
from airgap.progress import Silent
from tests.support.bundles import Gap, make_gap, small_images
from tests.support.cut import cut_in_thirds

TITLE = "edge-0001"


class Person:
    """Answers in this order, then no more; remembers what was asked, and what was said."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[Wanted] = []
        self.notes: list[str] = []

    def __call__(self, wanted: Wanted):
        self.asked.append(wanted)
        return self.answers.pop(0) if self.answers else None


class Told(Silent):
    def __init__(self, person: Person) -> None:
        self.note = person.notes.append  # type: ignore[method-assign]


def ask(gap: Gap, person: Person, last: Path, *wanted: int):
    operator = Operator(site=gap.site, now=gap.now, progress=Told(person), ask=person)
    with VolumeSet([last], alone=True) as here:
        return operator.next_volume(last, here, TITLE, wanted, "do this")


def test_the_volume_is_asked_for_by_name(gap, volumes):
    person = Person(volumes[1])
    assert ask(gap, person, volumes[0], 2, 3) == volumes[1]
    assert person.asked == [Wanted(TITLE, 2, 3, volumes[0].parent)]
    assert person.notes == []


def test_another_volume_of_the_bundle_is_an_answer_too(gap, volumes):
    assert ask(gap, Person(volumes[2]), volumes[0], 2, 3) == volumes[2]
    assert ask(gap, Person([volumes[2], volumes[1]]), volumes[0], 2, 3) == [volumes[2], volumes[1]]


def test_an_answer_that_is_not_a_volume_is_noted_and_asked_again(gap, volumes, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    other = make_gap(tmp_path / "other", images=small_images(), now=gap.now)
    foreign = cut_in_thirds(other, tmp_path / "foreign")
    broken = tmp_path / "broken"
    shutil.copytree(volumes[1], broken)
    (broken / "volume.json").write_bytes(b"{")
    answers = {
        tmp_path / "nowhere": "no such folder: ",
        tmp_path / "empty": "not a volume of this bundle: ",
        tmp_path / "file": "",
        gap.bundle: "not a volume of this bundle: ",
        foreign[1]: "not a volume of this bundle: ",
        broken: f"{broken}/volume.json",
    }
    person = Person(*answers, volumes[1])
    assert ask(gap, person, volumes[0], 2, 3) == volumes[1]
    assert len(person.asked) == len(answers) + 1
    assert len(person.notes) == len(answers)
    for note, begins in zip(person.notes, answers.values(), strict=True):
        assert begins in note


@pytest.mark.parametrize(
    ("last", "wanted", "message"),
    [
        (0, (2, 3), "volumes are missing: edge-0001, want volume 2, 3 of 3, got volume 1"),
        (1, (3,), "a volume is missing: edge-0001, want volume 3 of 3, got volume 2"),
        (1, (1, 2, 3), "volumes are missing: edge-0001, want volume 1, 3 of 3, got volume 2"),
        (1, (2,), "a volume is missing: edge-0001, want volume 2 of 3, got volume 2"),
    ],
)
@pytest.mark.parametrize("person", [never_ask, Person(), Person(Path("nowhere"))])
def test_without_an_answer_the_missing_volumes_are_named(gap, volumes, last, wanted, message, person):
    operator = Operator(site=gap.site, now=gap.now, progress=Silent(), ask=person)
    with VolumeSet([volumes[last]], alone=True) as here, pytest.raises(IncompleteError) as caught:
        operator.next_volume(volumes[last], here, TITLE, wanted, "do this")
    assert str(caught.value) == message
    assert caught.value.hint == "do this"


def test_the_place_of_the_last_of_several(gap, volumes):
    person = Person()
    operator = Operator(site=gap.site, now=gap.now, progress=Silent(), ask=person)
    with VolumeSet(volumes[:2], alone=True) as here, pytest.raises(IncompleteError):
        operator.next_volume([volumes[1], gap.folder / "x" / "v1"], here, TITLE, [3], "")
    assert person.asked[0].near == gap.folder / "x"
