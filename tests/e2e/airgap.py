"""The two sides of a gap, worked through the command line as people work it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airgap.cli.main import main

PASSPHRASE = "correct horse"


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Side:
    """One side: a home of its own."""

    home: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: object, code: int = 0) -> Answer:
        """Run a command here with `--json`, and expect its exit code."""
        self.capture.readouterr()
        with environment(AIRGAP_HOME=str(self.home), AIRGAP_PASSPHRASE=PASSPHRASE):
            found = main([str(word) for word in words] + ["--json"])
        out, err = self.capture.readouterr()
        assert found == code, err
        return Answer(found, out, err)


@dataclass(frozen=True)
class Gap:
    """A sending and a receiving side that trusts it."""

    online: Side
    offline: Side
    folder: Path

    def pack(self, manifest: str, *words: object, code: int = 0) -> Path:
        """Pack a manifest's text; the folder of the bundle."""
        path = self.folder / "stack.yaml"
        path.write_text(manifest)
        answer = self.online("pack", path, "--to", self.folder / "stick", *words, code=code)
        return Path(answer.json["bundle"]) if code == 0 else self.folder


@contextmanager
def environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def make_gap(folder: Path, capture: pytest.CaptureFixture[str]) -> Gap:
    """Both sides, set up as README says."""
    online, offline = Side(folder / "online", capture), Side(folder / "offline", capture)
    made = online("init", "--owner", "alice", "--site", "hq").json
    offline("trust", "install", made["root"], "--site", "plant-7", "--fingerprint", made["fingerprint"])
    return Gap(online, offline, folder)


def introduce(gap: Gap) -> None:
    """Let the sending side's trust root know the receiving site."""
    own = gap.offline("key", "list").json["site"]
    gap.online(
        "trust", "add-site", own["site"], "--key", gap.offline.home / "site.pub", "--keyid", own["keyid"]
    )


def manifest_of(*images: str, platforms: str = "all") -> str:
    """A manifest's text; with `platforms` empty, the default is left to airgap."""
    lines = ["version: 1", "name: stack"]
    if platforms:
        lines.append(f"platforms: [{platforms}]")
    return "\n".join([*lines, "images:", *(f"  - {image}" for image in images), ""])
