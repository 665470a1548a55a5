"""On real public files, `airgap discover` finds all images that they run, and calls nothing else sure."""

import pytest

from tests.samples import UNRESOLVABLE, Case, Result, cases, measure
from tests.samples.table import PAGE, table, write_table
from tests.support.parts import require

CASES = cases()
RESULTS: list[Result] = []


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in UNRESOLVABLE], ids=lambda c: c.name
)
def test_all_images_are_found_and_nothing_else(case: Case) -> None:
    result = measure(case)
    RESULTS.append(result)
    assert result.missed == frozenset()
    assert result.unflagged == frozenset()
    assert result.falsely_sure == frozenset()
    assert result.others == frozenset()


def test_the_table_in_the_docs_is_that_of_these_results() -> None:
    page = PAGE.read_text("utf-8")
    require(len(RESULTS) == len(CASES) - len(UNRESOLVABLE), "only a part of the cases was measured")
    assert write_table(page, table(RESULTS)) == page, "stale: python -m tests.samples"


@pytest.mark.parametrize("case", [case for case in CASES if case.name in UNRESOLVABLE], ids=lambda c: c.name)
def test_a_template_is_a_problem_and_not_an_image(case: Case) -> None:
    discovery = case.discover()
    assert discovery.images == ()
    assert all("cannot be resolved" in problem.what for problem in discovery.problems)


def test_variables_without_values_are_never_latest() -> None:
    case = next(case for case in CASES if case.name == "compose-frappe.no-env")
    [problem] = case.discover().problems
    assert "because ERPNEXT_VERSION has no value" in problem.what
    assert case.discover().images == ()
