"""A delta for several sites leaves out what all of them have, by their receipts."""

import shutil
from pathlib import Path

import pytest

from airgap.site import Site
from airgap.trust.root import SignedRoot
from tests.cli.conftest import PASSPHRASE, Gap, Side
from tests.support.bundles import sign_root
from tests.support.images import Image, Layer, make_image, noise
from tests.unit.review.conftest import knows

BASE = Layer.of({"base": noise(9_000, 1)})
MIDDLE = Layer.of({"middle": noise(5_000, 2)})
ONE = make_image([BASE])
TWO = make_image([BASE, MIDDLE])
THREE = make_image([BASE, MIDDLE, Layer.of({"top": noise(700, 3)})])
BOTH = "destinations: [plant-7, lab]\n"


def manifest(gap: Gap, image: Image, head: str = BOTH) -> Path:
    path = gap.layout(api=image)
    path.write_text(path.read_text().replace("images:", f"{head}images:"))
    return path


def load(side: Side, gap: Gap, serial: int, code: int = 0) -> None:
    target = f"oci:{gap.folder}/{side.home.name}-images"
    side("load", gap.stick / f"stack-{serial:04d}", "--to", target, code=code)


@pytest.fixture
def two(gap: Gap, bob: Side) -> Gap:
    """Both sites have the first bundle, and only plant-7 the second; all receipts came home."""
    site = Site(gap.online.home)
    sites = [("plant-7", Site(gap.offline.home).key), ("lab", Site(bob.home).key)]
    root = sign_root(knows(site.root().root, *sites), site.signing_key(None, PASSPHRASE.encode))
    site.install_root(SignedRoot.parse(root, "root"))
    for serial, image in ((1, ONE), (2, TWO)):
        gap.online("pack", manifest(gap, image), "--to", gap.stick)
        load(gap.offline, gap, serial)
    load(bob, gap, 1)
    gap.online("receipt", "import", gap.stick)
    return gap


def test_a_delta_for_both_loads_at_the_one_that_is_behind(two: Gap, bob: Side) -> None:
    path = manifest(two, THREE)
    made = two.online("pack", path, "--to", two.stick, "--since", "sites", "--json").json
    assert made["requires"] == {"count": 1, "bytes": len(BASE.blob)}
    [plant, lab] = two.online.records()[-1]["bases"]
    assert (plant["site"], lab["site"]) == ("plant-7", "lab")
    load(two.offline, two, 3)
    load(bob, two, 3)


def test_the_receipts_may_be_named(two: Gap, bob: Side) -> None:
    since = [word for path in sorted((two.stick / "receipts").iterdir()) for word in ("--since", path)]
    made = two.online("pack", manifest(two, THREE), "--to", two.stick, *since, "--json").json
    assert made["requires"] == {"count": 1, "bytes": len(BASE.blob)}
    load(bob, two, 3)


def test_the_plan_says_what_each_site_spares(two: Gap) -> None:
    path = manifest(two, THREE)
    plan = two.online("plan", path, "--since", "sites", "--json").json
    [plant, lab] = plan["site_bases"]
    assert (plant["site"], plant["spared_bytes"]) == ("plant-7", len(BASE.blob) + len(MIDDLE.blob))
    assert (lab["site"], lab["spared_bytes"]) == ("lab", len(BASE.blob))
    assert (plant["saved_without"], lab["saved_without"]) == (0, len(MIDDLE.blob))
    assert plan["spared_bytes"] == len(BASE.blob)
    assert Path(plant["bases"][0]).parent == two.online.home / "receipts" / "plant-7"
    shown = two.online("plan", path, "--since", "sites").out
    assert "SITE" in shown
    assert "MORE WITHOUT IT" in shown
    assert two.online("plan", path, "--json").json["site_bases"] == []


def test_the_plan_says_which_names_move(two: Gap) -> None:
    plan = two.online("plan", manifest(two, THREE), "--json").json
    assert (plan["compared_bundle"], plan["images"][0]["change"]) == ("stack-0002", "moved")
    assert two.online("plan", manifest(two, TWO), "--json").json["images"][0]["change"] == "the same"
    assert "SINCE stack-0002" in two.online("plan", manifest(two, THREE)).out
    (two.online.home / "sent/stack/0002.dsse.json").unlink()
    plan = two.online("plan", manifest(two, THREE), "--json").json
    assert (plan["compared_bundle"], plan["images"][0]["change"]) == (None, "unknown")


def test_a_destination_without_a_receipt_is_named(two: Gap) -> None:
    path = manifest(two, THREE, "destinations: [plant-7, lab, plant-9]\n")
    before = sorted(two.stick.iterdir())
    for command in (("plan", path), ("pack", path, "--to", two.stick)):
        refused = two.online(*command, "--since", "sites", code=2)
        assert "error: destinations without a base: plant-9, want a receipt of each" in refused.err
    assert sorted(two.stick.iterdir()) == before
    plan = two.online("plan", path, "--since", "sites", "--without-base", "plant-9", "--json").json
    assert [(site["site"], site["bases"] != []) for site in plan["site_bases"]] == [
        ("plant-7", True), ("lab", True), ("plant-9", False)
    ]  # fmt: skip
    assert plan["spared_bytes"] == len(BASE.blob)
    assert two.online("plan", path, "--since", 1, "--json").json["spared_bytes"] == len(BASE.blob)


@pytest.mark.parametrize(
    ("words", "want"),
    [
        (("--without-base", "lab"), "--without-base needs --since: lab"),
        (("--since", "1", "--without-base", "x"), "--without-base needs a destination of the manifest: x"),
        (("--since", "sites", "--full"), "--full excludes --since"),
        (("--since", "site"), "no such base: site"),
    ],
)
def test_what_is_refused(two: Gap, words: tuple[str, ...], want: str) -> None:
    assert want in two.online("plan", manifest(two, THREE), *words, code=2).err


def test_sites_without_destinations(two: Gap) -> None:
    refused = two.online("plan", manifest(two, THREE, ""), "--since", "sites", code=2)
    assert "--since sites needs destinations" in refused.err


def test_receipts_that_were_put_there_by_hand_are_not_a_base(two: Gap) -> None:
    """A receipt counts if its site signed it, whatever folder it is in."""
    folder = two.online.home / "receipts"
    shutil.rmtree(folder / "lab")
    shutil.copytree(folder / "plant-7", folder / "lab")
    refused = two.online("plan", manifest(two, THREE), "--since", "sites", code=2)
    assert "destinations without a base: lab" in refused.err
