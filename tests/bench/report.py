"""The figures as tables in Markdown, and as JSON."""

import os
import platform
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.bench import checks, loads, pulls
from tests.bench.goals import MEGABYTE, Goal, Tables
from tests.bench.lab import Row
from tests.bench.measure import Sample
from tests.bench.world import REPOSITORY
from tests.support.sid import sid_root

_COSTS = ("CPU s", "RSS MB")
_SERVED = ("CPU s", "server CPU s", "RSS MB", "server RSS MB")
_ENGINE = (*_SERVED, "disk peak MB", "disk kept MB", "engine's temporary MB")
_TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    pulls.TABLE: ((pulls.FLOOR, pulls.CRANE), (*_SERVED, "result MB", "disk peak MB")),
    loads.REGISTRY: ((loads.CRANE, loads.SKOPEO), (*_SERVED, "result MB")),
    **{loads.engine_table(engine): ((loads.DOCKER,), _ENGINE) for engine in loads.ENGINES},
    checks.VERIFY_TABLE: ((checks.CEILING,), ("GB/s", *_COSTS)),
    checks.START_TABLE: ((), _COSTS),
    checks.SCALE_TABLE: ((), (*_COSTS, "result MB")),
}
"""For each table the rows that others are compared with, and the columns."""

_FIGURES: dict[str, Callable[[Sample], float]] = {
    "GB/s": lambda sample: sample.result / sample.wall / 1e9,
    "CPU s": lambda sample: sample.cpu,
    "server CPU s": lambda sample: sample.daemon_cpu,
    "RSS MB": lambda sample: sample.rss / MEGABYTE,
    "server RSS MB": lambda sample: sample.daemon_rss / MEGABYTE,
    "result MB": lambda sample: sample.result / MEGABYTE,
    "disk peak MB": lambda sample: sample.disk / MEGABYTE,
    "disk kept MB": lambda sample: sample.kept / MEGABYTE,
    "engine's temporary MB": lambda sample: sample.temporary / MEGABYTE,
}


def markdown(
    machine: Mapping[str, str], tables: Tables, goals: Sequence[Goal], failures: Sequence[str]
) -> str:
    """Everything that was measured, to be pasted."""
    lines = [f"- {key}: {value}" for key, value in machine.items()]
    for name, rows in tables.items():
        if rows:
            lines += ["", f"**{name}**", "", *_table(rows, *_TABLES[name])]
    if goals:
        lines += [
            "",
            "**Goals** (meant for scale 1)",
            "",
            *_grid(["goal", "limit", "got", "reached"], map(_goal_cells, goals)),
        ]
    if failures:
        lines += [
            "",
            "**Not measured**",
            "",
            *(f"- {' '.join(failure.split())[:400]}" for failure in failures),
        ]
    return "\n".join([*lines, ""])


def as_json(
    machine: Mapping[str, str], tables: Tables, goals: Sequence[Goal], failures: Sequence[str]
) -> dict[str, Any]:
    """The same with every single run."""
    return {
        "machine": dict(machine),
        "tables": {
            name: {
                row: {"note": found.note, "runs": list(map(asdict, found.samples))}
                for row, found in rows.items()
            }
            for name, rows in tables.items()
        },
        "goals": [asdict(goal) | {"reached": goal.reached} for goal in goals],
        "not_measured": list(failures),
    }


def _table(rows: Mapping[str, Row], references: Sequence[str], columns: Sequence[str]) -> list[str]:
    """One line a row."""
    walls = {name: median(sample.wall for sample in row.samples) for name, row in rows.items()}
    compared = [name for name in references if name in walls]
    head = ["", "s, median (min-max)", *(f"x {name}" for name in compared), *columns, "runs", ""]

    def cells() -> Iterator[list[str]]:
        for name, row in rows.items():
            seconds = [sample.wall for sample in row.samples]
            yield [
                name,
                f"{walls[name]:.2f} ({min(seconds):.2f}-{max(seconds):.2f})",
                *(f"{walls[name] / walls[reference]:.2f}" for reference in compared),
                *(_figure(median(map(_FIGURES[column], row.samples))) for column in columns),
                str(len(seconds)),
                row.note,
            ]

    return _grid(head, cells())


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _goal_cells(goal: Goal) -> list[str]:
    sign = ">=" if goal.at_least else "<="
    assert goal.got is not None
    return [goal.what, f"{sign} {goal.limit:g}", f"{goal.got:.3g}", "yes" if goal.reached else "**no**"]


def _grid(head: Sequence[str], rows: Iterator[list[str]] | map) -> list[str]:
    rule = ["---", *("---:" for _ in head[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def machine(folder: Path) -> dict[str, str]:
    """What the figures were taken on."""
    cpu = _field("/proc/cpuinfo", "model name")
    extensions = (
        "with SHA extensions" if "sha_ni" in _field("/proc/cpuinfo", "flags") else "no SHA extensions"
    )
    memory = int(_field("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)
    return {
        "machine": f"{os.cpu_count()} x {cpu} ({extensions}), {memory:.0f} GiB, {_file_system(folder)}",
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
        "python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "airgap": _output("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"),
        "tools": _packages("", "docker-registry", "docker.io", "skopeo", "curl"),
        "tools of Debian sid": _sid_packages(),
    }


def _field(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "0")


def _file_system(folder: Path) -> str:
    return " on ".join(_output("findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", str(folder)).split())


def _sid_packages() -> str:
    try:
        return _packages(str(sid_root()), "crane", "oras", "skopeo", "docker.io")
    except pytest.skip.Exception as error:
        return str(error)


def _packages(root: str, *names: str) -> str:
    form = "${Package} ${Version}, "
    return _output("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", form, *names).rstrip(", ")


def _output(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, check=False).stdout.decode().strip()
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
