"""A quick slice of the faults: `python -m tests.faults` does all of them (tests/faults/RESULTS.md)."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import ptrace
from tests.faults.campaign import MUTATING, WRITING, Campaign
from tests.faults.ptrace import Fault
from tests.faults.sticks import WRITERS, Sticks
from tests.faults.stories import STORIES
from tests.faults.world import World, fast_folder, seeded, warm_up
from tests.support.liar import require_liar
from tests.support.parts import require, require_root

pytestmark = pytest.mark.e2e

FAULTS = 2
"""Of each story in each class of calls that writes."""
KILLS = 3
ERRORS = ("ENOSPC", "EIO", "EROFS", "short")


@pytest.fixture(scope="session", autouse=True)
def loaded() -> None:
    require(ptrace.supported(), "faults are injected into x86-64 Linux only")
    warm_up()


@pytest.fixture
def work() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def sticks() -> Iterator[Sticks]:
    require_liar()
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        yield Sticks(WRITERS[0], Path(folder))


@pytest.mark.parametrize("name", STORIES)
def test_no_fault_leaves_what_looks_complete_and_is_not(name: str, work: Path) -> None:
    world = World(work)
    if STORIES[name].far:
        require_root()
    campaign = Campaign(STORIES[name], world)
    random = seeded("slice", name)
    for kind in WRITING:
        calls = campaign.count((kind,))
        for nth in sorted(random.sample(range(1, calls + 1), min(FAULTS, calls))):
            what = random.choice(ERRORS if kind == "write" else ERRORS[:3])
            campaign.one(Fault((kind,), what, nth))
    calls = campaign.count(MUTATING)
    for nth in sorted(random.sample(range(1, calls + 1), KILLS)):
        campaign.one(Fault(MUTATING, random.choice(("kill", "kill after")), nth))
    world.close()
    assert campaign.figures.escapes == []
    assert sum(campaign.figures.runs.values()) > 10


def test_a_host_whose_disk_fails(work: Path) -> None:
    require_root()
    world = World(work)
    campaign = Campaign(STORIES["send"], world, far=True)
    random = seeded("slice", "far")
    for kind in ("write", "fsync", "rename", "close"):
        campaign.one(Fault((kind,), random.choice(ERRORS[:3]), random.randint(1, campaign.count((kind,)))))
    campaign.one(Fault(MUTATING, "kill", random.randint(1, campaign.count(MUTATING))))
    world.close()
    assert campaign.figures.escapes == []
    assert sum(campaign.figures.runs.values()) == 5


@pytest.mark.parametrize(
    "lie",
    [
        "wraps at 50 %",
        "drops writes after 90 %",
        "flips a bit in each 512 KiB",
        "is gone after 50 % written",
        "lists other names",
        "takes half of each write",
    ],
)
def test_a_stick_that_lies(lie: str, sticks: Sticks) -> None:
    before = len(sticks.figures.escapes)
    sticks.one(lie)
    assert sticks.figures.escapes[before:] == []


def test_a_fault_that_escapes_is_found(work: Path) -> None:
    """The judge itself: a write that says it is done, and is not, is not believed."""
    campaign = Campaign(STORIES["resume"], World(work))
    writes = [number for number, call in enumerate(campaign.calls(("write",)), 1) if "/blobs/" in call]
    campaign.one(Fault(("write",), "lost", writes[0]))
    assert any("looks complete and fails verify" in escape for escape in campaign.figures.escapes)
