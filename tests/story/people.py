"""The people of the story: what they can do with airgap, a stick and a clock."""

import contextlib
import io
import json
import os
import shutil
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import time_machine

from airgap.cli.main import main
from airgap.endpoints.layout import Layout
from airgap.oci.reference import ImageReference
from airgap.site import Site
from tests.support.images import Image, Layer, make_image, noise, write_layout

BASE = {"base": noise(40_000, 1)}
"""The files of the layer that all images have."""

Clock = time_machine.Traveller


def image_of(version: int) -> Image:
    """An image of which only the last layer differs between versions."""
    return make_image([Layer.of(BASE), Layer.of({"version": str(version).encode()})])


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Side:
    """One home. Its commands print nothing here, because the story is told in a fixture of a module."""

    home: Path

    def __call__(self, *words: object, code: int = 0) -> Done:
        """Run a command, and expect its exit code."""
        out, err = io.StringIO(), io.StringIO()
        os.environ["AIRGAP_HOME"] = str(self.home)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            found = main([str(word) for word in words])
        done = Done(found, out.getvalue(), err.getvalue())
        assert found == code, (words, done)
        return done

    def lose_home(self) -> None:
        """The machine's disk fails."""
        shutil.rmtree(self.home)


@dataclass(frozen=True)
class Sender:
    """A side that makes bundles of one stream."""

    side: Side
    stream: str
    image: str
    options: str = ""

    @property
    def root(self) -> Path:
        """The newest trust root, as it is published."""
        site = Site(self.side.home)
        return site.home / "trust" / f"{max(site.roots())}.root.json"

    @property
    def fingerprint(self) -> str:
        return str(self.side("trust", "show", "--json").json["fingerprint"])

    def manifest(self, version: int) -> Path:
        folder = self.side.home.parent / f"{self.side.home.name}-source"
        name = f"{self.image}:{version}"
        write_layout(folder, {name: image_of(version)})
        path = folder.with_suffix(".yaml")
        entry = f"  - {{oci: {folder.name}, ref: '{name}', as: '{self.image}:stable'}}\n"
        path.write_text(f"version: 1\nname: {self.stream}\n{self.options}images:\n{entry}")
        return path

    def pack(self, version: int, stick: Path, *words: object) -> Path:
        made = self.side("pack", self.manifest(version), "--to", stick, "--json", *words).json
        return Path(made["bundle"])


@dataclass
class Plant:
    """A site that loads what arrives, and its target."""

    side: Side
    target: Path = field(init=False)

    def __post_init__(self) -> None:
        self.target = self.side.home.with_name(f"{self.side.home.name}-images")

    @property
    def name(self) -> str:
        return self.side.home.name

    @property
    def key(self) -> Path:
        return self.side.home / "site.pub"

    def load(self, *bundles: Path, words: tuple[object, ...] = (), code: int = 0) -> Any:
        done = self.side("load", *bundles, "--to", f"oci:{self.target}", "--json", *words, code=code)
        return done.json if done.out else done.err

    def runs(self, name: str) -> str:
        """The digest that a name has at the target."""
        return str(Layout(self.target).find(ImageReference.parse(name)))

    def lose_the_disk(self) -> None:
        shutil.rmtree(self.target)


@dataclass
class Calendar:
    """The clock of everybody in the story."""

    traveller: Clock
    day: date = date(2025, 1, 6)

    def now(self) -> datetime:
        return datetime(self.day.year, self.day.month, self.day.day, 9, 14, tzinfo=UTC)

    def go_to(self, day: date) -> None:
        self.day = day
        self.traveller.move_to(self.now(), tick=False)

    def wait(self, days: int) -> None:
        self.go_to(self.day + timedelta(days=days))


def each_month(start: date, months: int) -> list[date]:
    """The first Monday of each month."""
    days = []
    for number in range(months):
        first = date(start.year + (start.month - 1 + number) // 12, (start.month - 1 + number) % 12 + 1, 1)
        days.append(first + timedelta(days=-first.weekday() % 7))
    return days
