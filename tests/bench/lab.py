"""Where contenders take their turns: rounds of all, samples by table and row, failures that stop nobody else."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.bench.corpus import unique
from tests.bench.measure import CommandError, Daemon, Sample, measure, size
from tests.bench.world import AIRGAP, REPOSITORY, World
from tests.support.parts import CommandFailedError

_OTHERS, _ENGINE = 2, 3
"""How many times the size of the corpus the files of a command may have."""


@dataclass
class Row:
    """What was seen of one command."""

    samples: list[Sample] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Contender:
    """Takes turns; in each it measures one command or several that follow each other."""

    table: str
    name: str
    turn: Callable[["Lab"], None]
    rounds: int | None = None
    """How many turns, if fewer than the others'."""
    warm: bool = True
    """Whether it has a turn that does not count first."""


class Lab:
    """Measures, and keeps what was measured."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tables: dict[str, dict[str, Row]] = {}
        self.failures: list[str] = []
        self._table: str | None = None
        self._memory = sum(unique(world.corpus.first).values())

    def measure(
        self,
        row: str,
        argv: Sequence[str | Path],
        *,
        home: Path | None = None,
        env: dict[str, str] | None = None,
        daemon: Daemon | None = None,
        disk: Path | None = None,
        result: Path | None = None,
    ) -> None:
        """Run `argv` and add what it cost to `row`; `home` is the site's, when it is airgap's.

        `result` is the file or folder that it makes.
        """
        words = [str(word) for word in argv]
        sample = measure(
            words,
            env=self.world.environment(home) | (env or {}),
            log=self.world.folder / "command.log",
            disk=disk or self.world.folder,
            daemon=daemon,
            cwd=REPOSITORY,
            memory=self._memory * (_ENGINE if disk else _OTHERS),
        )
        if result is not None:
            sample = replace(sample, result=size(result))
        say(f"    {row}: {sample.wall:.2f} s")
        if self._table is not None:
            self.tables[self._table].setdefault(row, Row()).samples.append(sample)

    def airgap(self, row: str, home: Path, *words: str | Path, **options: object) -> None:
        """Measure an airgap command, start-up included."""
        self.measure(row, [*AIRGAP, *words], home=home, **options)

    def note(self, row: str, text: str) -> None:
        """Say something beside a row's figures."""
        if self._table is not None and row in self.tables[self._table]:
            self.tables[self._table][row].note = text

    def run(self, contenders: Sequence[Contender], rounds: int) -> None:
        """All of them in turn, `rounds` times, each round beginning with another one."""
        out: set[str] = set()
        for contender in contenders:
            self.tables.setdefault(contender.table, {})
        for number in range(rounds + 1):
            first = max(number - 1, 0) % len(contenders)
            say(f"  round {number} of {rounds}" + ("" if number else " (does not count)"))
            for contender in [*contenders[first:], *contenders[:first]]:
                most = rounds if contender.rounds is None else contender.rounds
                if contender.name not in out and number <= most and (number or contender.warm):
                    self._table = contender.table if number else None
                    self._turn(contender, out)

    def _turn(self, contender: Contender, out: set[str]) -> None:
        try:
            contender.turn(self)
        except (
            *(CommandError, CommandFailedError, AssertionError, OSError),
            *(pytest.skip.Exception, pytest.fail.Exception),
        ) as error:
            out.add(contender.name)
            self.failures.append(f"{contender.table}: {contender.name}: {error}")
            say(f"    {contender.name} is out: {error}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
