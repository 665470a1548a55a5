"""Frozen data classes behave as those of `dataclasses`, with the first values and with many."""

import copy
import dataclasses
import pickle
from dataclasses import field

import pytest

from airgap import values

STANDARD, OURS = dataclasses.dataclass, values.dataclass
BOTH = pytest.mark.parametrize("decorator", [STANDARD, OURS])
MANY = range(120)


def make(decorator, **settings):
    @decorator(frozen=True, slots=True, **settings)
    class Point:
        """A point."""

        x: int
        y: int = 2
        tags: dict[str, str] = field(default_factory=dict, hash=False)
        note: str = field(default="", compare=False, repr=False)

    return Point


@OURS(frozen=True, slots=True)
class Picklable:
    name: str
    sizes: tuple[int, ...] = ()


@BOTH
def test_defaults_are_made_for_each_value(decorator) -> None:
    point = make(decorator)
    made = [point(number) for number in MANY]
    assert [(p.x, p.y, p.tags, p.note) for p in made] == [(number, 2, {}, "") for number in MANY]
    assert made[0].tags is not made[1].tags
    assert made[-1].tags is not made[-2].tags


@BOTH
def test_values_are_compared_by_their_fields(decorator) -> None:
    point = make(decorator)
    assert point(1, note="a") == point(1, 2, note="b")
    assert point(1) != point(2)
    assert point(1) != make(decorator)(1)
    assert hash(point(1, tags={"a": "b"})) == hash(point(1))
    assert repr(point(1)).endswith("Point(x=1, y=2, tags={})")


@BOTH
def test_a_value_cannot_be_changed(decorator) -> None:
    for number in MANY:
        value = make(decorator)(number)
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.x = 5
        with pytest.raises(dataclasses.FrozenInstanceError):
            del value.x
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError, AttributeError)):
            value.z = 5
        assert value.x == number


@BOTH
@pytest.mark.parametrize(
    ("args", "named"),
    [((), {}), ((1, 2, {}, "", 5), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((), {"y": 1})],
)
def test_arguments_that_do_not_fit(decorator, args, named) -> None:
    point = make(decorator)
    for _ in range(2):
        with pytest.raises(TypeError, match=r"__init__\(\)"):
            point(*args, **named)
    assert point(7).x == 7


@BOTH
def test_names_may_be_required(decorator) -> None:
    point = make(decorator, kw_only=True)
    with pytest.raises(TypeError):
        point(1)
    assert [point(x=number, y=3).x for number in MANY] == list(MANY)


@BOTH
def test_a_value_is_replaced_and_taken_apart(decorator) -> None:
    point = make(decorator)
    assert dataclasses.replace(point(1), y=5) == point(1, 5)
    assert dataclasses.asdict(point(1)) == {"x": 1, "y": 2, "tags": {}, "note": ""}
    match point(1, 8):
        case object(x=1, y=y):
            assert y == 8


@BOTH
def test_a_class_may_check_its_values_and_have_heirs(decorator) -> None:
    @decorator(frozen=True, slots=True)
    class Even:  # noqa: PLW1641 - the decorator makes it
        number: int

        def __post_init__(self) -> None:
            if self.number % 2:
                raise ValueError("odd")

        def __eq__(self, other: object) -> bool:
            return True

    @decorator(frozen=True, slots=True)
    class Named(Even):
        name: str = "x"

    for number in MANY:
        with pytest.raises(ValueError, match="odd"):
            Named(2 * number + 1)
        assert Named(2 * number, "y").name == "y"
    assert Even(2) == Even(4)
    assert Named(2) != Named(4)
    assert hash(Even(2)) == hash(Even(2))


def test_values_are_copied() -> None:
    value = Picklable("a", (1, 2))
    assert copy.copy(value) == copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value


def test_other_classes_are_those_of_dataclasses() -> None:
    @values.dataclass(slots=True)
    class Counter:
        count: int = 0

    @values.dataclass(frozen=True, slots=True, order=True)
    class Version:
        number: int

    counter = Counter()
    counter.count += 1
    assert counter == Counter(1)
    assert Version(1) < Version(2)
