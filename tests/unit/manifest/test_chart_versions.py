"""Versions of charts: which text is a range, and which version is the newest in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.errors import FormatError
from airgap.manifest.chart_versions import is_exact, newest_version, parse_chart_version

VERSIONS = ["0.9.0", "1.2.0", "1.10.0", "v1.9.0", "2.0.0-rc.1", "1.10.0-rc.1", "latest", "1.11", "01.2.3", ""]


@pytest.mark.parametrize(
    ("text", "newest"),
    [
        ("^1.2", "1.10.0"),
        (">= 1.2, < 1.10", "v1.9.0"),
        (">=1.2 <1.10", "v1.9.0"),
        ("~1.2.0", "1.2.0"),
        ("0.x || 1.2.x", "1.2.0"),
        (">=2.0.0-rc.0", "2.0.0-rc.1"),
        ("*", "1.10.0"),
        ("1.9.0", None),
        ("v1.9.0", "v1.9.0"),
        ("^3", None),
    ],
)
def test_the_newest_version_is_taken(text: str, newest: str | None) -> None:
    assert newest_version(VERSIONS, parse_chart_version(text)) == newest


@pytest.mark.parametrize(
    "text", ["", "newest", "!=1.2", "1.2.3.4", "^", " , ", "00 - 0", "1" * 201, ">=1.2 <"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_chart_version(text)


@given(st.text(alphabet="0123456789.^~<>=|x*- ,v+rc", max_size=30))
def test_any_text_is_a_version_a_range_or_an_error(text: str) -> None:
    try:
        wanted = parse_chart_version(text)
    except FormatError:
        return
    assert is_exact(wanted) or newest_version(VERSIONS, wanted) in (None, *VERSIONS)
