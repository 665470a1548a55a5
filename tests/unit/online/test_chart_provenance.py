"""Provenance files of charts: one valid signature of a known key, about exactly this chart."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AirgapError, FormatError, SignatureMismatchError, UnavailableError, UnknownKeyError
from airgap.online.chart_provenance import check_provenance
from airgap.online.read_chart import ReadChart
from tests.support.parts import require

FILES = Path(__file__).parents[2] / "support" / "provenance"
GOOD = FILES / "good.gpg"


def chart(provenance: str = "good") -> ReadChart:
    """The chart, with one of the provenance files."""
    archive = (FILES / "demo-1.0.0.tgz").read_bytes()
    raw = (FILES / f"{provenance}.prov").read_bytes()
    return ReadChart(name="demo", version="1.0.0", archive=archive, provenance=raw, where="demo.tgz")


@pytest.fixture(autouse=True)
def _gpgv() -> None:
    require(shutil.which("gpgv") is not None, "no gpgv")


def test_the_key_of_a_valid_signature_is_reported() -> None:
    fingerprint = check_provenance(chart(), GOOD)
    assert len(fingerprint) == 40
    assert check_provenance(chart("other"), FILES / "other.gpg") != fingerprint


BAD = {
    "another key": ("other", GOOD, UnknownKeyError, "the keyring does not have the key"),
    "an expired key": ("expired", FILES / "expired.gpg", SignatureMismatchError, "the key has expired"),
    "a key in armor": ("good", FILES / "good.asc", UnknownKeyError, "the keyring does not have the key"),
    "two signatures": ("two", GOOD, UnknownKeyError, "the keyring does not have the key"),
    "another version": ("version", GOOD, SignatureMismatchError, "is about another chart"),
    "another name": ("name", GOOD, SignatureMismatchError, "is about another chart"),
    "another sum": ("sum", GOOD, SignatureMismatchError, "has another sum"),
    "no sums": ("no-sums", GOOD, FormatError, "not a provenance file of Helm"),
    "no keyring": ("good", FILES / "none.gpg", FormatError, "no such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_prove_the_chart_is_refused(case: str) -> None:
    name, keyring, error, message = BAD[case]
    with pytest.raises(error) as caught:
        check_provenance(chart(name), keyring)
    assert message in str(caught.value)
    assert (caught.value.hint or "").startswith("gpgv needs a binary") == (keyring.suffix == ".asc")


def test_two_signatures_are_refused_even_if_both_keys_are_known(tmp_path: Path) -> None:
    keyring = tmp_path / "both.gpg"
    keyring.write_bytes(GOOD.read_bytes() + (FILES / "other.gpg").read_bytes())
    assert check_provenance(chart(), keyring)
    with pytest.raises(SignatureMismatchError) as caught:
        check_provenance(chart("two"), keyring)
    assert "is not valid" in str(caught.value)


def test_another_archive_under_a_valid_provenance_file_is_refused() -> None:
    with pytest.raises(SignatureMismatchError) as caught:
        check_provenance(replace(chart(), archive=b"another"), GOOD)
    assert "has another sum" in str(caught.value)


def test_text_around_the_signed_text_does_not_count() -> None:
    raw = (FILES / "sum.prov").read_bytes()
    sums = (FILES / "good.prov").read_bytes().partition(b"\n\n")[2].partition(b"-----BEGIN PGP SIG")[0]
    for changed in (sums + raw, raw + sums):
        with pytest.raises(AirgapError):
            check_provenance(replace(chart(), provenance=changed), GOOD)


def test_without_gpgv_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError) as caught:
        check_provenance(chart(), GOOD)
    assert "gpgv is not installed" in str(caught.value)


@settings(max_examples=15, deadline=None)
@given(st.integers(40, 400), st.binary(min_size=1, max_size=4))
def test_a_changed_file_is_the_same_text_or_an_error(at: int, new: bytes) -> None:
    raw = (FILES / "good.prov").read_bytes()
    try:
        check_provenance(replace(chart(), provenance=raw[:at] + new + raw[at + len(new) :]), GOOD)
    except AirgapError:
        return
