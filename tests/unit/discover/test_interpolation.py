"""Variables in Compose files: the operators, nesting, and limits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.discover.interpolation import interpolate
from airgap.discover.limits import MAX_EXPANDED_CHARACTERS

VALUES = {"A": "1", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("$A", "1"),
        ("${A}b$A", "1b1"),
        ("$$A", "$A"),
        ("${N-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${EMPTY:-d}", "d"),
        ("${N:-${EMPTY:-$A}}x", "1x"),
        ("${A+y}", "y"),
        ("${EMPTY+y}", "y"),
        ("${EMPTY:+y}", ""),
        ("${N+y}", ""),
        ("${N:-a-b:c}", "a-b:c"),
        ("${A:?no}", "1"),
        ("${N:-a}b}", "ab}"),
    ],
)
def test_variables_are_replaced(text: str, want: str) -> None:
    value = interpolate(text, VALUES)
    assert (value.text, value.errors, value.unset) == (want, (), ())


def test_a_variable_without_value_is_named() -> None:
    value = interpolate("x:${TAG}$A", VALUES)
    assert (value.text, value.unset, value.variables) == ("x:1", ("TAG",), ("TAG", "A"))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("${N:?set N}", "the required variable N has no value: set N"),
        ("${EMPTY:?}", "the required variable EMPTY has no value"),
        ("${N?}", "the required variable N has no value"),
        ("${", "not a variable: '${'; $$ is a dollar"),
        ("$1", "not a variable: '$1'; $$ is a dollar"),
        ("${A B}", "not a variable: '${A B}'"),
        ("${}", "not a variable: '${}'"),
        ("${N:-" * 30 + "}" * 30, "variables are nested too deeply"),
    ],
)
def test_what_compose_refuses_is_an_error(text: str, error: str) -> None:
    assert interpolate(text, VALUES).errors == (error,)


def test_variables_cannot_multiply_a_text() -> None:
    value = interpolate("$A" * 1000, {"A": "x" * (MAX_EXPANDED_CHARACTERS // 10)})
    assert value.text == ""
    assert value.errors == ("the text is too long once its variables are replaced",)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="${}AN:-?+a ", max_size=40))
def test_any_text_can_be_interpolated(text: str) -> None:
    value = interpolate(text, VALUES)
    assert value.errors or set(value.unset) <= set(value.variables)
