"""One sealed bundle for the tests of these rooms, and a copy of it for each."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.carry.verify import VerifiedBundle, verify
from tests.support.bundles import Gap, make_gap
from tests.support.cut import cut_in_thirds


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    return make_gap(tmp_path_factory.mktemp("sealed"))


@pytest.fixture
def gap(sealed: Gap, tmp_path: Path) -> Gap:
    return sealed.copy(tmp_path / "gap")


@pytest.fixture
def bundle(gap: Gap) -> Iterator[VerifiedBundle]:
    with Folder(gap.bundle) as folder:
        yield verify(folder, gap.receiver())


@pytest.fixture(scope="session")
def thirds(sealed: Gap, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The three volumes of the sealed bundle, for tests that only read them."""
    return cut_in_thirds(sealed, tmp_path_factory.mktemp("thirds"))


@pytest.fixture
def volumes(thirds: list[Path], gap: Gap) -> list[Path]:
    return [shutil.copytree(path, gap.folder / "cut" / path.name) for path in thirds]
