"""A quick slice of the faults: `python -m tests.faults` does all of them (tests/faults/RESULTS.md)."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import ptrace
from tests.faults.campaign import MUTATING, WRITING, Campaign
from tests.faults.ptrace import Fault
from tests.faults.stories import STORIES
from tests.faults.world import World, fast_folder, seeded, warm_up
from tests.support.parts import require

pytestmark = pytest.mark.e2e

FAULTS = 5
"""Of each story in each class of calls that writes."""
KILLS = 4
ERRORS = ("ENOSPC", "EIO", "EROFS", "short")


@pytest.fixture(scope="session", autouse=True)
def loaded() -> None:
    require(ptrace.supported(), "faults are injected into x86-64 Linux only")
    warm_up()


@pytest.fixture
def work() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        yield Path(folder)


@pytest.mark.parametrize("name", STORIES)
def test_no_fault_leaves_what_looks_complete_and_is_not(name: str, work: Path) -> None:
    campaign = Campaign(STORIES[name], World(work))
    random = seeded("slice", name)
    for kind in WRITING:
        calls = campaign.count((kind,))
        for nth in sorted(random.sample(range(1, calls + 1), min(FAULTS, calls))):
            what = random.choice(ERRORS if kind == "write" else ERRORS[:3])
            campaign.one(Fault((kind,), what, nth))
    calls = campaign.count(MUTATING)
    for nth in sorted(random.sample(range(1, calls + 1), KILLS)):
        campaign.one(Fault(MUTATING, random.choice(("kill", "kill after")), nth))
    assert campaign.figures.escapes == []
    assert sum(campaign.figures.runs.values()) > 20


def test_a_fault_that_escapes_is_found(work: Path) -> None:
    """The judge itself: a write that says it is done, and is not, is not believed."""
    campaign = Campaign(STORIES["resume"], World(work))
    writes = [number for number, call in enumerate(campaign.calls(("write",)), 1) if "/blobs/" in call]
    campaign.one(Fault(("write",), "lost", writes[0]))
    assert any("looks complete and fails verify" in escape for escape in campaign.figures.escapes)
