"""A quick slice of the faults of a story; every run of it is a fork of the process that calls these functions."""

import random
from pathlib import Path

from tests.faults.campaign import MUTATING, WRITING, Campaign, Figures
from tests.faults.power import power_cuts
from tests.faults.ptrace import Fault
from tests.faults.stories import STORIES
from tests.faults.world import World, seeded

FAULTS = 1
"""Of each story in each class of calls that writes."""
KILLS = 3
MOMENTS = 90
"""The power is cut after one call of so many, and after the last."""
ERRORS = ("ENOSPC", "EIO", "EROFS", "short")


def some_faults(name: str, work: Path) -> Figures:
    """Inject a few errors and kills into the story of this name, in a world below `work`."""
    world = World(work)
    campaign = Campaign(STORIES[name], world)
    numbers = seeded("slice", name)
    calls = campaign.counts(*WRITING, *MUTATING)
    for kind in WRITING:
        for nth in sorted(numbers.sample(range(1, calls[kind] + 1), min(FAULTS, calls[kind]))):
            campaign.one(Fault((kind,), _error(kind, numbers), nth))
    for nth in sorted(numbers.sample(range(1, sum(calls[kind] for kind in MUTATING) + 1), KILLS)):
        campaign.one(Fault(MUTATING, numbers.choice(("kill", "kill after")), nth))
    world.close()
    return campaign.figures


def _error(kind: str, numbers: random.Random) -> str:
    return numbers.choice(ERRORS if kind == "write" else ERRORS[:3])


def some_power_cuts(name: str, work: Path) -> Figures:
    """Cut the power at some moments of the story of this name, in a world below `work`."""
    campaign = Campaign(STORIES[name], World(work))
    power_cuts(campaign, MOMENTS)
    return campaign.figures
