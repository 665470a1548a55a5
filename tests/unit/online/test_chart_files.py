"""The index of a repository and the archive of a chart: whatever they are, the answer is a chart or an error."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AirgapError, FormatError
from airgap.limits import MAX_CHART_INDEX_BYTES
from airgap.oci.digest import Digest
from airgap.online.chart_files import IndexedChart, find_in_index, read_metadata
from tests.support.images import tar_of

SUM = "0" * 64
INDEX = f"entries:\n  demo:\n  - version: 1.0.0\n    digest: {SUM}\n    urls: [a.tgz, b.tgz]\n"
CHART = gzip.compress(tar_of({"demo/Chart.yaml": b"name: demo\nversion: 1.0.0\nkeywords: [a]\n"}), mtime=0)


def test_the_first_address_is_taken():
    assert find_in_index(INDEX.encode(), "x", "demo", "1.0.0") == IndexedChart(
        "a.tgz", Digest("sha256", SUM), "1.0.0"
    )
    assert (
        find_in_index(INDEX.replace(f"    digest: {SUM}\n", "").encode(), "x", "demo", "1.0.0").digest is None
    )


def test_only_text_is_metadata():
    assert read_metadata(CHART, "x", "demo", "1.0.0") == {"name": "demo", "version": "1.0.0"}


def test_a_large_index_is_refused_before_it_is_parsed():
    with pytest.raises(FormatError) as caught:
        find_in_index(b"[" * (MAX_CHART_INDEX_BYTES + 1), "x", "demo", "1.0.0")
    assert "too large" in str(caught.value)


def test_a_deep_index_is_refused():
    with pytest.raises(FormatError) as caught:
        find_in_index(b"[" * 100, "x", "demo", "1.0.0")
    assert "nested too deeply" in str(caught.value)
    with pytest.raises(FormatError):
        find_in_index(b"[" * 1_000_000, "x", "demo", "1.0.0")


@settings(max_examples=40)
@given(st.integers(0, len(INDEX) - 1), st.binary(max_size=6))
def test_a_changed_index_is_a_chart_or_an_error(at, new):
    raw = INDEX.encode()
    try:
        found = find_in_index(raw[:at] + new + raw[at + len(new) :], "x", "demo", "1.0.0")
    except AirgapError:
        return
    assert isinstance(found.location, str)


@settings(max_examples=40)
@given(st.integers(0, len(CHART) - 1), st.binary(min_size=1, max_size=6))
def test_a_changed_archive_is_the_chart_or_an_error(at, new):
    try:
        found = read_metadata(CHART[:at] + new + CHART[at + len(new) :], "x", "demo", "1.0.0")
    except AirgapError:
        return
    assert (found["name"], found["version"]) == ("demo", "1.0.0")
