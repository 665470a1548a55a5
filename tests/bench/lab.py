"""Where contenders take their turns: rounds of all, samples by table and row, failures that stop no other one."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.bench.corpus import unique
from tests.bench.measure import CommandError, Daemon, Sample, measure, size
from tests.bench.world import AIRGAP, REPOSITORY, World
from tests.support.mounted import BrokenStickError
from tests.support.parts import CommandFailedError

_OTHERS, _ENGINE = 2, 3
"""How many times the size of the corpus the files of a command may have."""


@dataclass(frozen=True)
class Table:
    """A table of the page: its name there, what is measured, the rows to compare with, and the columns."""

    name: str
    title: str
    peers: tuple[str, ...] = ()
    columns: tuple[str, ...] = ("CPU s", "RSS MB")


@dataclass
class Row:
    """What was seen of one command."""

    samples: list[Sample] = field(default_factory=list)
    note: str = ""


Rows = dict[str, Row]


@dataclass(frozen=True)
class Contender:
    """Takes turns; in each it measures one command or several that follow each other."""

    table: Table
    name: str
    turn: Callable[["Lab"], None]
    rounds: int | None = None
    """The most turns."""
    warm: bool = True
    """Whether it has a turn that does not count first."""
    ours: bool = False
    """Whether it is airgap, so that other working trees of it take turns too."""
    tree: Path = REPOSITORY


class Lab:
    """Measures, and keeps what was measured."""

    def __init__(self, world: World, trees: Sequence[Path] = ()) -> None:
        """`trees` are other working trees of airgap, which are measured too."""
        self.world = world
        self.tables: dict[Table, Rows] = {}
        self.failures: list[str] = []
        self._trees = trees
        self.tree = REPOSITORY
        """The working tree of airgap that has its turn."""
        self._rows: Rows = {}

    def measure(
        self,
        row: str,
        argv: Sequence[str | Path],
        *,
        env: dict[str, str] | None = None,
        daemon: Daemon | None = None,
        disk: Path | None = None,
        result: Path | int | None = None,
        small: bool = False,
        accept: tuple[int, ...] = (0,),
    ) -> None:
        """Run `argv` and add what it cost to `row`.

        `result` is the file or folder that it makes, or its size in bytes; `accept` are the exit codes that are no failure. A `small`
        command fills little of the page cache.
        """
        world = self.world
        memory = 0 if small else sum(unique(world.corpus.first).values()) * (_ENGINE if disk else _OTHERS)
        sample = measure(
            [str(word) for word in argv],
            env=world.environment() if env is None else env,
            log=world.folder / "command.log",
            disk=disk or world.folder,
            daemon=daemon,
            cwd=REPOSITORY,
            memory=memory,
            accept=accept,
        )
        made = size(result) if isinstance(result, Path) else result or 0
        self.add(row, replace(sample, result=made))

    def airgap(self, row: str, home: Path, *words: str | Path, **options: Any) -> None:
        """Measure an airgap command with the site at `home`, start-up included."""
        env = self.world.environment(home, self.tree)
        self.measure(row, [*AIRGAP, *words], env=env, **options)

    def add(self, row: str, sample: Sample) -> None:
        """Add a sample to a row."""
        say(f"    {row}: {sample.wall:.2f} s, {sample.cpu:.2f} CPU s")
        self._rows.setdefault(self._title(row), Row()).samples.append(sample)

    def note(self, row: str, text: str) -> None:
        """Say something beside a row's figures."""
        self._rows[self._title(row)].note = text

    def _title(self, row: str) -> str:
        return row if self.tree == REPOSITORY else f"{row}, {self.tree}"

    def run(self, contenders: Sequence[Contender], rounds: int) -> None:
        """All of them in turn, `rounds` times, each round beginning with another one."""
        contenders = list(self._with_trees(contenders))
        out: set[Contender] = set()
        for contender in contenders:
            self.tables.setdefault(contender.table, {})
        for number in range(rounds + 1):
            first = max(number - 1, 0) % len(contenders)
            say(f"  round {number} of {rounds}" + ("" if number else " (does not count)"))
            for contender in [*contenders[first:], *contenders[:first]]:
                most = min(rounds, contender.rounds or rounds)
                if contender not in out and number <= most and (number or contender.warm):
                    self._rows = self.tables[contender.table] if number else {}
                    self.tree = contender.tree
                    if not self._turn(contender):
                        out.add(contender)

    def _with_trees(self, contenders: Sequence[Contender]) -> list[Contender]:
        others = [replace(c, tree=tree) for c in contenders if c.ours for tree in self._trees]
        return [*contenders, *others]

    def _turn(self, contender: Contender) -> bool:
        try:
            contender.turn(self)
        except (
            *(CommandError, CommandFailedError, BrokenStickError, AssertionError, OSError),
            *(pytest.skip.Exception, pytest.fail.Exception),
        ) as error:
            self.failures.append(f"{contender.table.title}: {contender.name}: {error}")
            say(f"    {contender.name} is out: {error}")
            return False
        return True


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)
