"""Cuts of power (tests/support/power.py): a story is run once on a disk that is recorded, and what each moment
would have left behind is judged, and gone on from.
"""

from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

from airgap.audit.chain import check_ledger
from airgap.audit.lines import read_ledger
from tests.faults.campaign import Campaign, Figures, differences, readable
from tests.faults.final_state import final_state
from tests.faults.judge_bundles import hashes_below
from tests.faults.ptrace import Outcome
from tests.faults.world import World, seeded
from tests.support.power import TOP, Change, Names, Recording, State, Survives, Tree
from tests.support.recorder import Recorder

POWER = "power"
"""The kind of these runs."""

CUTS = {
    "only what was synced": ("nothing", "nothing"),
    "all names, files not synced are empty": ("names", "names"),
    "all names, zeros in files not synced": ("zeros", "zeros"),
    "some names, some pages": ("some", "some"),
    "the stick pulled out": ("nothing", "everything"),
    "the stick pulled out, all names": ("names", "everything"),
    "the sites forget": ("everything", "nothing"),
}
"""What survives on sticks and at targets, and in the folders of both sites (`Survives`)."""

INIT = ("init", "--owner", "bob", "--site", "new", "--quiet")
_MADE = 2
"""The exit code for a site that is made already."""
_HOMES = ("hq", "plant", "new")
_LOCK = ".lock"
"""Files that hold nothing: it is no loss when they are gone."""


def record(world: World, side: Path, words: Iterable[object]) -> Recording:
    """A command without a fault, on a disk that is recorded: sites, sticks and targets are all on it."""
    world.again()
    recorder = Recorder(world.work / "recorder", world.folder)
    try:
        world.must(side, *words)
    finally:
        recording = recorder.stop()
    return recording


def power_cuts(campaign: Campaign, step: int = 1, cuts: Iterable[str] = CUTS) -> None:
    """Cut the power in each way after one of `step` calls, each way after others, and after the last one."""
    recording = record(campaign.world, campaign.side, campaign.story.words)
    for number, cut in enumerate(cuts):
        moments = {*range(1 + number % step, len(recording.calls), step), len(recording.calls)}
        cut_at(campaign, recording, cut, moments)


def cut_at(campaign: Campaign, recording: Recording, cut: str, moments: Container[int]) -> None:
    """Cut the power after these calls. What was judged already is not judged again."""
    for moment, tree in after_cuts(recording, cut, moments):
        tree.write_to(campaign.world.folder)
        lost = list(readable(_lost(campaign, ended=moment == len(recording.calls))))
        title = f"{cut}, cut after call {moment} of {len(recording.calls)}"
        campaign.judge(title, Outcome(-9, hits=["power"]), POWER, cut, lost)


def init_cuts(world: World, figures: Figures, cuts: Iterable[str] = CUTS) -> None:
    """Cut the power after every call of the making of a site: the same command again makes it, or it is made,
    and then a bundle can be packed. (Keys are other ones each time: there is no final state to compare.)
    """
    world.begin()
    world.keep()
    home = world.folder / "new"
    recording = record(world, home, INIT)
    for cut in cuts:
        for moment, tree in after_cuts(recording, cut, range(len(recording.calls) + 1)):
            tree.write_to(world.folder)
            figures.runs["init", POWER, cut] += 1
            title = f"init: {cut}, cut after call {moment} of {len(recording.calls)}"
            figures.escapes += [f"{title}: {found}" for found in readable(_unmade(world, home))]


def _unmade(world: World, home: Path) -> Iterator[str]:
    for words in (INIT, ("pack", "{run}/stack.yaml", "--to", "{run}/stick", "--quiet")):
        made = (home / "trust" / "1.root.json").exists()
        if (code := world.run(home, words)) and not (code == _MADE and words == INIT and made):
            yield f"{words[0]}: {code}: {world.error()}"
    check_ledger(home / "ledger.jsonl")


def after_cuts(recording: Recording, cut: str, moments: Container[int]) -> Iterator[tuple[int, Tree]]:
    """What is left when the power is cut after these calls, numbered from 1; each thing once."""
    media, homes = map(Survives, CUTS[cut])
    tops = recording.tops()

    def survives(change: Change) -> Survives:
        at_top = isinstance(change, Names) and change.folder == TOP
        names = change.means if at_top else [tops[change.node]]
        return homes if any(name in _HOMES for name in names) else media

    state, chance = State(recording.beginning), seeded(cut)
    seen: set[int] = set()
    for moment, call in enumerate(recording.calls, 1):
        state.take(call)
        tree = state.tree(survives, chance) if moment in moments else None
        if tree and tree.state() not in seen:
            seen.add(tree.state())
            yield moment, tree


def _lost(campaign: Campaign, *, ended: bool) -> Iterator[str]:
    """What is not there though the command had `ended` well, or the ledger says so; and what is done though
    the ledger does not say that it was begun.
    """
    records = list(_records(campaign))
    ends = campaign.story.attempts and any(
        record["phase"] == "end" and record["result"] == "ok" for record in records
    )
    if ended and campaign.story.attempts and not ends:
        yield "it ended well, and the ledger does not say so"
    if ended or ends:
        found = differences(campaign.final, final_state(campaign.world))
        yield from (
            f"it ended well, and {each}" for each in found if not each.endswith(f"{_LOCK} is missing")
        )
    if not records and campaign.story.attempts:
        now = hashes_below(campaign.world.folder)
        for name in sorted(name for name in now if now[name] != campaign.before.get(name, "folder")):
            is_made = name.startswith(campaign.world.nearby)  # the manifest, as `airgap lock` writes it
            if not is_made and not name.endswith((_LOCK, "ledger.jsonl")):
                yield f"the ledger has no record of it, and {name} is written"


def _records(campaign: Campaign) -> Iterator[dict[str, Any]]:
    """Of this run, in both ledgers."""
    for home, before in campaign.lines.items():
        found = read_ledger(home / "ledger.jsonl") if (home / "ledger.jsonl").exists() else ()
        yield from (line.fields for line in found if line.fields and line.number > before)
