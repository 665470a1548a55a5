"""One story with one fault after the other, and what each left behind."""

import re
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from airgap.errors import AirgapError
from tests.faults.final_state import final_state
from tests.faults.judge_bundles import bundle_faults, hashes_below, signing_faults, tar_faults
from tests.faults.judge_sites import back_faults, lines_of, mark_faults, receipt_faults, site_faults
from tests.faults.judge_targets import target_faults, target_names
from tests.faults.ptrace import Fault, Outcome
from tests.faults.story import Story
from tests.faults.world import World, seeded
from tests.support.mounted import BrokenStickError

ERRORS = ("ENOSPC", "EIO", "EROFS")
WRITING = ("open", "write", "pwrite", "fsync", "rename", "mkdir", "close")
"""Classes of calls that write, or that open or close what may be written."""
FURTHER = ("unlink", "truncate", "lock", "open to read", "read", "list", "close after reading", "stat")
MUTATING = ("open", "write", "pwrite", "fsync", "rename", "mkdir", "unlink", "truncate")
"""Between two of these nothing changes on disk: all points at which a kill can be told from another."""

_FAILED = {11, 17}
"""The disk, and the ledger: what a refused call is."""
AFTER = 5
"""Right after a call is just before the next one, but for other threads: of so many, one."""
_LINK = 20
"""Of a sending: the far side, its disk among it."""
_PARTIAL = 3
"""Of a load: the images that failed are told one by one."""


@dataclass
class Figures:
    """What was done, by story and kind, and what was found."""

    runs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By story, class and fault."""
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Calls that were changed, by class and fault."""
    codes: Counter[int] = field(default_factory=Counter)
    escapes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Runs of which nothing is known, since the tests' own file system broke; each is made once more."""
    lost: list[str] = field(default_factory=list)
    """Those that broke again."""

    def twice(self, title: str, run: Callable[[], object]) -> None:
        """Make a run, and once more when it was the tests' own file system that broke."""
        for again in (self.broken, self.lost):
            try:
                run()
            except BrokenStickError as error:
                again.append(f"{title}: {error}")
            else:
                return

    def __iadd__(self, other: "Figures") -> Self:
        self.runs += other.runs
        self.hits += other.hits
        self.codes += other.codes
        self.escapes += other.escapes
        self.broken += other.broken
        self.lost += other.lost
        return self


class Campaign:
    """A story in its world, ready for faults."""

    def __init__(self, story: Story, world: World, *, far: bool = False) -> None:
        """With `far`, faults are for the host that is sent to."""
        self.far = far
        if story.far:
            world.start_far()
        if story.registry:
            world.start_registry()
        self.story = story
        self.world = world
        self.figures = Figures()
        story.prepare(world)
        world.keep()
        world.again()
        self.before = hashes_below(world.folder)
        self.lines = self._lines()
        begin = time.monotonic()
        world.must(story.side(world), *story.words)
        self.seconds = time.monotonic() - begin
        self.final = final_state(world)
        found = list(self._faults(0, Outcome(), self.lines))
        assert not found, f"{story.name} without a fault: {found}"

    # -- what to do

    def errors(self, classes: Iterable[str], errors: Iterable[str], step: int = 1, first: int = 1) -> None:
        """Each error in each class, at the 1st, 2nd, … call until the run meets it no more."""
        for kind in classes:
            for what in errors:
                if what == "short" and kind != "write":
                    continue
                nth = first
                while self.one(Fault((kind,), what, nth)):
                    nth += step

    def from_there_on(self, errors: Iterable[str], step: int = 1) -> None:
        """Every call that writes fails, from the 1st, 2nd, … on: a full, a dying and a locked medium."""
        for what in errors:
            nth = 1
            while self.one(Fault(WRITING, what, nth, on=True)):
                nth += step

    def kills(self, step: int = 1) -> None:
        """Killed before each call that changes anything, and right after some."""
        for what, further in (("kill", 1), ("kill after", AFTER)):
            nth = 1
            while self.one(Fault(MUTATING, what, nth)):
                nth += step * further

    def timed_kills(self, count: int) -> None:
        """Killed at any moment."""
        random = seeded(self.story.name)
        for _ in range(count):
            self.world.again()
            code = self.world.run(self.side, self.story.words, random.uniform(0, self.seconds))
            self.judge("any time: kill", Outcome(code, hits=["at any time"]), "any", "kill at any time")

    def calls(self, classes: Iterable[str]) -> list[str]:
        """The calls of these classes without a fault."""
        self.world.again()
        return self._traced(tuple(classes), None).calls

    def counts(self, *classes: str) -> Counter[str]:
        """How many calls of each class one run makes."""
        return Counter(call.partition(" /")[0].rstrip() for call in self.calls(dict.fromkeys(classes)))

    def found(self) -> list[str]:
        """What is wrong now, as after a run that went well."""
        return list(self._faults(0, Outcome(), self.lines))

    # -- one run

    @property
    def side(self) -> Path:
        """Whose command it is."""
        return self.story.side(self.world)

    def one(self, fault: Fault) -> bool:
        """A run with a fault, judged, and gone on with; False when the fault met nothing."""
        self.world.again()
        outcome = self._traced(fault.classes, fault)
        if not outcome.hits:
            return False
        kind = fault.classes[0] if len(fault.classes) == 1 else "any"
        what = fault.what + (" from there on" if fault.on else "")
        self.judge(f"{fault} ({outcome.hits[0]})", outcome, kind, what)
        return True

    def _traced(self, classes: tuple[str, ...], fault: Fault | None) -> Outcome:
        if not self.far:
            return self.world.traced(self.side, self.story.words, classes, fault)
        self.world.order(classes, fault)
        outcome = self.world.far_outcome(self.world.run(self.side, self.story.words))
        self.world.order((), None)
        return outcome

    def judge(self, title: str, outcome: Outcome, kind: str, what: str, found: Iterable[str] = ()) -> None:
        """Count a run, look at what it left, and run the same command again; `found` is known already."""
        name = self.story.name + (", far side" if self.far else "")
        self.figures.runs[name, kind, what] += 1
        self.figures.hits[kind, what] += len(outcome.hits)
        self.figures.codes[outcome.code] += 1
        for each in (*found, *readable(self._after(outcome))):
            self.figures.escapes.append(f"{name}: {title}: {each}")

    def _after(self, outcome: Outcome) -> Iterator[str]:
        said = self.world.error() if outcome.code >= 0 else ""
        yield from self._told(outcome, said)
        yield from self._faults(outcome.code, outcome, self.lines)
        lines = self._lines()
        code = self.world.run(self.side, self.story.words)
        if code not in (0, self.story.again):
            yield f"the same command again fails: {code}: {self.world.error()}"
            return
        yield from (f"after the same command again: {text}" for text in self._faults(code, Outcome(), lines))
        yield from differences(self.final, final_state(self.world))

    def _told(self, outcome: Outcome, said: str) -> Iterator[str]:
        """The exit code and the message tell the cause."""
        if outcome.code <= 0:
            return
        if outcome.code == _PARTIAL and self.story.words[0] == "load" and "failed: " in said:
            return
        if self.story.far and outcome.code == _LINK and "127.0.0.1" in said:
            return
        if outcome.code not in _FAILED:
            yield f"exit code {outcome.code}: {said}"
        elif not any(place in said for place in (str(self.world.folder), *self.world.nearby)):
            yield f"the message names no file: {said}"

    def _lines(self) -> dict[Path, int]:
        """How long both ledgers are."""
        return {home: lines_of(home) for home in (self.world.online, self.world.offline)}

    def _faults(self, code: int, outcome: Outcome, before: Mapping[Path, int]) -> Iterator[str]:
        world, story = self.world, self.story
        if story.signs:
            yield from signing_faults(world)
        else:
            yield from bundle_faults(world, self.before)
        yield from tar_faults(world)
        ledger_hit = any("ledger.jsonl" in call for call in outcome.hits) or code == 17
        for home, lines in before.items():
            yield from site_faults(home, lines, code, ledger_hit=ledger_hit)
        yield from self._untouched()
        yield from story.judge(world, replace(outcome, code=code))
        if story.loads:
            yield from target_faults(world, story.old, story.new)
            try:
                names = target_names(world)
            except (OSError, ValueError, KeyError):
                return
            yield from receipt_faults(world, names, self.before)
            yield from mark_faults(world, story.old, names)
            if "--back" in story.words:
                yield from back_faults(world, story.old, names)

    def _untouched(self) -> Iterator[str]:
        """What the command only reads is as it was."""
        for name in ("source", "stack.yaml", *(["stick"] if self.story.loads else [])):
            now = hashes_below(self.world.folder / name)
            was = {k.removeprefix(f"{name}/"): v for k, v in self.before.items() if k.startswith(f"{name}/")}
            if name == "stick":  # the load puts its receipts there
                now, was = (
                    {path: text for path, text in found.items() if path.partition("/")[0] != "receipts"}
                    for found in (now, was)
                )
            if now != was:
                yield f"{name} has changed"


def readable(found: Iterable[str]) -> Iterator[str]:
    """What is found, the last of it, if need be, that something cannot be read."""
    try:
        yield from found
    except (AirgapError, OSError, ValueError, KeyError, tarfile.TarError) as error:
        yield f"something cannot be read: {error!r}"


def differences(want: Mapping[str, str], got: Mapping[str, str]) -> Iterator[str]:
    """What two final states do not have in common."""
    for name in sorted(want.keys() | got.keys()):
        if want.get(name) != got.get(name):
            how = "is missing" if name not in got else "is left over" if name not in want else "differs"
            yield f"in the end {re.sub('[0-9a-f]{60}', '…', name)} {how}"
