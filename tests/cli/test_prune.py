"""`load --prune`: what is removed, shown, asked, recorded, and left."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Gap
from tests.support.images import simple_image
from tests.support.registry import FakeRegistry
from tests.support.registry_parts import error

IMAGES = {name: simple_image(name) for name in ("app", "web", "db")}
NAME = "example.com/{}:1"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def bundle(gap: Gap, *names: str) -> Path:
    """The next bundle, of these images."""
    path = gap.layout(**{name: IMAGES[name] for name in names})
    gap.online("pack", path, "--to", gap.stick)
    return max(gap.stick.glob("stack-*"))


def target_of(gap: Gap, fake: FakeRegistry, kind: str) -> str:
    folder = gap.folder / kind
    folder.mkdir()
    return {"oci": f"oci:{folder}", "k3s": f"k3s:{folder}", "registry": f"registry:{fake.host}/lab"}[kind]


def names_at(gap: Gap, fake: FakeRegistry, kind: str) -> list[str]:
    if kind == "registry":
        return sorted(place.removeprefix("lab/") for place, name in fake.manifests if ":" not in name)
    if kind == "k3s":
        return sorted(path.name.split("_")[1] for path in (gap.folder / kind).iterdir())
    entries = json.loads((gap.folder / kind / "index.json").read_text())["manifests"]
    return sorted(e["annotations"]["org.opencontainers.image.ref.name"].split("/")[1] for e in entries)


@pytest.mark.parametrize("kind", ["oci", "k3s", "registry"])
def test_what_the_stream_no_longer_has_is_removed(gap: Gap, fake: FakeRegistry, kind: str) -> None:
    to = target_of(gap, fake, kind)
    gap.offline("load", bundle(gap, "app", "web"), "--to", to, "--prune", "--yes")
    newer = bundle(gap, "app", "db")
    assert "web" in str(names_at(gap, fake, kind))
    done = gap.offline("load", newer, "--to", to, "--prune", "--yes", "--json")
    assert f"to remove at {to}: {NAME.format('web')} (from stack-0001)" in done.err
    assert [name["reference"] for name in done.json["pruned"]] == [NAME.format("web")]
    listed = str(names_at(gap, fake, kind))
    assert ("web" in listed, "app" in listed, "db" in listed) == (False, True, True)
    loads = [record for record in gap.offline.records() if record["event"] == "load"]
    assert loads[-2]["prune"] is True
    assert loads[-1]["pruned"] == [NAME.format("web")]
    shown = gap.offline("receipt", "show", done.json["receipt"], "--json").json["receipts"][0]
    assert shown["pruned"] == done.json["pruned"]
    gap.offline("audit", "compare", "--to", to)
    again = gap.offline("load", newer, "--to", to, "--prune").out
    assert "removed" not in again


def test_what_a_rule_for_tags_no_longer_selects_is_removed(gap: Gap, fake: FakeRegistry) -> None:
    to = target_of(gap, fake, "registry")
    fake.add("web", "1.0.0", IMAGES["web"])
    path = gap.manifest(f"{{ref: {fake.host}/web, tags: {{semver: 1.x, latest: 1}}}}")
    for tag, image in (("1.0.0", IMAGES["web"]), ("1.0.1", IMAGES["db"])):
        fake.add("web", tag, image)
        gap.online("lock", path)
        gap.online("pack", path, "--to", gap.stick)
        newest = max(gap.stick.glob("stack-*"))
        gap.offline("load", newest, "--to", to, "--prune", "--yes")
    kept = [name for place, name in fake.manifests if place == "lab/web" and ":" not in name]
    assert kept == ["1.0.1"]


def test_nothing_is_loaded_or_removed_unless_it_is_confirmed(gap: Gap, fake: FakeRegistry) -> None:
    to = target_of(gap, fake, "oci")
    gap.offline("load", bundle(gap, "app", "web"), "--to", to)
    before = names_at(gap, fake, "oci")
    done = gap.offline("load", bundle(gap, "db"), "--to", to, "--prune", code=2)
    assert "--yes is missing" in done.err
    assert done.err.count("to remove at") == 2
    assert names_at(gap, fake, "oci") == before
    assert gap.offline.ended() == ("load", "failed", 2)


def test_what_was_there_before_or_was_moved_is_left(gap: Gap, fake: FakeRegistry) -> None:
    to = target_of(gap, fake, "registry")
    fake.add("lab/web", "1", IMAGES["web"])
    gap.offline("load", bundle(gap, "app", "web", "db"), "--to", to)
    fake.add("lab/db", "1", simple_image("moved"))
    done = gap.offline("load", bundle(gap, "app"), "--to", to, "--prune", "--yes")
    assert "removed: " not in done.out.replace("not removed: ", "")
    assert f"not removed: {NAME.format('db')}: it refers to another image now" in done.out
    assert names_at(gap, fake, "registry") == ["app", "db", "web"]


def test_a_registry_that_does_not_remove_tags(gap: Gap, fake: FakeRegistry) -> None:
    to = target_of(gap, fake, "registry")
    fake.removes_tags = False
    gap.offline("load", bundle(gap, "app", "web"), "--to", to)
    value = gap.offline("load", bundle(gap, "app"), "--to", to, "--prune", "--yes", "--json").json
    assert value["pruned"] == []
    (left,) = value["not_pruned"]
    assert "the registry does not remove tags" in left["reason"]
    assert gap.offline.records()[-1]["not_pruned"] == value["not_pruned"]
    assert names_at(gap, fake, "registry") == ["app", "web"]


def test_nothing_is_removed_if_an_image_fails(gap: Gap, fake: FakeRegistry) -> None:
    to = target_of(gap, fake, "registry")
    gap.offline("load", bundle(gap, "app", "web"), "--to", to)
    newer = bundle(gap, "app", "db")
    refusal = error(400, "MANIFEST_INVALID", "no")
    fake.habits.append(lambda r: refusal if r.method == "PUT" and "/db/manifests/" in r.path else None)
    value: dict[str, Any] = gap.offline("load", newer, "--to", to, "--prune", "--yes", "--json", code=3).json
    assert (value["pruned"], value["not_pruned"][0]["reason"]) == ([], "some images failed")
    assert "web" in names_at(gap, fake, "registry")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "oci:x", "--yes"), "--yes is only for --prune"),
        (("--to", "oci:x", "--prune", "--back", "--reason", "x"), "--prune excludes --back"),
        (("--to", "archive:x.tar", "--prune"), "--prune is not for an archive"),
    ],
)
def test_options_that_do_not_go_together(gap: Gap, words: tuple[str, ...], message: str) -> None:
    assert message in gap.offline("load", bundle(gap, "app"), *words, code=2).err


def test_a_false_receipt_stops_the_load(gap: Gap, fake: FakeRegistry) -> None:
    to = target_of(gap, fake, "oci")
    gap.offline("load", bundle(gap, "app", "web"), "--to", to)
    (path,) = (gap.offline.home / "receipts").glob("*.json")
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"AAAA'))
    gap.offline("load", bundle(gap, "app"), "--to", to, "--prune", "--yes", code=13)
    assert len(names_at(gap, fake, "oci")) == 2
