import shutil
import sys
import venv
from pathlib import Path

import pytest

from airgap.kit import install as installer
from airgap.kit.install import main
from tests.support.kits import make_small_kit


@pytest.fixture(autouse=True)
def _few_processes(pip_once, monkeypatch) -> None:
    """Pip and venv take half a second for each kit and each installation: one runs once, the other in this process."""
    run, python = installer._run, sys.executable

    def run_or_call(*words: str, tmp: Path | None = None) -> None:
        if words[:-1] == (python, "-I", "-m", "venv", "--without-pip"):
            venv.create(words[-1], symlinks=True)
        else:
            run(*words, tmp=tmp)

    monkeypatch.setattr(installer, "_run", run_or_call)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kit")
    make_small_kit(folder)
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch) -> Path:
    """A copy of the sending side, to be spoilt: home, wheels, stick."""
    shutil.copytree(made, tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def kit(place, monkeypatch) -> Path:
    [kit] = (place / "stick").iterdir()
    monkeypatch.setattr(installer, "__file__", str(kit / "install.py"))
    return kit


@pytest.fixture
def key(place) -> Path:
    return place / "home" / "keys" / "alice.pub"


@pytest.fixture
def run(kit, tmp_path, capsys):
    """Runs the installer into `tmp_path`/prefix: exit code, and all that it says."""

    def run(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["--prefix", str(tmp_path / "prefix"), *map(str, words)])
        return code, "".join(capsys.readouterr())

    return run
