import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Gap, Side
from tests.support.cut import make_cut


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cut(tmp_path_factory.mktemp("cut"))


@pytest.fixture
def gap(template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gap:
    """Both sides, three volumes, and a whole copy, to be spoilt."""
    folder = tmp_path / "gap"
    shutil.copytree(template, folder)
    return Gap(folder, Side(folder / "hq", capsys), Side(folder / "plant", capsys))


@pytest.fixture(scope="session")
def shared(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "gap"
    shutil.copytree(template, folder)
    return folder


@pytest.fixture
def sound(shared: Path, capsys: pytest.CaptureFixture[str]) -> Gap:
    """The same, for tests that only read, and write to the ledgers."""
    return Gap(shared, Side(shared / "hq", capsys), Side(shared / "plant", capsys))
