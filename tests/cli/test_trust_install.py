"""trust install: finding the root, naming the site, and the ways on after a mistake."""

import io
import re
import subprocess
from pathlib import Path

import pytest

from airgap.site import Site
from tests.cli.conftest import Gap, Side
from tests.support.images import simple_image


@pytest.fixture
def aged(gap: Gap) -> tuple[Path, str, str]:
    """A bundle for two sites with trust roots 1 to 3, and the fingerprints of 2 and 3."""
    fingerprints = []
    for name in ("plant-5", "plant-7"):
        key = Side(gap.folder / name, gap.online.capture)
        Site.create(key.home, name)
        words = ("--key", key.home / "site.pub", "--keyid", Site(key.home).key.public_key.keyid)
        fingerprints.append(gap.online("trust", "add-site", name, *words, "--json").json["fingerprint"])
    path = gap.layout(api=simple_image("api"))
    path.write_text(path.read_text().replace("images:", "destinations: [plant-5, plant-7]\nimages:"))
    gap.online("pack", path, "--to", gap.stick)
    return gap.stick / "stack-0001", fingerprints[0], fingerprints[1]


@pytest.mark.parametrize("where", ["bundle", "medium", "tar", "folder", "file", "state"])
def test_trust_install_finds_the_root_that_fits(
    gap: Gap, fresh: Side, aged: tuple[Path, str, str], where: str
) -> None:
    """The paper has the newest fingerprint; whoever installs need not know which version that is."""
    bundle, _, newest = aged
    if where == "tar":
        gap.online("pack", gap.folder / "stack.yaml", "--to", gap.folder / "tars", "--tar")
    path = {
        "bundle": bundle,
        "medium": gap.stick,
        "tar": gap.folder / "tars",
        "folder": bundle / "trust",
        "file": bundle / "trust" / "1.root.json",
        "state": gap.online.home,
    }[where]
    done = fresh("trust", "install", path, "--site", "plant-7", "--fingerprint", newest)
    assert done.out == "installed: trust root 3 of alice, for site plant-7\n"
    fresh("load", bundle, "--to", f"oci:{gap.folder}/out")
    again = fresh("trust", "install", bundle)
    assert again.out == "installed already: trust root 3 of alice, for site plant-7\n"


def test_trust_install_goes_on_from_an_older_paper(
    gap: Gap, fresh: Side, aged: tuple[Path, str, str]
) -> None:
    bundle, older, newest = aged
    words = ("trust", "install", gap.stick, "--site", "plant-5", "--fingerprint", older)
    assert fresh(*words, "--json").json["fingerprint"] == newest
    assert sorted(Site(fresh.home).roots()) == [2, 3]
    assert fresh(*words, "--json").json["fresh"] is False
    (fresh.home / "trust" / "2.root.json").unlink()
    fresh("trust", "install", bundle)  # what the ledger knows needs no fingerprint
    assert sorted(Site(fresh.home).roots()) == [2, 3]


def test_trust_install_takes_no_root_that_the_one_before_did_not_sign(
    gap: Gap, fresh: Side, aged: tuple[Path, str, str], tmp_path: Path
) -> None:
    bundle, older, _ = aged
    other = Side(tmp_path / "mallory", fresh.capture)
    other("init", "--owner", "mallory", "--site", "hq")
    (bundle / "trust" / "3.root.json").write_bytes(Site(other.home).roots()[1])
    words = ("--site", "plant-5", "--fingerprint", older)
    assert "by the keys of trust root 2" in fresh("trust", "install", bundle, *words, code=13).err
    assert not fresh.home.exists()


@pytest.mark.parametrize("words", [(), ("--fingerprint", "ab" * 32)])
def test_trust_install_of_a_medium_is_no_trust_on_first_use(
    gap: Gap, fresh: Side, aged: tuple[Path, str, str], words: tuple[str, ...]
) -> None:
    message = "wrong fingerprint" if words else "--fingerprint is missing"
    done = fresh("trust", "install", gap.stick, "--site", "plant-5", *words, code=13 if words else 2)
    assert message in done.err
    assert not fresh.home.exists()


def test_trust_install_of_a_folder_without_roots(fresh: Side, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "y").write_text("z")
    done = fresh("trust", "install", tmp_path / "x", "--fingerprint", "ab" * 32, code=2)
    assert "no trust root there" in done.err


def test_the_name_of_a_site_is_asked_and_never_guessed(
    fresh: Side, aged: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, _, newest = aged
    words = ("trust", "install", bundle, "--fingerprint", newest)
    refused = fresh(*words, code=2)
    assert "--site is missing, want the name of this side, such as plant-5, plant-7" in refused.err
    assert not fresh.home.exists()
    terminal = io.StringIO("plant-5\n")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    done = fresh(*words)
    assert "The bundles there are for: plant-5, plant-7" in done.err
    assert done.out.strip() == "installed: trust root 3 of alice, for site plant-5"


def test_a_wrong_name_has_a_way_on(gap: Gap, fresh: Side, aged: tuple[Path, str, str]) -> None:
    """Each hint is followed as it stands."""
    bundle, _, newest = aged
    done = fresh("trust", "install", bundle, "--site", "plant7", "--fingerprint", newest)
    assert done.out.splitlines()[1].startswith("what is there is for plant-5, plant-7;")
    refused = fresh("load", bundle, "--to", f"oci:{gap.folder}/out", code=15)
    assert "`airgap trust install BUNDLE --site plant-5` corrects it" in refused.err
    fresh("trust", "install", bundle, "--site", "plant-5")
    fresh("load", bundle, "--to", f"oci:{gap.folder}/out")


def test_init_by_mistake_has_a_way_on(gap: Gap, fresh: Side, aged: tuple[Path, str, str]) -> None:
    """A co-signer's key, which others may have added already, is kept."""
    bundle, _, newest = aged
    fresh("init", "--owner", "bob", "--site", "lab")
    keyid = fresh("key", "show", "bob", "--json").json["keyid"]
    words = ("trust", "install", bundle, "--site", "plant-7", "--fingerprint", newest)
    refused = fresh(*words, code=13)
    commands = re.findall(r"`((?:mv|cp) [^`]*)`", refused.err)
    assert len(commands) == 2
    subprocess.run(commands[0], shell=True, check=True)
    fresh(*words)
    subprocess.run(commands[1], shell=True, check=True)
    assert fresh("key", "show", "bob", "--json").json["keyid"] == keyid
    fresh("load", bundle, "--to", f"oci:{gap.folder}/out")
