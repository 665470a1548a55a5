"""What the figures are measured against."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from tests.bench import checks, loads, pulls
from tests.bench.lab import Row
from tests.bench.measure import Sample

Tables = Mapping[str, Mapping[str, Row]]
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Sizes:
    """What bytes are compared with."""

    unique: int
    """Of the first versions' blobs and documents."""
    new: int
    """Of those that only the second versions have."""
    delta: int | None
    largest_image: int
    """The sum of its layers, uncompressed."""


@dataclass(frozen=True)
class Goal:
    """One figure and its limit; `got` is None when it was not measured."""

    what: str
    limit: float
    got: float | None
    at_least: bool = False
    """Whether the limit is the least that will do, and not the most."""

    @property
    def reached(self) -> bool | None:
        if self.got is None:
            return None
        return self.got >= self.limit if self.at_least else self.got <= self.limit


def _at_least(what: str, limit: float, got: float | None) -> Goal:
    return Goal(what, limit, got, at_least=True)


def goals(tables: Tables, sizes: Sizes) -> list[Goal]:
    """Those of what was measured."""
    found = [*_pack_goals(tables, sizes), *_registry_goals(tables)]
    for engine in loads.ENGINES:
        found += _engine_goals(tables, engine, sizes)
    found.append(Goal("delta bundle: bytes / new blobs' bytes", 1.05, _ratio(sizes.delta, sizes.new)))
    return [goal for goal in (*found, *_check_goals(tables)) if goal.got is not None]


def _pack_goals(tables: Tables, sizes: Sizes) -> list[Goal]:
    def wall(*rows: str) -> float | None:
        return _wall(tables, pulls.TABLE, *rows)

    pack = wall(pulls.PACK)
    rss = _median(tables, pulls.TABLE, pulls.PACK, lambda sample: sample.rss)
    result = _median(tables, pulls.TABLE, pulls.PACK, lambda sample: sample.result)
    floor, skopeo = wall(pulls.FLOOR, pulls.FLOOR_4), wall(pulls.SKOPEO, pulls.SKOPEO_OLD)
    return [
        Goal("pack: its time / crane's", 0.7, _ratio(pack, wall(pulls.CRANE))),
        Goal("pack: its time / the faster curl floor's", 1.0, _ratio(pack, floor)),
        _at_least("pack: the faster skopeo's time / its own", 3.0, _ratio(skopeo, pack)),
        _at_least(
            "pack: the faster docker pull + save's time / its own", 15.0, _ratio(wall(*pulls.SAVES), pack)
        ),
        Goal("pack: peak RSS, MB", 100, _ratio(rss, MEGABYTE)),
        Goal("pack: bytes / unique blobs' bytes", 1.001, _ratio(result, sizes.unique)),
    ]


def _registry_goals(tables: Tables) -> list[Goal]:
    first, again = (_wall(tables, loads.REGISTRY, loads.LOAD + suffix) for suffix in ("", loads.AGAIN))
    best = _wall(tables, loads.REGISTRY, loads.CRANE, loads.SKOPEO)
    return [
        Goal("load to a registry: its time / the better of crane's and skopeo's", 1.0, _ratio(first, best)),
        Goal("load to a registry again: its time / the first's", 0.05, _ratio(again, first)),
    ]


def _engine_goals(tables: Tables, engine: str, sizes: Sizes) -> list[Goal]:
    table = loads.engine_table(engine)
    first, again, update, delta = (
        _wall(tables, table, loads.LOAD + suffix) for suffix in ("", loads.AGAIN, loads.UPDATE, loads.DELTA)
    )
    temporary = _median(tables, table, loads.LOAD, lambda sample: sample.temporary)
    faster = 1.0 if engine == "docker28c" else 1.25
    return [
        _at_least(
            f"{engine}: docker load's time / its own",
            faster,
            _ratio(_wall(tables, table, loads.DOCKER), first),
        ),
        Goal(
            f"{engine}: engine's temporary disk / the largest image, unpacked",
            1.01,
            _ratio(temporary, sizes.largest_image),
        ),
        _at_least(f"{engine}: full load's time / update's", 30, _ratio(first, update)),
        _at_least(f"{engine}: full load's time / delta bundle's", 30, _ratio(first, delta)),
        Goal(f"{engine}: loading what is there, s", 1.0, again),
    ]


def _check_goals(tables: Tables) -> list[Goal]:
    ceiling, verify = (_wall(tables, checks.VERIFY_TABLE, row) for row in (checks.CEILING, checks.VERIFY))
    found = [
        _at_least("verify: the ceiling's time / its own", 0.85, _ratio(ceiling, verify)),
        Goal("airgap --help, s", 0.3, _wall(tables, checks.START_TABLE, checks.HELP)),
        Goal("plan of 1,000 images, s", 10, _wall(tables, checks.SCALE_TABLE, checks.PLAN)),
    ]
    small, *larger = (
        _median(tables, checks.SCALE_TABLE, checks.pack_row(size), lambda sample: sample.rss)
        for size in checks.SIZES
    )
    for size, rss in zip(checks.SIZES[1:], larger, strict=True):
        found.append(
            Goal(f"pack of {size:,} MB: peak RSS / of {checks.SIZES[0]:,} MB", 1.1, _ratio(rss, small))
        )
    return found


def _wall(tables: Tables, table: str, *rows: str) -> float | None:
    """The best of the rows' median times in seconds."""
    found = [_median(tables, table, row, lambda sample: sample.wall) for row in rows]
    return min((value for value in found if value is not None), default=None)


def _median(tables: Tables, table: str, row: str, of: Callable[[Sample], float]) -> float | None:
    found = tables.get(table, {}).get(row)
    return median(map(of, found.samples)) if found and found.samples else None


def _ratio(got: float | None, want: float | None) -> float | None:
    return None if got is None or not want else got / want
