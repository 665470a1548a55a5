"""`.env` files, as Compose reads them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.discover.dotenv import parse_dotenv


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("A=1", "1"),
        ("export A=1", "1"),
        ("  A = 1  ", "1"),
        ("A: 1", "1"),
        ("A=1 # one", "1"),
        ("A=1#2", "1#2"),
        ("A=", ""),
        ("A= # nothing", ""),
        ('A="1 # 2" # c', "1 # 2"),
        ("A='$B ${B}'", "$B ${B}"),
        ('A="a\\nb"', "a\nb"),
        ('A="two\nlines"', "two\nlines"),
        ("A=${OTHER}-${NONE:-x}", "other-x"),
        ('A="$(id -u)"', "$(id -u)"),
        ("A=1\r", "1"),
        ("A", "given"),
        ("A=0\nA=1", "1"),
    ],
)
def test_values_are_read(line: str, want: str) -> None:
    found = parse_dotenv(f"# comment\n{line}\n", {"OTHER": "other", "A": "given"})
    assert found.values["A"] == want
    assert found.problems == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A=1\n=2\n", (2, "not a variable, want NAME=VALUE")),
        ("\n!\n", (2, "not a variable, want NAME=VALUE")),
        ('A=1\n\nB="open\n', (3, "B: a quote that is not closed")),
    ],
)
def test_a_line_that_compose_refuses_is_located(text: str, problem: tuple[int, str]) -> None:
    assert parse_dotenv(text, {}).problems == [problem]


def test_values_cannot_grow_without_limit() -> None:
    lines = ["A0=" + "x" * 1000, *(f"A{n}=$A{n - 1}$A{n - 1}$A{n - 1}$A{n - 1}" for n in range(1, 30))]
    found = parse_dotenv("\n".join(lines), {})
    assert max(map(len, found.values.values())) < 100_000


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="AB=:'\"\\#$ \n\t", max_size=40))
def test_any_text_can_be_read(text: str) -> None:
    parse_dotenv(text, {"B": "b"})
