"""The page `docs/compatibility.md`, rendered from the rows and the matrices."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path

from tests.world.table import OBSERVED, ROWS, Kind

_TESTS = Path(__file__).parents[1]
PAGE = _TESTS.parent / "docs" / "compatibility.md"

_HEAD = """\
# Compatibility

How registries, archives, engines and hosts behave, and what airgap does then. Every row is replayed by a test
in `tests/world/` or, with the real product, in `tests/e2e/`. This page is written by `python -m tests.world`.

`measured` stands for what a real part was seen to do here, `inferred` for what follows from an interface.
"""
_MATRICES = {
    "makers": (
        "Archives and layouts, by maker",
        "What each tool wrote, packed: the digest before and after.",
    ),
    "targets": (
        "Targets",
        "Each image at each target: the digest before and after, as the target's own tools say it.",
    ),
    "requests": ("Requests", "Requests to the source registry for one `lock` and `pack`."),
}


def page() -> str:
    """The whole page; imports every module that registers rows."""
    for path in sorted([*_TESTS.glob("world/test_*.py"), *_TESTS.glob("e2e/test_world*.py")]):
        importlib.import_module(".".join(("tests", *path.relative_to(_TESTS).with_suffix("").parts)))
    return "\n".join([_HEAD, *_chapters(), *_matrices()])


def _chapters() -> Iterator[str]:
    for kind in Kind:
        rows = sorted(
            {row for row in ROWS if row.kind is kind},
            key=lambda row: (row.who, row.does, row.reported, row.answer),
        )
        if not rows:
            continue
        yield f"## {kind.value}\n"
        yield "| who | does | reported | airgap |\n|---|---|---|---|"
        for row in rows:
            yield _line(row.who, row.does, row.reported, row.answer)
        yield ""


def _matrices() -> Iterator[str]:
    for name, (title, explanation) in _MATRICES.items():
        path = OBSERVED / f"{name}.json"
        if not path.exists():
            continue
        table: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
        columns = list(dict.fromkeys(column for cells in table.values() for column in cells))
        yield f"## {title}\n\n{explanation}\n"
        yield _line("", *columns)
        yield "|" + "---|" * (len(columns) + 1)
        for line, cells in table.items():
            yield _line(line, *(cells.get(column, "") for column in columns))
        yield ""


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
