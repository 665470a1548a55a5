"""The figures as tables in Markdown, in docs/performance.md too, and as JSON."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import growth
from tests.bench.goals import Goal, Tables
from tests.bench.lab import Rows, Table
from tests.bench.measure import Sample

_FIGURES: dict[str, Callable[[Sample], float]] = {
    "GB/s": lambda sample: sample.result / sample.wall / 1e9,
    "CPU s": lambda sample: sample.cpu,
    "server CPU s": lambda sample: sample.daemon_cpu,
    "server CPU s for 1 GB": lambda sample: sample.daemon_cpu / sample.result * 1e9,
    "RSS MB": lambda sample: sample.rss / 1e6,
    "server RSS MB": lambda sample: sample.daemon_rss / 1e6,
    "result MB": lambda sample: sample.result / 1e6,
    "disk peak MB": lambda sample: sample.disk / 1e6,
    "engine's temporary MB": lambda sample: sample.temporary / 1e6,
}

MACHINE, GOALS = "machine", "goals"
"""The blocks of the page that are not tables of rows."""


class PageError(Exception):
    """The page lacks the markers of a block."""


def blocks(machine: Mapping[str, str], tables: Tables, goals: Sequence[Goal]) -> dict[str, str]:
    """Return the Markdown of each block of the page that was measured."""
    found = {MACHINE: _lines(f"- {key}: {value}" for key, value in machine.items())}
    if goals:
        found[GOALS] = _grid(["goal", "wanted", "measured", "reached"], map(_goal_cells, goals))
    for table, rows in tables.items():
        if rows:
            make = _growth_table if table in growth.SIZES else _table
            found[table.name] = make(table, rows)
    return found


def write(page: Path, found: Mapping[str, str]) -> None:
    """Replace the blocks in the page; everything else in it is left unchanged."""
    text = page.read_text()
    for name, block in found.items():
        text = _block(name).sub(lambda match, block=block: f"{match[1]}\n\n{block}\n{match[2]}", text)
    page.write_text(text)


def check(page: Path, names: Iterable[str]) -> None:
    """Raise `PageError` if the page has not just one pair of markers for each name."""
    text = page.read_text()
    if wrong := [name for name in names if len(_block(name).findall(text)) != 1]:
        raise PageError(f"{page} needs one pair of markers each: {', '.join(map(_begin, wrong))} … {_END}")


_END = "<!-- end -->"


def _begin(name: str) -> str:
    return f"<!-- tests.bench: {name} -->"


def _block(name: str) -> re.Pattern[str]:
    return re.compile(f"({re.escape(_begin(name))})(?:(?!<!--).)*({_END})", re.DOTALL)


def as_json(
    machine: Mapping[str, str], tables: Tables, goals: Sequence[Goal], failures: Sequence[str]
) -> dict[str, Any]:
    """Return everything with every single run."""
    return {
        "machine": dict(machine),
        "tables": {
            table.name: {
                row: {"note": found.note, "runs": list(map(asdict, found.samples))}
                for row, found in rows.items()
            }
            for table, rows in tables.items()
        },
        "goals": [asdict(goal) | {"reached": goal.is_reached} for goal in goals],
        "not_measured": list(failures),
    }


def _table(table: Table, rows: Rows) -> str:
    """One line a row."""
    walls = {name: median(sample.wall for sample in row.samples) for name, row in rows.items()}
    peers = [name for name in table.peers if name in walls]
    noted = any(row.note for row in rows.values())
    head = [table.title, "seconds (least to most)", *(f"x {name}" for name in peers), *table.columns, "runs"]

    def cells() -> Iterator[list[str]]:
        for name, row in rows.items():
            seconds = [sample.wall for sample in row.samples]
            yield [
                name,
                f"{_figure(walls[name])} ({_figure(min(seconds))} to {_figure(max(seconds))})",
                *(_figure(walls[name] / walls[peer]) for peer in peers),
                *(_figure(median(map(_FIGURES[column], row.samples))) for column in table.columns),
                str(len(seconds)),
                *([row.note] if noted else []),
            ]

    return _grid([*head, *([""] if noted else [])], cells())


def _figure(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _growth_table(table: Table, rows: Rows) -> str:
    """One line a command: CPU seconds of each size, their exponent, and the memory at the largest size."""
    sizes, exponents = growth.sizes(rows), growth.exponents(rows)

    def cells() -> Iterator[list[str]]:
        for title in dict.fromkeys(growth.split(name)[0] for name in rows):
            found = [rows[name].samples[0] for size in sizes if (name := growth.row(title, size)) in rows]
            exponent = f"{exponents[title]:.2f}" if title in exponents else ""
            yield [title, *(_figure(sample.cpu) for sample in found), exponent, _figure(found[-1].rss / 1e6)]

    return _grid([table.title, *(f"{size:,}" for size in sizes), "exponent", "RSS MB"], cells())


def _goal_cells(goal: Goal) -> list[str]:
    sign = "≥" if goal.at_least else "≤"
    figure = f"{goal.figure:,.0f}" if goal.limit >= 1000 else f"{goal.figure:.3g}"
    return [goal.what, f"{sign} {goal.limit:,g}", figure, "yes" if goal.is_reached else "**no**"]


def _grid(head: Sequence[str], rows: Iterable[list[str]]) -> str:
    rule = ["---", *("---:" for _ in head[1:])]
    return _lines(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
