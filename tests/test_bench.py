"""The parts of the benchmark that do not measure: the page that it writes, its goals, and the slow stick's queue."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import growth, lock, memory
from tests.bench.__main__ import PAGE, TABLES
from tests.bench.goals import goals
from tests.bench.lab import Row, Rows, Table
from tests.bench.measure import Sample
from tests.bench.report import GOALS, MACHINE, PageError, blocks, check, write
from tests.bench.stick import MIB, Medium, Pace

PLACE = "before\n<!-- tests.bench: pack -->\nold\n<!-- end -->\nafter\n"


def rows(seconds: dict[str, float], **figures: int) -> Rows:
    return {
        name: Row([replace(Sample.of_seconds(wall, result=0), cpu=wall, **figures)])
        for name, wall in seconds.items()
    }


def test_the_page_has_a_place_for_each_table() -> None:
    check(PAGE, [MACHINE, GOALS, *(table.name for table in TABLES)])


def test_only_the_block_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PLACE + "<!-- tests.bench: far -->\nkept\n<!-- end -->\n")
    for _ in range(2):
        write(page, {"pack": "| \\1 |\n", "unknown": "x"})
    assert page.read_text() == (
        "before\n<!-- tests.bench: pack -->\n\n| \\1 |\n\n<!-- end -->\nafter\n"
        "<!-- tests.bench: far -->\nkept\n<!-- end -->\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="no markers"),
        pytest.param(PLACE.replace("<!-- end -->", ""), id="no end"),
        pytest.param(PLACE.replace("pack", "packs"), id="another name"),
        pytest.param(PLACE * 2, id="twice"),
        pytest.param(PLACE.replace("old", "<!-- tests.bench: far -->"), id="another block in it"),
    ],
)
def test_a_page_without_a_pair_of_markers_is_refused(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(PageError, match=re.escape("<!-- tests.bench: pack -->")):
        check(page, ["pack"])


def test_a_goal_compares_with_the_peer_of_the_same_run() -> None:
    [goal] = goals({lock.TABLE: rows({lock.LOCK: 3.0, lock.CRANE: 2.0})})
    assert (goal.figure, goal.is_reached) == (1.5, False)


def test_what_was_not_measured_is_not_a_goal() -> None:
    assert goals({lock.TABLE: rows({lock.LOCK: 3.0})}) == []


def test_the_command_with_the_most_memory_counts() -> None:
    [goal] = goals({memory.TABLE: rows({"a": 1.0}, rss=50_000_000) | rows({"b": 1.0}, rss=101_000_000)})
    assert (goal.figure, goal.is_reached) == (101.0, False)


def test_the_steepest_command_counts() -> None:
    table: dict[Table, Rows] = {
        growth.IMAGES: rows({"a, 100": 1, "b, 100": 1, "a, 1,000": 10, "b, 1,000": 100})
    }
    [goal] = goals(table)
    assert (goal.figure, goal.is_reached) == (pytest.approx(2.0), False)
    assert "| b | 1.00 | 100 | 2.00 | 0.000 |" in blocks({}, table, [goal])["growth-images"]


def medium() -> tuple[Medium, list[float]]:
    now = [0.0]
    return Medium(Pace(write=30e6, read=90e6, seek=0.01, buffer=8 * MIB), clock=lambda: now[0]), now


def test_a_stick_takes_its_rates_and_one_seek_for_a_file() -> None:
    stick, _ = medium()
    for _ in range(30):
        stick.take_write(1, MIB)
    assert stick.take_sync(1) == pytest.approx(0.01 + 30 * MIB / 30e6)


def test_a_writer_waits_for_what_is_more_than_the_buffer() -> None:
    stick, _ = medium()
    waits = [stick.take_write(1, MIB) for _ in range(10)]
    assert max(waits[:7]) < 0 < waits[9] == pytest.approx(0.01 + 2 * MIB / 30e6)


def test_two_writers_make_a_stick_seek_for_each_batch() -> None:
    stick, _ = medium()
    for number in range(20):
        stick.take_write(number % 2, MIB)
    assert stick.seeks == 20


def test_reading_what_was_written_costs_a_seek() -> None:
    stick, now = medium()
    stick.take_write(1, MIB)
    now[0] = stick.take_sync(1)
    assert stick.take_read(1, MIB) == pytest.approx(0.01 + MIB / 90e6)
    assert stick.report()["seeks"] == 2
