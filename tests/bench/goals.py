"""What the figures have to reach, beside a peer of the same run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from tests.bench import checks, growth, loads, lock, memory, pulls, ssh
from tests.bench.lab import Rows, Table

Tables = Mapping[Table, Rows]


@dataclass(frozen=True)
class Goal:
    """One figure and its limit; `figure` is None when it was not measured."""

    what: str
    limit: float
    figure: float | None
    at_least: bool = False
    """Whether the limit is the least that will do, and not the most."""

    @property
    def is_reached(self) -> bool:
        """Whether a measured figure is within the limit."""
        assert self.figure is not None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


def goals(tables: Tables) -> list[Goal]:
    """Return those of what was measured."""
    measured = _Measured(tables)
    found = [
        *_work_goals(measured),
        *_engine_goals(measured),
        *_start_goals(measured),
        *_growth_goals(measured),
    ]
    return [goal for goal in found if goal.figure is not None]


class _Measured:
    """Medians of what was measured."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def rows(self, table: Table) -> Rows:
        return self._tables.get(table, {})

    def figure(self, table: Table, row: str, name: str = "wall") -> float | None:
        found = self.rows(table).get(row)
        return median(getattr(sample, name) for sample in found.samples) if found and found.samples else None

    def ratio(self, table: Table, row: str, peer: str, name: str = "wall") -> float | None:
        own, other = (self.figure(table, title, name) for title in (row, peer))
        return own / other if own is not None and other else None


def _work_goals(measured: _Measured) -> Iterator[Goal]:
    ratio, pack = measured.ratio, (pulls.TABLE, pulls.PACK)
    yield Goal("pack, far registry: time / crane's", 0.30, ratio(pulls.FAR, pulls.PACK, pulls.CRANE))
    yield Goal("lock, far registry: time / crane digest's", 1.0, ratio(lock.TABLE, lock.LOCK, lock.CRANE))
    yield Goal("pack: time / that of crane and `sync`", 0.6, ratio(*pack, pulls.CRANE_SYNC))
    yield Goal("pack: CPU / that of crane and `sync`", 1.0, ratio(*pack, pulls.CRANE_SYNC, "cpu"))
    yield Goal("pack: time / crane's", 1.2, ratio(*pack, pulls.CRANE))
    on_stick = ratio(pulls.STICK, pulls.STICK_PACK, pulls.MEDIUM)
    yield Goal("pack onto a stick: time / that of its bytes", 1.05, on_stick)
    hashed = ratio(checks.VERIFIED, checks.CEILING, checks.VERIFY)
    yield Goal("verify: time of SHA-256 in two threads / its time", 0.92, hashed, at_least=True)
    yield Goal(
        f"{loads.REGISTRY.title}: time / crane's", 0.85, ratio(loads.REGISTRY, loads.LOAD, loads.CRANE)
    )
    again = measured.figure(loads.REGISTRY, loads.LOAD + loads.AGAIN)
    yield Goal("bundle to a registry that has all: seconds", 0.2, again)
    yield Goal("send to one host: time / sftp's", 1.0, ratio(ssh.ONE, ssh.SEND, ssh.SFTP))
    yield Goal(f"send to {ssh.HOSTS} hosts: time / scp's", 1.0, ratio(ssh.MANY, ssh.SEND, ssh.SCPS))


def _engine_goals(measured: _Measured) -> Iterator[Goal]:
    limits = {"docker20": 0.75, "docker28": 0.65, "docker28c": 0.90}
    for name, limit in limits.items():
        table = loads.ENGINES[name]
        loaded = measured.ratio(table, loads.LOAD, loads.DOCKER)
        updated = measured.ratio(table, loads.LOAD, loads.LOAD + loads.UPDATE)
        yield Goal(f"{table.title}: time / that of `docker load`", limit, loaded)
        yield Goal(f"{table.title}: time / that of an update", 40, updated, at_least=True)


def _start_goals(measured: _Measured) -> Iterator[Goal]:
    limits = {checks.HELP: 5, checks.LOG: 8, checks.INSPECT: 11, checks.VERIFY_SMALL: 11}
    for row, limit in limits.items():
        yield Goal(f"{row}: time / Python's", limit, measured.ratio(checks.STARTED, row, checks.PYTHON))
    peaks = [measured.figure(memory.TABLE, row, "rss") for row in measured.rows(memory.TABLE)]
    peak = max((peak / 1e6 for peak in peaks if peak is not None), default=None)
    yield Goal("a layer of 10 GB: MB of memory, the most of any command", 100, peak)


def _growth_goals(measured: _Measured) -> Iterator[Goal]:
    steepest = max(growth.exponents(measured.rows(growth.IMAGES)).values(), default=None)
    yield Goal("more images: exponent, the highest of any command", 1.1, steepest)
    records = growth.sizes(measured.rows(growth.LEDGER))
    if not records:
        return
    few, many = records[0], records[-1]

    def seconds(title: str, size: int, name: str = "cpu") -> float:
        return measured.figure(growth.LEDGER, growth.row(title, size), name) or 0.0

    look = seconds(growth.LOOK, many) - seconds(growth.LOOK, few)
    yield Goal(f"a look at a ledger of {many:,} records: CPU seconds more than at {few:,}", 0.05, look)
    yield Goal(f"`audit find` in {many:,} records: seconds", 1.0, seconds(growth.FIND_AGAIN, many, "wall"))
    rate = many / seconds(growth.AUDIT_VERIFY, many, "wall")
    yield Goal("`audit verify`: records a second", 200_000, rate, at_least=True)
