"""A sending and a receiving side, worked in this process through the command line."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airgap.cli.main import main
from airgap.site import now
from tests.support import bundles
from tests.support.cut import make_sites
from tests.support.harms import IMAGES
from tests.support.images import Image, simple_image, write_layout
from tests.support.json_schema import faults, schema_for

if TYPE_CHECKING:
    from tests.cli.sender_support import Load, Vendor

PASSPHRASE = "correct horse"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout."""
        return json.loads(self.out)


def _check_json(words: tuple[str, ...], value: Any) -> None:
    """Every output is as its schema says, also that of a command that fails."""
    if (schema := schema_for(words[:3])) is not None:
        assert list(faults(value, schema)) == []


@dataclass(frozen=True)
class Side:
    """One side: a home of its own."""

    home: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: object, code: int = 0) -> Done:
        """Run a command here, and expect its exit code."""
        self.capture.readouterr()
        os.environ["AIRGAP_HOME"] = str(self.home)
        found = main([str(word) for word in words])
        done = Done(found, *self.capture.readouterr())
        assert found == code, done
        if "--json" in words and done.out:
            _check_json(tuple(map(str, words)), done.json)
        return done

    def records(self) -> list[dict[str, Any]]:
        """The ledger's lines."""
        path = self.home / "ledger.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def ended(self) -> tuple[str, str, int]:
        """Event, result and exit code of the last record, which is the end of an attempt."""
        last = self.records()[-1]
        assert last["phase"] == "end"
        return last["event"], last["result"], last["exit_code"]


@dataclass(frozen=True)
class Gap:
    """A sending side, and a receiving one that trusts it."""

    folder: Path
    online: Side
    offline: Side

    @property
    def stick(self) -> Path:
        return self.folder / "stick"

    def manifest(self, *images: str, name: str = "stack", head: str = "") -> Path:
        """A manifest file of these entries."""
        path = self.folder / f"{name}.yaml"
        entries = "".join(f"  - {image}\n" for image in images)
        path.write_text(f"version: 1\nname: {name}\n{head}images:\n{entries}")
        return path

    def layout(self, **images: Image) -> Path:
        """A manifest over an OCI layout that holds these as `example.com/NAME:1`."""
        named = {f"example.com/{name}:1": image for name, image in images.items()}
        write_layout(self.folder / "source", named)
        return self.manifest(*(f"{{oci: source, ref: {name}}}" for name in named))

    def pack(self, *words: object) -> Path:
        """The folder of a bundle of two small images."""
        path = self.layout(api=simple_image("api"), web=simple_image("web"))
        self.online("pack", path, "--to", self.stick, *words)
        return self.stick / "stack-0001"


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(autouse=True)
def passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    # Restored at the end of the test, whatever Side makes of it meanwhile.
    monkeypatch.setenv("AIRGAP_HOME", "")
    monkeypatch.setenv("AIRGAP_PASSPHRASE", PASSPHRASE)


@pytest.fixture
def fresh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Side:
    """A side where nothing is set up."""
    return Side(tmp_path / "fresh", capsys)


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sites")
    make_sites(folder)
    return folder


@pytest.fixture
def gap(sites: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gap:
    """Both sides as they were set up."""
    for name in ("hq", "plant"):
        shutil.copytree(sites / name, tmp_path / name)
    return Gap(tmp_path, Side(tmp_path / "hq", capsys), Side(tmp_path / "plant", capsys))


@pytest.fixture
def bob(gap: Gap, fresh: Side) -> Side:
    """A second person elsewhere, with the same root."""
    shown = gap.online("trust", "show", "--json").json
    root = gap.online.home / "trust" / "1.root.json"
    fresh("trust", "install", root, "--site", "lab", "--fingerprint", shown["fingerprint"])
    return fresh


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> bundles.Gap:
    """The bundle that tables of damage and lies are about."""
    return bundles.make_gap(tmp_path_factory.mktemp("sealed"), images=IMAGES, now=now())


@pytest.fixture
def acme(gap: Gap) -> "Vendor":
    from tests.cli.sender_support import Vendor

    vendor = Vendor(gap, "acme")
    gap.offline(*vendor.install, *vendor.names)
    return vendor


@pytest.fixture
def volt(gap: Gap) -> "Vendor":
    from tests.cli.sender_support import Vendor

    vendor = Vendor(gap, "volt")
    gap.offline(*vendor.install, *vendor.names)
    return vendor


@pytest.fixture
def load(gap: Gap) -> "Load":
    def run(bundle: Path, *words: object, code: int = 0) -> Done:
        return gap.offline("load", bundle, "--to", f"oci:{gap.folder / 'target'}", *words, code=code)

    return run
