"""What airgap accepts of a changed tar is what GNU tar, Python's tarfile and Go's archive/tar read of it."""

from pathlib import Path

import pytest

from tests.judges.archives import SOURCE, by_gnu, by_go, by_python, differences, reading
from tests.judges.documents import build
from tests.judges.tar_mutants import mutants
from tests.judges.tar_seeds import seeds
from tests.support.parts import require_tool


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool("tar")
    return build(tmp_path_factory.mktemp("judge"), SOURCE)


def test_all_read_what_tools_write(judge: Path, tmp_path: Path) -> None:
    made = seeds(judge)
    for raw, by_its_judge in zip(made, by_go(judge, made), strict=True):
        assert reading(raw) == by_its_judge == by_python(raw)
        assert len(reading(raw)) >= 3
        assert by_gnu(raw, tmp_path)[0] == tuple((*entry[:4], "") for entry in by_its_judge)


def test_they_read_the_same_of_what_is_changed(judge: Path) -> None:
    accepted, found = differences(judge, mutants(seeds(judge), 10_000, seed=1), gnu=500)
    assert found == []
    assert accepted > 2_500
