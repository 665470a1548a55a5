"""What two years bring, month by month; each test asks one question about the state at the end."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from airgap.trust.keys import PublicKey
from tests.story.people import Calendar, Plant, Sender, Side, each_month, image_of

PASSPHRASE = "correct horse"
PLANTS = [f"plant-{number}" for number in range(1, 4)]
DESTINATIONS = f"destinations: [{', '.join(PLANTS)}]\n"
CLOSED = range(4, 8)
"""Versions that never come to plant-3, as the road is closed."""
MONTHS = each_month(date(2025, 1, 1), 24)


@dataclass
class World:
    """Everybody in the story, and the sticks in the drawer."""

    folder: Path
    calendar: Calendar
    headquarters: Sender
    plants: dict[str, Plant]
    sealed: dict[int, Path] = field(default_factory=dict)
    """The bundles of headquarters, by version."""

    def month(self, version: int, *words: object) -> None:
        """Headquarters makes the bundle of a month on a stick of its own."""
        self.calendar.go_to(MONTHS[version - 1])
        stick = self.folder / "sticks" / f"hq-{version:02d}"
        stick.mkdir(parents=True)
        self.sealed[version] = self.headquarters.pack(version, stick, *words)

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


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("years")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRGAP_PASSPHRASE", PASSPHRASE)
        patch.setenv("AIRGAP_HOME", "")
        calendar = Calendar(patch)
        hq = Sender(Side(folder / "hq"), "edge", "registry.hq.example/edge/api", DESTINATIONS)
        hq.side("init", "--site", "hq", "--owner", "hanna")
        plants = {name: Plant(Side(folder / name)) for name in PLANTS}
        for name, plant in plants.items():
            plant.side("trust", "install", hq.root, "--site", name, "--fingerprint", hq.fingerprint)
            hq.side("trust", "add-site", name, "--key", plant.key, "--keyid", plant.keyid)
        world = World(folder, calendar, hq, plants)
        live_2025(world)
        live_2026(world)
        yield world


def live_2025(world: World) -> None:
    world.month(1)
    world.deliver(1)
    world.come_home(1)
    world.ordinary(2, 3)
    world.ordinary(CLOSED[0], CLOSED[-1], "plant-1", "plant-2")
    world.ordinary(8, 8)
    world.month(9, "--since", "sites")
    world.plants["plant-2"].lose_the_disk()
    world.deliver(9, "plant-1", "plant-3")
    first, last = world.sealed[1], world.sealed[9]  # the first has expired since, and was accepted here
    refused = world.plants["plant-2"].load(last, first, code=14)
    assert "airgap load --back" in refused["error"]["hint"]
    world.plants["plant-2"].load(first, words=("--back", "--reason", "the disk was lost"))
    world.plants["plant-2"].load(last)
    world.come_home(9)
    world.month(10, "--since", "sites")
    world.deliver(10)  # the stick lies about until December
    world.month(11, "--since", "sites")
    world.deliver(11)
    world.come_home(11)
    world.come_home(11)  # twice by mistake
    world.come_home(10)
    world.ordinary(12, 12)


def live_2026(world: World) -> None:
    hq = world.headquarters.side
    world.calendar.go_to(date(2026, 1, 3))
    hq("key", "generate", "hanna-2")
    new = world.folder / "hanna-2.pub"
    new.write_text(hq("key", "show", "hanna-2").out)
    keyid = PublicKey.from_pem(new.read_bytes(), "hanna-2").keyid
    for words in (
        ("add", "hanna-2", "--key", new, "--keyid", keyid, "--role", "release", "--role", "root"),
        ("revoke", "hanna", "--after-serial", 12, "--signer", "hanna-2"),
    ):
        hq("trust", *words)
    world.ordinary(13, 24)


def test_every_plant_runs_what_it_was_sent_last(world: World) -> None:
    wanted = str(image_of(24).descriptor.digest)
    name = f"{world.headquarters.image}:stable"
    assert {plant.name: plant.runs(name) for plant in world.plants.values()} == dict.fromkeys(PLANTS, wanted)


def test_every_ledger_is_whole(world: World) -> None:
    for side in (world.headquarters.side, *(plant.side for plant in world.plants.values())):
        side("audit", "verify")


def test_the_report_names_what_each_bundle_became(world: World) -> None:
    found = world.headquarters.side("audit", "report", "--json").json
    assert found["alarms"] == []
    assert {sent["bundle"]: sent["state"] for sent in found["sent"]} == {
        f"edge-{version:04}": "superseded" if version in CLOSED else "received" for version in range(1, 25)
    }
