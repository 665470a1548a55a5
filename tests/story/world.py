"""Headquarters, two vendors and five plants, and what they do in a month."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import pytest
import time_machine

from airgap.bundle.medium import Medium
from airgap.trust.keys import PublicKey
from tests.story.people import Calendar, Plant, Sender, Side, each_month

PASSPHRASE = "correct horse"
PLANTS = [f"plant-{number}" for number in range(1, 6)]
DESTINATIONS = f"destinations: [{', '.join(PLANTS)}]\n"
MONTHS = each_month(date(2025, 1, 1), 24)


@dataclass
class World:
    """Everybody in the story, and the sticks in the drawer."""

    folder: Path
    calendar: Calendar
    headquarters: Sender
    acme: Sender
    """A vendor whose stream has the same name as that of headquarters."""
    bolt: Sender
    plants: dict[str, Plant]
    sealed: dict[int, Path] = field(default_factory=dict)
    """The bundles of headquarters, by version."""

    def month(self, version: int, *words: object) -> None:
        """Headquarters makes the bundle of a month on a stick of its own."""
        self.calendar.go_to(MONTHS[version - 1])
        self.make(version, *words)

    def make(self, version: int, *words: object) -> None:
        """Headquarters makes a bundle today."""
        self.sealed[version] = self.headquarters.pack(version, self.stick(f"HQ{version:04d}"), *words)

    def stick(self, name: str) -> Path:
        """A new stick with this serial."""
        path = self.folder / "sticks" / name
        path.mkdir(parents=True)
        return path

    def deliver(self, version: int, *names: str) -> None:
        """The stick goes from plant to plant."""
        for name in names or self.plants:
            self.calendar.wait(1)
            self.plants[name].load(self.sealed[version])

    def come_home(self, version: int) -> None:
        """The stick comes home with the receipts."""
        self.calendar.wait(1)
        self.headquarters.side("receipt", "import", self.sealed[version].parent)

    def ordinary(self, first: int, last: int, *names: str) -> None:
        """Months in which nothing happens."""
        for version in range(first, last + 1):
            self.month(version, "--since", "sites")
            self.deliver(version, *names)
            self.come_home(version)

    def from_vendor(self, vendor: Sender, version: int, *names: str) -> Path:
        """A vendor's bundle goes to some plants; its stick never comes back."""
        bundle = vendor.pack(version, self.stick(f"{vendor.side.home.name.upper()}{version:02d}"))
        for name in names:
            self.calendar.wait(1)
            self.plants[name].load(bundle)
        return bundle


def key_id(public: Path) -> str:
    """The id of a public key, as its owner reads it out over the phone."""
    return PublicKey.from_pem(public.read_bytes(), str(public)).keyid


@contextmanager
def new_world(folder: Path) -> Iterator[World]:
    """Everybody with keys and roots, on the second of January 2025."""
    with pytest.MonkeyPatch.context() as patch, time_machine.travel(0) as traveller:
        patch.setenv("AIRGAP_PASSPHRASE", PASSPHRASE)
        patch.setenv("AIRGAP_HOME", "")
        _sticks_have_serials(patch)
        calendar = Calendar(traveller)
        calendar.go_to(date(2025, 1, 2))
        hq = Sender(Side(folder / "hq"), "edge", "registry.hq.example/edge/api", DESTINATIONS)
        acme = Sender(Side(folder / "acme"), "edge", "registry.acme.example/press")
        bolt = Sender(Side(folder / "bolt"), "drives", "registry.bolt.example/drive")
        for sender, owner in ((hq, "hanna"), (acme, "amir"), (bolt, "bea")):
            sender.side("init", "--site", sender.side.home.name, "--owner", owner)
        plants = {name: Plant(Side(folder / name)) for name in PLANTS}
        for name, plant in plants.items():
            plant.side("trust", "install", hq.root, "--site", name, "--fingerprint", hq.fingerprint)
            hq.side("trust", "add-site", name, "--key", plant.key, "--keyid", key_id(plant.key))
        for vendor, customers in ((acme, ("plant-1", "plant-2", "plant-3")), (bolt, ("plant-3", "plant-4"))):
            names = f"{vendor.image.partition('/')[0]}/*"
            for customer in customers:
                plants[customer].side(
                    "trust", "install", vendor.root, "--fingerprint", vendor.fingerprint,
                    "--sender", vendor.side.home.name, "--names", names,
                )  # fmt: skip
        yield World(folder, calendar, hq, acme, bolt, plants)


def _sticks_have_serials(patch: pytest.MonkeyPatch) -> None:
    """Folders in `sticks/` say that they are sticks."""
    real = Medium.of

    def described(path: Path, *rest: object) -> Medium:
        found = real(path, *rest)  # type: ignore[arg-type]
        parts = Path(path).parts
        if "sticks" not in parts:
            return found
        serial = parts[parts.index("sticks") + 1]
        return replace(found, vendor="SanDisk", product="Ultra", serial=serial, label=serial)

    patch.setattr(Medium, "of", described)
