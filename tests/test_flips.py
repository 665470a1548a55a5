"""Every bit counts: of envelope, statement, roots, receipt, sums, signatures, ledger and volume table."""

from pathlib import Path

from tests.flips import accepted, subjects


def step(name: str) -> int:
    """Of the bytes under a digest fewer are changed: nothing but the digest looks at them."""
    return 61 if name.startswith("blobs/") else 13


def test_no_flip_and_no_truncation_is_accepted(tmp_path: Path) -> None:
    """Every 13th bit and length, so that each bit of a byte has its turn; `python -m tests.flips` takes all."""
    found = {subject.name: accepted(subject, step(subject.name)) for subject in subjects(tmp_path)}
    assert [name for _, wrong in found.values() for name in wrong] == []
    assert {"bundle.dsse.json", "SHA256SUMS", "trust/2.root.json", "receipt", "ledger"} < found.keys()
    assert sum(count for count, _ in found.values()) > 12_000
