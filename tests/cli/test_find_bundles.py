"""The folder of a medium, and the name of a bundle, where a bundle is meant."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Gap, files_of
from tests.cli.sources import BOTH
from tests.support.images import Layer, make_image, noise


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where media are mounted: `one` and `two`; and a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (tmp_path / "media" / name).mkdir(parents=True)
    folders = sorted((tmp_path / "media").iterdir())
    monkeypatch.setattr("airgap.carry.find_bundles.media_folders", lambda: folders)
    return tmp_path / "media"


def packed(gap: Gap, to: Path, *, name: str = "weekly", site: str = "plant", ticket: str = "1") -> Path:
    head = f"destinations: [{site}]\n" if site else ""
    gap.layout(**BOTH)
    path = gap.manifest("{oci: source}", name=name, head=head)
    done = gap.online("pack", path, "--to", to, "--transfer", f"ticket={ticket}", "--json")
    return Path(done.json["bundle"])


def this_site(gap: Gap) -> str:
    return str(gap.offline("key", "list", "--json").json["site"]["site"])


def test_load_takes_the_bundle_on_the_medium(gap: Gap, media: Path) -> None:
    bundle = packed(gap, media / "one", site="")
    (media / "one" / "holiday.jpg").write_bytes(b"x")
    done = gap.offline("load", media / "one", "--to", "oci:out", "--json")
    assert done.err.startswith(f"{media}/one: taking {bundle}\n")
    assert done.json["bundle"] == str(bundle)
    again = gap.offline("load", media / "one", "--to", "oci:out")
    assert "nothing to do" in again.out


@pytest.mark.parametrize(
    ("command", "words"),
    [("verify", ()), ("inspect", ()), ("receive", ("--into", "kept")), ("repack", ("--to", "cut"))],
)
def test_other_commands_take_it_too(gap: Gap, media: Path, command: str, words: tuple[str, ...]) -> None:
    packed(gap, media / "one", site="")
    assert "taking" in gap.offline(command, media / "one", *words).err
    assert "taking" in gap.offline(command, "weekly-0001", *words).err


def test_the_one_for_this_site_is_taken(gap: Gap, media: Path) -> None:
    packed(gap, media / "one", name="theirs", site="plant-99")
    mine = packed(gap, media / "one", name="ours", site=this_site(gap))
    assert f"taking {mine}\n" in gap.offline("load", media / "one", "--to", "oci:out").err


def test_of_a_drawer_the_newest_is_taken_once_the_others_were(gap: Gap, media: Path) -> None:
    first, second = (packed(gap, media / "one", site="", ticket=ticket) for ticket in "12")
    gap.offline("load", first, "--to", "oci:out")
    gap.offline("load", second, "--to", "oci:out")
    assert f"taking {second}\n" in gap.offline("load", media / "one", "--to", "oci:out").err


def test_several_are_listed_with_the_commands(gap: Gap, media: Path) -> None:
    packed(gap, media / "one", name="theirs", site="plant-99")
    bundles = [packed(gap, media / "one", site="", ticket=ticket) for ticket in "12"]
    before = files_of(gap.folder)
    done = gap.offline("load", media / "one", "--to", "oci:my out", code=2)
    assert (
        f"error: there are several bundles: {media}/one, want one bundle, "
        "got theirs-0001 (for plant-99), weekly-0001, weekly-0002\n"
    ) in done.err
    commands = ", ".join(f"`airgap load {bundle} --to 'oci:my out'`" for bundle in bundles)
    assert f"hint: name it: {commands}\n" in done.err
    assert files_of(gap.folder) == before


def test_none_of_several_is_for_this_site(gap: Gap, media: Path) -> None:
    for name in ("a", "b"):
        packed(gap, media / "one", name=name, site="plant-99")
    done = gap.offline("load", media / "one", "--to", "oci:out", code=2)
    assert "error: none of the bundles is for this site now" in done.err
    assert "a-0001 (for plant-99), b-0001 (for plant-99)" in done.err


def test_a_bundle_that_is_not_trusted_is_not_passed_over(gap: Gap, media: Path) -> None:
    """Or whoever changes the newest would have an older one loaded."""
    packed(gap, media / "one", site="", name="older")
    newer = packed(gap, media / "one", site="", name="newer")
    envelope = newer / "bundle.dsse.json"
    envelope.write_bytes(envelope.read_bytes().replace(b'"sig":"', b'"sig":"AA'))
    assert "there are several bundles" in gap.offline("load", media / "one", "--to", "oci:out", code=2).err


def test_the_volumes_of_one_bundle_count_as_one(gap: Gap, media: Path) -> None:
    gap.layout(big=make_image([Layer.of({"file": noise(6_000_000, seed)}) for seed in (1, 2)]))
    path = gap.manifest("{oci: source}", name="weekly")
    to = ("--to", media / "one", "--volume-size", "8MB", "--json")
    volumes = gap.online("pack", path, *to).json["volumes"]
    assert len(volumes) > 1
    assert f"taking {', '.join(volumes)}\n" in gap.offline("load", media / "one", "--to", "oci:out").err
    shutil.move(volumes[1], media / "two")
    done = gap.offline("load", media / "one", media / "two", "--to", "oci:out")
    assert done.err.count("taking") == 2
    assert "taking" in gap.offline("verify", "weekly-0001").err


def test_a_name_is_found_here_and_on_media(gap: Gap, media: Path) -> None:
    bundle = packed(gap, media / "two", site="")
    assert f"weekly-0001: taking {bundle}\n" in gap.offline("load", "weekly-0001", "--to", "oci:out").err
    shutil.copytree(bundle, "weekly-0001")
    assert gap.offline("load", "weekly-0001", "--to", "oci:out").err == ""  # a path as ever
    shutil.copytree(bundle, media / "one" / "weekly-0001")
    shutil.rmtree("weekly-0001")
    assert f"taking {media}/one/weekly-0001\n" in gap.offline("verify", "weekly-0001").err


def test_different_bundles_of_one_name_are_refused(gap: Gap, media: Path) -> None:
    first = packed(gap, media / "one", site="")
    other = packed(gap, media / "one", site="", ticket="2")
    other.rename(media / "two" / "weekly-0001")
    done = gap.offline("verify", "weekly-0001", code=2)
    assert (
        f"error: there are different bundles of this name: weekly-0001, want the path of one of them, got {first}"
        in done.err
    )


def test_the_search_does_not_go_deep_and_follows_no_links(gap: Gap, media: Path) -> None:
    bundle = packed(gap, media / "one" / "deep", site="")
    (media / "two" / "weekly-0001").symlink_to(bundle)
    assert "no such file or folder: weekly-0001" in gap.offline("verify", "weekly-0001", code=2).err
    assert "taking" not in gap.offline("verify", media / "two", code=19).err


@pytest.mark.parametrize(
    "text", ["weekly", "weekly-1", "Weekly-0001", "x/weekly-0001", "../weekly-0001", "weekly-0001*"]
)
def test_what_is_no_name_is_not_searched(gap: Gap, media: Path, text: str) -> None:
    packed(gap, media / "one", site="")
    assert "taking" not in gap.offline("verify", text, code=2).err


def test_a_base_is_named(gap: Gap, media: Path) -> None:
    first = packed(gap, media / "one", site="")
    path = gap.manifest("{oci: source}", name="weekly")
    by_name = gap.online("plan", path, "--since", "weekly-0001", "--json").json
    assert by_name["spared_bytes"] > 0
    shutil.rmtree(gap.online.home / "sent" / "weekly")
    done = gap.online("plan", path, "--since", "weekly-0001", "--json")
    assert done.json["spared_bytes"] == by_name["spared_bytes"]
    assert f"weekly-0001: taking {first} as the base\n" in done.err
    assert "no such base: weekly-0009" in gap.online("plan", path, "--since", "weekly-0009", code=2).err


def test_diff_takes_names(gap: Gap, media: Path) -> None:
    packed(gap, media / "one", site="")
    second = packed(gap, media / "two", site="", ticket="2")
    done = gap.offline("diff", "weekly-0001", second)
    assert done.err == f"weekly-0001: taking {media}/one/weekly-0001\n"
    assert "weekly-0001 -> weekly-0002: 2 the same" in done.out


def test_a_medium_without_a_site_lists_all(gap: Gap, media: Path, fresh: object) -> None:
    packed(gap, media / "one", site="", name="a")
    packed(gap, media / "one", site="", name="b")
    assert "there are several bundles" in fresh("inspect", media / "one", code=2).err  # type: ignore[operator]
