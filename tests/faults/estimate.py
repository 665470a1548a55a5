"""Estimate what the campaign costs: `python -m tests.faults.estimate [STORY...]`, from the repository's root.

Each story is run a few times with a fault. The estimate is in seconds of processor time, which hardly depends
on what else the machine does; sticks, the making of a site and the far side of a sending are not in it.
"""

import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults import plan
from tests.faults.campaign import AFTER, FURTHER, MUTATING, WRITING, Campaign
from tests.faults.power import CUTS
from tests.faults.ptrace import Fault
from tests.faults.stories import STORIES
from tests.faults.world import World, fast_folder, warm_up

_SAMPLE = (Fault(("fsync",), "EIO", 2), Fault(("open",), "EIO", 3), Fault(MUTATING, "kill", 4))
_FRESH = 0.6
"""Of the cuts of power, so many leave something that was not judged before."""


def seconds_used() -> float:
    """Return the processor time of this process and its children."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def runs_of(piece: plan.Piece, calls: Counter[str]) -> float:
    """Return how many runs a piece has, for a command that makes so many calls of each class."""
    writing = sum(calls[kind] for kind in WRITING)
    mutating = sum(calls[kind] for kind in MUTATING)
    match piece.what:
        case "errors":
            return calls[piece.classes[0]] / piece.step
        case "from there on":
            return writing / piece.step
        case "kills":
            return mutating * (1 + 1 / AFTER) / piece.step
        case "power cuts":
            return len(CUTS) * _FRESH * mutating / piece.step
        case _:
            return plan.TIMED_KILLS


def estimate(name: str, place: Path) -> tuple[float, float]:
    """Return the runs of a story, and their seconds of processor time."""
    world = World(place)
    try:
        begin = seconds_used()
        campaign = Campaign(STORIES[name], world)
        calls = campaign.counts(*dict.fromkeys((*WRITING, *FURTHER, *MUTATING)))
        ready = seconds_used()
        made = sum(campaign.one(fault) for fault in _SAMPLE)
        each = (seconds_used() - ready) / max(made, 1)
    finally:
        world.close()
    pieces = [piece for piece in plan.whole([name]) if not piece.far]
    runs = sum(runs_of(piece, calls) for piece in pieces)
    return runs, runs * each + len(pieces) * (ready - begin)


def main() -> int:
    warm_up()
    total = 0.0
    for name in sys.argv[1:] or STORIES:
        with tempfile.TemporaryDirectory(prefix="faults-", dir=fast_folder()) as folder:
            Path(folder).chmod(0o755)
            runs, seconds = estimate(name, Path(folder))
        total += seconds
        print(f"{name}: {runs:.0f} runs, {seconds:.0f} s", flush=True)
    print(f"{total:.0f} s: {total / 120:.0f} minutes on two idle processors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
