from collections.abc import Iterator
from pathlib import Path

import pytest

from airgap.endpoints.layout import Layout
from airgap.endpoints.server import ImageServer
from tests.support.daemon import Daemon
from tests.support.images import write_layout
from tests.unit.endpoints.layout_support import API, IMAGE
from tests.unit.endpoints.server_support import NAMES


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("layout"), NAMES)


@pytest.fixture(scope="module")
def server(layout: Path) -> Iterator[ImageServer]:
    """For tests that change nothing."""
    with ImageServer([Layout(layout)], idle_timeout=60) as server:
        yield server


@pytest.fixture
def own_layout(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "layout", NAMES)


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def own_server(own_layout: Path, log: list[str]) -> Iterator[ImageServer]:
    with ImageServer([Layout(own_layout)], log=log.append, idle_timeout=60) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An OCI folder of one image."""
    return write_layout(tmp_path / "layout", {str(API): IMAGE})


@pytest.fixture
def daemon(tmp_path) -> Iterator[Daemon]:
    with Daemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def containerd(tmp_path) -> Iterator[Daemon]:
    with Daemon(tmp_path, containerd=True) as daemon:
        yield daemon
