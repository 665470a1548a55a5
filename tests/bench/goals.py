"""What the figures have to reach, beside a peer of the same run."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from tests.bench import checks, growth, loads, lock, memory, pulls, ssh
from tests.bench.lab import Rows, Table
from tests.bench.measure import Sample

Tables = Mapping[Table, Rows]
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Goal:
    """A figure of a row, as it is or divided by that of a peer's row."""

    what: str
    limit: float
    table: Table
    row: str
    peer: str | None = None
    figure: str = "wall"
    """The attribute of a sample."""
    unit: float = 1
    at_least: bool = False
    """Whether the limit is the least that will do, and not the most."""

    def measured(self, tables: Tables) -> float | None:
        """Return the figure, or None if not all of it was measured."""
        own = self._median(tables, self.row)
        if own is None or self.peer is None:
            return own and own / self.unit
        other = self._median(tables, self.peer)
        return own / other if other else None

    def is_reached(self, figure: float) -> bool:
        return figure >= self.limit if self.at_least else figure <= self.limit

    def _median(self, tables: Tables, row: str) -> float | None:
        found = tables.get(self.table, {}).get(row)
        return median(self._value(sample) for sample in found.samples) if found and found.samples else None

    def _value(self, sample: Sample) -> float:
        return float(getattr(sample, self.figure))


def goals(tables: Tables) -> list[tuple[Goal, float]]:
    """Return those of what was measured, with their figures."""
    all_ = [*_GOALS, *_engine_goals(), *_memory_goals()]
    found = [(goal, goal.measured(tables)) for goal in all_]
    return [(goal, figure) for goal, figure in found if figure is not None] + _growth_goals(tables)


_GOALS = [
    Goal("pack, far registry: time / crane's", 0.30, pulls.FAR, pulls.PACK, pulls.CRANE),
    Goal("lock, far registry: time / crane digest's", 1.0, lock.TABLE, lock.LOCK, lock.CRANE),
    Goal("pack: time / that of crane and `sync`", 0.6, pulls.TABLE, pulls.PACK, pulls.CRANE_SYNC),
    Goal("pack: CPU / that of crane and `sync`", 1.0, pulls.TABLE, pulls.PACK, pulls.CRANE_SYNC, "cpu"),
    Goal("pack: time / crane's", 1.2, pulls.TABLE, pulls.PACK, pulls.CRANE),
    Goal("pack onto a stick: time / that of its bytes", 1.05, pulls.STICK, pulls.STICK_PACK, pulls.MEDIUM),
    Goal(
        "verify: time of SHA-256 in two threads / its time",
        0.92,
        checks.VERIFIED,
        checks.CEILING,
        checks.VERIFY,
        at_least=True,
    ),
    Goal("load into a registry: time / crane's", 0.85, loads.REGISTRY, loads.LOAD, loads.CRANE),
    Goal("load into a registry again: seconds", 0.2, loads.REGISTRY, loads.LOAD + loads.AGAIN),
    Goal("send to one host: time / sftp's", 1.0, ssh.ONE, ssh.SEND, ssh.SFTP),
    Goal(f"send to {ssh.HOSTS} hosts: time / that of {ssh.HOSTS} scp", 1.0, ssh.MANY, ssh.SEND, ssh.SCPS),
    *(
        Goal(f"{row}: time / that of a bare Python", limit, checks.STARTED, row, checks.PYTHON)
        for row, limit in {checks.HELP: 5, checks.LOG: 8, checks.INSPECT: 11, checks.VERIFY_SMALL: 11}.items()
    ),
]


def _engine_goals() -> list[Goal]:
    limits = {"docker20": 0.75, "docker28": 0.65, "docker28c": 0.90}
    loaded = [
        Goal(
            f"load, {name}: time / that of `docker load`",
            limit,
            loads.ENGINES[name],
            loads.LOAD,
            loads.DOCKER,
        )
        for name, limit in limits.items()
    ]
    updated = [
        Goal(
            f"load, {name}: time of all images / that of the update",
            40,
            loads.ENGINES[name],
            loads.LOAD,
            loads.LOAD + loads.UPDATE,
            at_least=True,
        )
        for name in limits
    ]
    return [*loaded, *updated]


def _memory_goals() -> list[Goal]:
    return [
        Goal(f"{row}, layer of 10 GB: MB of memory", 100, memory.TABLE, row, figure="rss", unit=_MEGABYTE)
        for row in memory.ROWS
    ]


def _growth_goals(tables: Tables) -> list[tuple[Goal, float]]:
    rows = tables.get(growth.IMAGES, {})
    found = growth.exponents(rows)
    return [(Goal(f"{row} images: exponent", 1.1, growth.IMAGES, row), value) for row, value in found.items()]
