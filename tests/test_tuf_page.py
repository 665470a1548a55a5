"""docs/tuf-conformance.md and the modules that run its cases say the same."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.carry.test_verify_tuf import CASES as BUNDLES
from tests.unit.trust.test_root_tuf import CASES as ROOTS

PAGE = (Path(__file__).parents[1] / "docs" / "tuf-conformance.md").read_text()
MODULES = {"roots": ROOTS, "bundles": BUNDLES}
WITHOUT_TEST = "not here"
SUITE = {
    "test_basic.py": 24, "test_expiration.py": 6, "test_file_download.py": 9, "test_keys.py": 8, "test_quoting_issues.py": 4,
    "test_repository_simulator.py": 3, "test_rollback.py": 9, "test_static_repositories.py": 2,
    "test_updater_delegation_graphs.py": 23, "test_updater_key_rotations.py": 25,
}  # fmt: skip
"""How many cases each file of the suite has."""


@dataclass(frozen=True)
class Row:
    """A case on the page."""

    file: str
    case: str
    answer: str
    module: str
    reason: str


def rows() -> list[Row]:
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        file = section.partition("\n")[0]
        for case, answer, last in re.findall(r"^\| `(.+)` \| .+ \| (.+) \| (.+) \|$", section, re.MULTILINE):
            module, reason = re.fullmatch(r"(\w*)(?:, )?(?:\[(\w+)\]\(#\w+\))?", last).groups("")  # type: ignore[union-attr]
            found.append(Row(file, case, answer, module, reason))
    return found


def test_every_case_of_the_suite_is_there_once():
    assert Counter(row.file for row in rows()) == SUITE
    assert [case for case, count in Counter(row.case for row in rows()).items() if count > 1] == []


def test_the_counts_in_the_table_are_true():
    told = dict(re.findall(r"^\| ([a-z ]+) \| (\d+) \|", PAGE, re.MULTILINE))
    assert told == {answer: str(count) for answer, count in Counter(row.answer for row in rows()).items()}
    assert f"its {len(rows())} cases" in PAGE


@pytest.mark.parametrize("module", MODULES)
def test_the_cases_of_the_modules_are_those_of_the_page(module: str):
    named = {row.case for row in rows() if row.module == module}
    assert named - MODULES[module] == set(), "on the page, and not run"
    assert MODULES[module] - {row.case for row in rows() if row.module} == set(), "run, and not on the page"


def test_only_what_does_not_exist_here_has_no_test():
    assert {row.case for row in rows() if (row.answer == WITHOUT_TEST) == bool(row.module)} == set()


def test_every_other_answer_has_a_reason():
    given = set(re.findall(r"^### (\w+)\n\n\w", PAGE, re.MULTILINE))
    assert {row.case for row in rows() if (row.answer == "same") == bool(row.reason)} == set()
    assert {row.reason for row in rows() if row.reason} == given
