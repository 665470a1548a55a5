"""docs/threats.md names tests that exist, and says of every row what is promised."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "threats.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))


def names_in(path: Path) -> set[str]:
    """The tests and the classes of tests in a module."""
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, kinds) and node.name.lower().startswith("test")
    }


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| tries")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize(("file", "name"), NAMED, ids="::".join)
def test_a_test_that_is_named_exists(file: str, name: str):
    assert name in names_in(TESTS / file)


def test_every_row_has_a_promise_and_a_test():
    assert len(rows()) > 40
    for row in rows():
        tries, promised, tests = row
        assert tries, row
        assert promised, row
        assert re.search(r"`[\w/]+\.py::\w+`", tests), row


def test_every_attacker_holds_something():
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    *attackers, last = sections
    assert last.startswith("Not promised\n")
    assert all("\n*Who, and what they hold:* " in section for section in attackers)
