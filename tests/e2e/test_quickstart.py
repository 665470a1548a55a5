"""`sh examples/quickstart.sh`, as somebody runs it who has just found it."""

import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.engines import Engine
from tests.support.waits import GENEROUS

REPOSITORY = Path(__file__).parents[2]
QUICKSTART = REPOSITORY / "examples" / "quickstart.sh"
NOBODY = "unix:///nonexistent/docker.sock"

pytestmark = pytest.mark.xdist_group("quickstart")  # one installation, for the engines too


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the quickstart makes its environment, once for all runs here."""
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def environment(place: Path) -> dict[str, str]:
    return {
        **os.environ,
        "QUICKSTART_DIR": str(place),
        "AIRGAP_HOME": str(place / "own"),
        "DOCKER_HOST": NOBODY,
    }


@pytest.fixture(scope="module")
def first(environment: dict[str, str]) -> str:
    """What the first run says."""
    return quickstart(environment)


def quickstart(environment: dict[str, str], code: int = 0) -> str:
    """All that it says; standard output and errors in one, as on a terminal."""
    done = subprocess.run(
        ["sh", QUICKSTART],
        env=environment,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=GENEROUS,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def served(text: str) -> tuple[str, int]:
    """The address of the registry that was served."""
    found = re.search(r" at http://([0-9.]+):(\d+) ", text)
    assert found, text
    return found[1], int(found[2])


def assert_stopped(address: tuple[str, int]) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5).close()


def test_without_an_engine(first: str, environment: dict[str, str], place: Path):
    assert "Installing airgap" in first
    assert "No Docker engine answers" in first
    assert "(exit code 12)" in first
    assert "error: wrong digest" in first
    assert "nothing to do" in first
    assert (
        "image: quickstart.example/demo/api:1.0@sha256:"
        in (place / "run" / "site" / "compose.yaml").read_text()
    )
    assert (place / "run" / "stick" / "stack-0001" / "bundle.dsse.json").exists()
    assert not Path(environment["AIRGAP_HOME"]).exists()
    assert_stopped(served(first))


def test_again_with_an_engine(first: str, environment: dict[str, str], docker28c: Engine):
    """The second run installs nothing, and removes its images from the engine."""
    said = quickstart(environment | {"DOCKER_HOST": docker28c.host})
    assert "Installing" not in said
    assert "A Docker engine answers" in said
    assert "quickstart.example/demo/web:1.0" in said
    assert docker28c.images() == []


def test_images_that_were_there_before_stay(environment: dict[str, str], docker28: Engine, tmp_path: Path):
    name = "quickstart.example/own:1"
    load(docker28, name, tmp_path)
    said = quickstart(environment | {"DOCKER_HOST": docker28.host}, code=1)
    assert f"has images under quickstart.example/ already: {name}" in said
    assert docker28.inspect(name)
    assert_stopped(served(said))


def load(engine: Engine, name: str, folder: Path) -> None:
    (folder / "root").mkdir()
    with tarfile.open(folder / "own.tar", "w") as tar:
        tar.add(folder / "root", "root")
    engine.docker("import", folder / "own.tar", name)


def test_an_interruption_stops_the_server(first: str, environment: dict[str, str]):
    process = subprocess.Popen(
        ["sh", QUICKSTART],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = ""
    while "ONLINE" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=GENEROUS)
    assert process.returncode == 130, rest
    assert "did not come to its end (exit code 130)" in rest
    assert_stopped(served(said))


def test_the_sample_images_are_the_same_on_every_run(tmp_path: Path):
    for name in ("one", "two"):
        subprocess.run(
            [sys.executable, "-I", REPOSITORY / "examples" / "sample_images.py", tmp_path / name], check=True
        )
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 14 + 2
