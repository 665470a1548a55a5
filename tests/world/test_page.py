"""The page is what the rows say."""

from tests.world.page import PAGE, page
from tests.world.table import ROWS


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.world"


def test_every_row_names_its_source() -> None:
    page()
    assert [row for row in ROWS if not (row.who and row.does and row.reported and row.answer)] == []
