"""Fixtures for tests on real parts: each starts when a test first asks for it.

Engines live as long as the session and are empty at the start of each test; registries are new for each.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.airgap import Gap, make_gap
from tests.support.containerds import (
    RealContainerd,
    RealPodman,
    start_containerd2,
    start_containerd16,
    start_podman4,
    start_podman5,
)
from tests.support.engines import Engine, start_docker20, start_docker28
from tests.support.parts import require_tool, run
from tests.support.registries import RealRegistry
from tests.support.sid import Sid, sid_root
from tests.support.waits import wait_until

Tool = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """While tests/run.sh is still installing the roots of other systems, wait for them: before the time of the
    test begins.
    """
    path = os.environ.get("AIRGAP_TEST_ROOTS")
    if path and not Path(path).exists():
        wait_until(Path(path).exists, "tests/install.sh", limit=2 * 3600)
    return (yield)


@pytest.fixture
def gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gap:
    """Both sides, new for each test."""
    return make_gap(tmp_path, capsys)


@pytest.fixture(scope="session")
def session_docker20() -> Iterator[Engine]:
    with start_docker20() as engine:
        yield engine


@pytest.fixture(scope="session")
def session_docker28() -> Iterator[Engine]:
    with start_docker28(containerd_store=False) as engine:
        yield engine


@pytest.fixture(scope="session")
def session_docker28c() -> Iterator[Engine]:
    with start_docker28(containerd_store=True) as engine:
        yield engine


@pytest.fixture
def docker20(session_docker20: Engine) -> Engine:
    """Docker 20.10, classic store."""
    session_docker20.reset()
    return session_docker20


@pytest.fixture
def docker28(session_docker28: Engine) -> Engine:
    """Docker 28, classic store."""
    session_docker28.reset()
    return session_docker28


@pytest.fixture
def docker28c(session_docker28c: Engine) -> Engine:
    """Docker 28, containerd image store."""
    session_docker28c.reset()
    return session_docker28c


@pytest.fixture(scope="session")
def session_containerd16() -> Iterator[RealContainerd]:
    with start_containerd16() as containerd:
        yield containerd


@pytest.fixture(scope="session")
def session_containerd2() -> Iterator[RealContainerd]:
    with start_containerd2() as containerd:
        yield containerd


@pytest.fixture(params=["containerd16", "containerd2"])
def containerd(request: pytest.FixtureRequest) -> RealContainerd:
    """containerd 1.6 and 2.x; what earlier tests have put there stays, in namespaces of theirs."""
    return request.getfixturevalue(f"session_{request.param}")


@pytest.fixture(scope="session")
def session_podman4() -> Iterator[RealPodman]:
    with start_podman4() as podman:
        yield podman


@pytest.fixture(scope="session")
def session_podman5() -> Iterator[RealPodman]:
    with start_podman5() as podman:
        yield podman


@pytest.fixture(params=["podman4", "podman5"])
def podman(request: pytest.FixtureRequest) -> RealPodman:
    """podman 4.3 and 5.x, empty."""
    found = request.getfixturevalue(f"session_{request.param}")
    found.reset()
    return found


@pytest.fixture(params=["docker20", "docker28", "docker28c"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    """A plain registry, open to all."""
    with RealRegistry(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
def auth_registry(tmp_path: Path) -> Iterator[RealRegistry]:
    """A plain registry that asks for `user` and `password`."""
    with RealRegistry(tmp_path / "auth-registry", auth=True) as registry:
        yield registry


@pytest.fixture
def tls_registry(tmp_path: Path) -> Iterator[RealRegistry]:
    """A registry over TLS; `ca_file` is its CA."""
    with RealRegistry(tmp_path / "tls-registry", tls=True) as registry:
        yield registry


@pytest.fixture(scope="session")
def sid() -> Sid:
    """Runs a tool of Debian sid: `sid("crane", "digest", reference)`."""
    return Sid(sid_root())


@pytest.fixture(scope="session")
def skopeo() -> Tool:
    """Debian's own skopeo (1.9 on Debian 12)."""
    return partial(run, require_tool("skopeo"), "--insecure-policy")


@pytest.fixture(scope="session")
def openssl() -> Tool:
    return partial(run, require_tool("openssl"))
