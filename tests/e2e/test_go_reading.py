"""What airgap accepts of a changed image document is what Go's encoding/json reads of it."""

from pathlib import Path

from tests.judges.documents import build, differences, documents


def test_go_reads_the_same(tmp_path: Path) -> None:
    accepted, found = differences(build(tmp_path), documents(20_000, seed=1))
    assert found == []
    assert accepted > 2_000
