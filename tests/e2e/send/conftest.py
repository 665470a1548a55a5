"""The bundle that is sent, a site that sends it, a small disk, and an agent."""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from airgap.site import now
from tests.e2e.airgap import Side
from tests.e2e.send.world import MIB, SIZES, World
from tests.support.bundles import Gap, make_gap
from tests.support.images import Layer, make_image, noise
from tests.support.parts import require_root, require_tool, run
from tests.support.sshd import make_key


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    layers = [Layer.of({"noise": noise(size * MIB - 2048, size)}, "none") for size in SIZES]
    images = {"registry.test/large:1": make_image(layers)}
    return make_gap(tmp_path_factory.mktemp("sealed"), images=images, now=now())


@pytest.fixture
def world(sealed: Gap, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    require_root()
    tmp_path.chmod(0o755)
    shutil.copytree(sealed.folder / "online", tmp_path / "online")
    (tmp_path / "known_hosts").touch()
    key = make_key(tmp_path / "id")
    with ExitStack() as stack:
        yield World(tmp_path, sealed, Side(tmp_path / "online", capsys), key, tmp_path / "known_hosts", stack)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    require_root()
    folder = tmp_path / "disk"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder)
    yield folder
    run("umount", folder)


@pytest.fixture
def agent(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """An empty ssh-agent; its process."""
    started = run(require_tool("ssh-agent"), "-s", "-a", world.folder / "agent").stdout.decode()
    pid = int(re.search(r"SSH_AGENT_PID=(\d+)", started)[1])
    monkeypatch.setenv("SSH_AUTH_SOCK", str(world.folder / "agent"))
    monkeypatch.delenv("DISPLAY", raising=False)
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
