"""What `airgap serve --snippets` shows, put into real clients: they pull by the images' own names."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_serve import BIG, HELLO, IMAGES
from tests.support.containerds import RealContainerd
from tests.support.engines import Engine, start_docker20, start_docker28
from tests.support.images import write_layout

HUB, OTHER = "docker.io/library/hello:1", "ghcr.io/acme/big:1"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What the running command has told."""
    layout = write_layout(tmp_path / "layout", {name: IMAGES[name] for name in (HUB, OTHER)})
    command = ["-m", "airgap", "serve", str(layout), "--port", "0", "--snippets", "all", "--json", "--quiet"]
    environment = {**os.environ, "AIRGAP_HOME": str(tmp_path / "home")}
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, env=environment) as process:
        try:
            lines = iter(process.stdout.readline, b"}\n")
            yield json.loads(b"".join([*lines, b"}"]))
        finally:
            process.terminate()


def contents(served: dict[str, Any], client: str) -> dict[str, str]:
    return {each["path"]: each["content"] for each in served["snippets"] if each["client"] == client}


@pytest.mark.parametrize(
    "start", [start_docker20, partial(start_docker28, containerd_store=True)], ids=["20", "28"]
)
def test_docker(served: dict[str, Any], start) -> None:
    """Docker Hub's names through the mirror, others by the server's own."""
    [settings] = contents(served, "docker").values()
    engine: Engine
    with start(settings=json.loads(settings)) as engine:
        engine.docker("pull", HUB)
        engine.docker("pull", f"{served['address']}/{OTHER}")
        found = engine.inspect("hello:1")["Id"]
        assert found == str(HELLO.descriptor.digest if "containerd" in engine.kind else HELLO.config)
        assert len(engine.images()) == 2


def test_containerd(served: dict[str, Any], containerd: RealContainerd, tmp_path: Path) -> None:
    for path, content in contents(served, "containerd").items():
        place = tmp_path / "certs.d" / Path(path).relative_to("/etc/containerd/certs.d")
        place.parent.mkdir(parents=True)
        place.write_text(content)
    for name in (HUB, OTHER):
        containerd.ctr("snippets", "images", "pull", "--hosts-dir", tmp_path / "certs.d", name)
    digests = {HUB: str(HELLO.descriptor.digest), OTHER: str(BIG.descriptor.digest)}
    assert containerd.names("snippets") == digests
    assert containerd.whole("snippets") == set(digests)
