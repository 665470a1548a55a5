"""What two years bring, month by month; each test asks one question about the state at the end."""

import functools
from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.e2e.test_page import AXE
from tests.story.people import image_of
from tests.story.world import PLANTS, World, key_id, new_world
from tests.support.chromium import Page, start_chromium
from tests.support.parts import require_tool, run

pytestmark = pytest.mark.e2e

REASON = "CHG-91: the api leaks its log"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch, new_world(tmp_path_factory.mktemp("years")) as made:
        patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
        live_2025(made)
        live_2026(made)
        yield made


def live_2025(world: World) -> None:
    hq, plants = world.headquarters.side, world.plants
    world.month(1)
    world.deliver(1)
    world.come_home(1)
    world.from_vendor(world.acme, 1, "plant-1", "plant-2", "plant-3")
    world.ordinary(2, 3)
    world.ordinary(4, 5, "plant-1", "plant-2", "plant-3", "plant-4")  # the road to plant-5 is closed
    world.from_vendor(world.bolt, 1, "plant-3", "plant-4")
    world.ordinary(6, 7, "plant-1", "plant-2", "plant-3", "plant-4")
    world.ordinary(8, 8)
    world.month(9, "--since", "sites")
    plants["plant-2"].lose_the_disk()
    world.deliver(9, "plant-1", "plant-3", "plant-4", "plant-5")
    first, last = world.sealed[1], world.sealed[9]  # the first has expired since, and was accepted here
    refused = plants["plant-2"].load(last, first, code=14)
    assert "airgap load --back" in refused["error"]["hint"]
    plants["plant-2"].load(first, words=("--back", "--reason", "the disk was lost"))
    plants["plant-2"].load(last)
    world.come_home(9)
    world.month(10, "--since", "sites")
    world.deliver(10)  # the stick is forgotten in a drawer until November
    world.month(11, "--since", "sites")
    world.deliver(11)
    world.come_home(11)
    world.come_home(11)  # twice by mistake
    world.come_home(10)
    world.ordinary(12, 12)
    hq("audit", "medium", "lost", "HQ0012", "--reason", "left in a taxi")


def live_2026(world: World) -> None:
    hq, plants = world.headquarters.side, world.plants
    world.calendar.go_to(date(2026, 1, 3))
    replace_key(world)
    world.ordinary(13, 15)
    world.month(16, "--since", "sites")
    world.deliver(16, "plant-1", "plant-2", "plant-3")
    world.come_home(16)
    hq("recall", "edge-0016", "--reason", REASON)
    refused = plants["plant-4"].load(world.sealed[16])  # its stick is older than the recall
    assert refused["bundle"]
    world.make(17, "--since", "sites")
    world.deliver(17)
    assert "RECALLED" in plants["plant-1"].side("inspect", world.sealed[16]).out
    assert REASON in plants["plant-1"].load(world.sealed[16], code=13)["error"]["message"]
    world.come_home(17)
    world.come_home(16)
    bundle = world.from_vendor(world.acme, 2, "plant-1", "plant-2")
    world.acme.side("recall", "edge-0002", "--reason", "ACME-7: wrong firmware")
    plants["plant-1"].side("trust", "install", world.acme.root, "--sender", "acme")
    plants["plant-1"].load(bundle, code=13)
    plants["plant-2"].load(bundle)  # nobody has told it
    world.ordinary(18, 19)
    plants["plant-3"].load(world.sealed[18], words=("--back", "--reason", "CHG-104: 19 crashes here"))
    world.come_home(19)
    world.ordinary(20, 20)
    backup = world.folder / "hq.backup"
    hq("backup", backup)
    hq.lose_home()
    hq("restore", backup)
    world.ordinary(21, 22)
    hq("trust", "rotate")
    world.ordinary(23, 23)
    world.month(24, "--since", "sites")
    world.deliver(24, "plant-1", "plant-2", "plant-3", "plant-4")  # snow before plant-5
    world.come_home(24)
    world.calendar.go_to(date(2026, 12, 31))


def replace_key(world: World) -> None:
    """Hanna gets a new key; what the old one signed until now stays valid."""
    hq = world.headquarters.side
    hq("key", "generate", "hanna-2")
    public = world.folder / "hanna-2.pub"
    public.write_text(hq("key", "show", "hanna-2").out)
    roles = ("--role", "release", "--role", "root")
    hq("trust", "add", "hanna-2", "--key", public, "--keyid", key_id(public), *roles)
    hq("trust", "revoke", "hanna", "--after-serial", 12, "--signer", "hanna-2")


def test_every_plant_runs_what_it_was_sent_last(world: World) -> None:
    name = f"{world.headquarters.image}:stable"
    wanted = {plant: image_of(23 if plant == "plant-5" else 24) for plant in PLANTS}
    assert {plant.name: plant.runs(name) for plant in world.plants.values()} == {
        plant: str(image.descriptor.digest) for plant, image in wanted.items()
    }


def test_every_ledger_is_whole(world: World) -> None:
    for side in (world.headquarters.side, *(plant.side for plant in world.plants.values())):
        side("audit", "verify")


@pytest.fixture(scope="module")
def report(world: World) -> dict[str, Any]:
    """What headquarters knows."""
    found: dict[str, Any] = world.headquarters.side("audit", "report", "--json").json
    return found


def test_headquarters_knows_how_each_bundle_ended(report: dict[str, Any]) -> None:
    states = {int(sent["bundle"][-4:]): sent["state"] for sent in report["sent"]}
    unusual = dict.fromkeys(range(4, 8), "superseded") | {16: "recalled", 24: "overdue"}
    assert states == dict.fromkeys(range(1, 25), "received") | unusual
    assert report["alarms"] == []


def test_headquarters_knows_who_is_missing_and_what_is_lost(report: dict[str, Any]) -> None:
    last = next(sent for sent in report["sent"] if sent["bundle"] == "edge-0024")
    assert last["missing"] == ["plant-5"]
    [lost] = report["lost_media"]
    assert [bundle["bundle"] for bundle in lost["bundles"]] == ["edge-0012"]
    assert lost["bundles"][0]["confirmed_by"] == PLANTS


def test_vendors_are_kept_apart(world: World) -> None:
    """Both have a stream `edge`; a vendor's recall says nothing about the bundles of headquarters."""
    plant = world.plants["plant-1"].side
    alarms = plant("audit", "report", "--json").json["alarms"]
    assert [alarm.partition(" (")[0] for alarm in alarms] == [
        "edge-0002 is recalled: ACME-7: wrong firmware",
        "15 Apr 2026, 09:14 UTC: load refused",
        "19 Apr 2026, 09:14 UTC: load acme refused",
    ]
    senders = plant("trust", "list", "--json").json["senders"]
    assert [(s["sender_name"], s["streams"][0]["serial"]) for s in senders] == [("default", 24), ("acme", 2)]


@pytest.fixture(scope="module")
def page(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page that the officer of headquarters signs."""
    folder = tmp_path_factory.mktemp("page")
    path = folder / "page.html"
    world.headquarters.side("audit", "report", "--html", path)
    with start_chromium(folder) as browser:
        browser.open(path)
        yield browser


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_accessible(page: Page, dark: bool, tmp_path: Path) -> None:
    page.look(1280, 900, dark=dark)
    (tmp_path / "page.png").write_bytes(page.picture())
    page.evaluate(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8") + "; null")
    assert page.evaluate(AXE)["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_every_sheet_of_paper_has_the_root_of_the_ledger(page: Page, world: World, tmp_path: Path) -> None:
    path = tmp_path / "page.pdf"
    path.write_bytes(page.pdf())
    sheets = run(require_tool("pdftotext"), "-layout", path, "-").stdout.decode().split("\f")[:-1]
    root = world.headquarters.side("audit", "verify", "--json").json["root"]
    assert len(sheets) > 5
    assert [root[:16] in "".join(sheet.split()) for sheet in sheets] == [True] * len(sheets)
