"""Tables, whole and fitted to a width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.cli.tables import Table

DIGEST = f"sha256:{'0123456789ab' * 5}cdef"
IMAGES = Table(
    ("IMAGE", "VERDICT", "BEFORE", "NOW", "NOTE"),
    [("registry.example.com:5000/a-team/project/service:2026.11.30-4", "loaded", "-", DIGEST, "")],
)


def test_columns_are_aligned():
    assert Table(("A", "LONG"), [("xyz", 1), ("", "x")]).lines() == ["A    LONG", "xyz  1", "     x"]
    assert Table(("A",), []).lines() == ["A"]


def test_cells_are_whole_where_they_fit():
    assert IMAGES.lines() == IMAGES.lines(1000)
    assert DIGEST in IMAGES.lines()[1]


def test_digests_and_names_are_shortened_where_they_do_not_fit():
    header, row = IMAGES.lines(80)
    assert max(len(header), len(row)) == 80
    assert header.split() == ["IMAGE", "VERDICT", "BEFORE", "NOW"]
    assert row.split() == ["registry.example.com:500…ect/service:2026.11.30-4", "loaded", "-", "0123456789ab"]


def test_an_image_id_stays_marked():
    table = Table(("IMAGE", "NOW"), [("a" * 30, f"image id {DIGEST}")])
    assert table.lines(70)[1] == f"{'a' * 30}  image id 0123456789ab"


CELLS = st.lists(st.tuples(st.text(), st.text()), max_size=5)


@given(CELLS, st.none() | st.integers(20, 100))
def test_no_cell_breaks_out_of_its_row(rows, width):
    lines = Table(("A", "B"), rows).lines(width)
    assert len(lines) == len(rows) + 1
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("columns", [2, 5, 10])
@given(data=st.data())
def test_no_line_is_wider_than_the_terminal(columns, data):
    row = st.tuples(*[st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=90)] * columns)
    rows = data.draw(st.lists(row, max_size=3))
    lines = Table([f"H{number}" for number in range(columns)], rows).lines(80)
    assert all(len(line) <= 80 for line in lines)
