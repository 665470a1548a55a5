"""The figures as a page of Markdown."""

import os
import platform
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

from tests.faults.campaign import ERRORS, FURTHER, WRITING, Figures
from tests.faults.power import CUTS, POWER
from tests.faults.stories import STORIES

_HEAD = """# Faults

Written by `python -m tests.faults --write`. Every line is a command of airgap that was run again and again, each
time with another fault; after each run it is asked, of the disk alone:

- every folder with an envelope verifies, by airgap and by JSON and SHA-256 alone; of a cut bundle, each volume;
- every name at a target means what was there before, or the whole of what the bundle brings; old names are there;
- receipts and the account of holdings claim nothing that is not at the target; the high-water mark came first;
- the ledger's chain is whole, but for a torn end, which the next record tells of; its exit code is the process's; the message
  names the file;
- what is only read is as it was;
- a second sender, a recall, a lost medium's mark, a backup, a restored site, a file of a bundle, and a manifest made of images are
  there whole, or as they were before; with all-or-nothing no name moves before all content is there; stale names go last;
- the same command again, without a fault, succeeds, and ends in the same names and contents.

An **escape** is a run after which one of these does not hold.

**Faults** are made at the kernel's door by a tracer of our own (`ptrace.py`: seccomp and ptrace): the call is answered
with the error and not made, except for close, which is made. A *short* write is a true one: the kernel is handed
half the count, and returns it. Only calls below the story's own folders count, over all threads, at the 1st, 2nd, …
until a run meets the fault no more. In the stories marked *N, which write as others do, each error meets every Nth
call, and another than the other errors; of calls that only read some are taken. *From there on* is a medium that stays full, broken or locked. Kills come before every
call that changes anything, right after one of five, and at random times. **Sticks** are FUSE file systems
(`tests/support/liar.py`), unplugged and plugged in again before they are judged.

A stick that *forgets* has, when it was pulled out, only what was synced: content by its file, names by their folder.

**Power cuts**: a story is run once on a disk that keeps account of every call (`tests/support/power.py`): sites, sticks
and targets are on it. Then the power is cut after one call of six (of twelve in the stories marked *N), and after the
last; each way of forgetting meets other calls. What the disk may have then is written into a folder, judged, and gone on
from. Whatever the command, or a ledger that outlived the cut, says is done must be there, all of it. A moment that leaves
the same as one before it is not judged again.

Not covered here: Docker, containerd and podman as targets; a cut of power at the far side of a sending, or of a registry;
kernel FAT and exFAT, where half of a renaming may outlive a cut: a bundle may have its envelope under both names then. It
is refused, and the same command mends it.
"""


def page(figures: Figures, seconds: float, steps: Mapping[str, int], left: int = 0) -> str:
    """All of it, where `left` pieces of the work are not done yet."""
    parts = (
        [_HEAD],
        [f"**Unfinished: {left} pieces of the work were not done.**"] if left else [],
        _facts(figures, seconds),
        _stories(figures, steps),
        _sticks(figures),
        _cuts(figures),
        [_codes(figures)],
        _broken(figures),
        _escapes(figures),
    )
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _facts(figures: Figures, seconds: float) -> list[str]:
    runs = sum(figures.runs.values())
    kills = sum(count for (_, _, what), count in figures.runs.items() if what.startswith("kill"))
    sticks = sum(count for (_, kind, _), count in figures.runs.items() if kind == "stick")
    cuts = sum(count for (_, kind, _), count in figures.runs.items() if kind == POWER)
    injected = runs - kills - sticks - cuts
    where = f"Linux {platform.release()}, {platform.machine()}, Python {platform.python_version()}"
    done = f"{injected:,} with injected errors, {kills:,} kills, {cuts:,} cuts of power, {sticks} on sticks that lie"
    return [
        f"**{runs:,} runs: {done}; {len(figures.escapes)} escapes.**",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {seconds / 60:.0f} minutes on {os.cpu_count()} cores, {where}.",
    ]


def _stories(figures: Figures, steps: Mapping[str, int]) -> list[str]:
    kinds = (*WRITING, "other calls", "from there on", "kills", "escapes")
    rows: dict[str, Counter[str]] = {}
    for (story, kind, what), count in figures.runs.items():
        if kind in ("stick", POWER):
            continue
        column = kind if kind in WRITING else "other calls"
        column = (
            "from there on" if "from there on" in what else "kills" if what.startswith("kill") else column
        )
        rows.setdefault(story, Counter())[column] += count
    for escape in figures.escapes:
        rows.setdefault(escape.partition(":")[0], Counter())["escapes"] += 1
    lines = [f"| story | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for name, row in sorted(rows.items()):
        star = f" *{steps[name]}" if name in steps else ""
        if name in STORIES or name.endswith("far side"):
            lines.append(f"| {name}{star} | {' | '.join(f'{row[kind]:,}' for kind in kinds)} |")
    errors: Counter[str] = Counter()
    for (_, kind, what), count in figures.runs.items():
        if kind in (*WRITING, *FURTHER):
            errors[what] += count
    told = ", ".join(f"{what} {errors[what]:,}" for what in (*ERRORS, "short"))
    about = [f"- {story.name}: {story.about}" for story in STORIES.values()]
    return [*lines, "", f"Of the single errors: {told}.", "", *about]


def _sticks(figures: Figures) -> list[str]:
    lies: dict[str, int] = {}
    for (_, kind, what), count in figures.runs.items():
        if kind == "stick":
            lies[_any(what)] = lies.get(_any(what), 0) + count
    if not lies:
        return []
    wrong = Counter(what for escape in figures.escapes for what in lies if f": {what}: " in _any(escape))
    lines = ["| a stick that | runs | escapes |", "|---|---|---|"]
    return lines + [f"| {what} | {count} | {wrong[what]} |" for what, count in sorted(lies.items())]


def _cuts(figures: Figures) -> list[str]:
    stories = sorted({story for story, kind, _ in figures.runs if kind == POWER})
    if not stories:
        return []
    lines = [f"| when the power is cut there is | {' | '.join(stories)} | escapes |"]
    lines.append("|---" * (len(stories) + 2) + "|")
    for cut in CUTS:
        runs = [f"{figures.runs[story, POWER, cut]:,}" for story in stories]
        escapes = sum(f": {cut}, cut after" in escape for escape in figures.escapes)
        lines.append(f"| {cut} | {' | '.join(runs)} | {escapes} |")
    return lines


def _any(text: str) -> str:
    """Without the number of calls: there are many."""
    return re.sub("[0-9]+ calls", "N calls", text)


def _codes(figures: Figures) -> str:
    told = ", ".join(f"{code}: {count:,}" for code, count in sorted(figures.codes.items()))
    return f"Exit codes (-9 is killed, or without power): {told}."


def _broken(figures: Figures) -> list[str]:
    told = f"Harness errors (a file system of the tests broke, and the run was made again): {len(figures.broken)}"
    lost = [f"- `{error[:300]}`" for error in figures.lost]
    return [f"{told}; of these broken again, and not known: {len(lost)}.", *([""] if lost else []), *lost]


def _escapes(figures: Figures) -> list[str]:
    if not figures.escapes:
        return ["No escapes."]
    return ["## Escapes", "", *(f"- `{escape[:300]}`" for escape in figures.escapes)]
