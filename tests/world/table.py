"""The rows of the table, and the matrices that end-to-end tests fill."""

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

import pytest

OBSERVED = Path(__file__).parent / "observed"
_WRITE = "AIRGAP_WRITE_OBSERVED"

Test = TypeVar("Test", bound=Callable[..., object])


class Kind(Enum):
    """The chapters of the page, in its order."""

    OPTIONAL = "Questions about attachments"
    TARGETS = "Registries as targets"
    ARCHIVES = "Archives and layouts"
    PLATFORMS = "Platforms"
    LOGINS = "Logins and engines"
    NODES = "Cluster nodes"
    HOSTS = "Hosts"
    PATHS = "Paths and names on the command line"
    IMAGES = "Unusual images"


@dataclass(frozen=True, slots=True)
class Row:
    """One behaviour of a product that exists."""

    kind: Kind
    who: str
    """Product and version: `Harbor < 2.8`."""
    does: str
    """What it does, as a sentence without a full stop."""
    reported: str
    """Where: `goharbor/harbor#18235` (issue or pull request), a specification's section, or a manual's title;
    `measured` for what a real part of the end-to-end tests was seen to do; `inferred` for what follows from an
    interface, where neither a report nor a real part was seen."""
    answer: str
    """What airgap does then, as a sentence without a full stop."""


ROWS: list[Row] = []


def row(kind: Kind, who: str, does: str, reported: str, answer: str) -> Callable[[Test], Test]:
    """Register the row that the decorated test replays; a test may replay several."""

    def register(test: Test) -> Test:
        ROWS.append(Row(kind, who, does, reported, answer))
        return test

    return register


def replays(cases: Mapping[str, tuple[Row, object]]) -> pytest.MarkDecorator:
    """Parametrize a test by `case`, one for each row; the keys are the tests' ids."""
    ROWS.extend(case_row for case_row, _ in cases.values())
    return pytest.mark.parametrize("case", [case for _, case in cases.values()], ids=list(cases))


def observed(matrix: str, line: str, cells: Mapping[str, str]) -> None:
    """Compare what an end-to-end test saw with the page: cells by column, for one line of a matrix.

    With AIRGAP_WRITE_OBSERVED=1 they are written to `tests/world/observed/MATRIX.json` instead.
    """
    path = OBSERVED / f"{matrix}.json"
    if os.environ.get(_WRITE) == "1":
        OBSERVED.mkdir(exist_ok=True)
        with path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # tests in other processes write too
            file.seek(0)
            table = json.loads(file.read() or "{}")
            table[line] = {**table.get(line, {}), **cells}
            file.truncate(0)
            file.write(json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        return
    table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    expected = {column: table.get(line, {}).get(column) for column in cells}
    assert dict(cells) == expected, f"{matrix}: {line}"
