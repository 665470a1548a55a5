"""What differs between two manifests, locks or bundles."""

from pathlib import Path

import pytest

from tests.cli.conftest import Gap
from tests.support.images import simple_image


@pytest.fixture
def two(gap: Gap) -> tuple[Path, Path]:
    """Two bundles: `web` moved, `tool` came, `old` went, `api` is the same."""
    first = gap.layout(api=simple_image("api"), web=simple_image("web"), old=simple_image("old"))
    gap.online("pack", first, "--to", gap.stick)
    second = gap.layout(api=simple_image("api"), web=simple_image("web 2"), tool=simple_image("tool"))
    gap.online("pack", second, "--to", gap.stick)
    return gap.stick / "stack-0001", gap.stick / "stack-0002"


EXPECTED = {
    "example.com/api:1": "the same",
    "example.com/web:1": "moved",
    "example.com/tool:1": "added",
    "example.com/old:1": "removed",
}


def test_two_bundles(gap: Gap, two: tuple[Path, Path]) -> None:
    value = gap.offline("diff", *two, "--json").json
    assert {image["name"]: image["change"] for image in value["images"]} == EXPECTED
    sizes = {image["name"]: image["new_bytes"] for image in value["images"]}
    assert sizes["example.com/api:1"] == sizes["example.com/old:1"] == 0
    assert value["new_bytes"] == sizes["example.com/web:1"] + sizes["example.com/tool:1"] > 0
    assert value["same"] is False


def test_the_table_leaves_out_what_is_the_same(gap: Gap, two: tuple[Path, Path]) -> None:
    shown = gap.offline("diff", *two).out
    assert "example.com/api:1" not in shown
    assert "1 added, 1 removed, 1 moved, 1 the same" in shown
    assert "example.com/api:1" in gap.offline("diff", *two, "--all").out


def test_a_bundle_and_itself(gap: Gap, two: tuple[Path, Path]) -> None:
    value = gap.offline("diff", two[0], two[0], "--json").json
    assert value["same"] is True
    assert value["new_bytes"] == 0


def test_a_delta_has_the_images_whose_layers_it_leaves_out(gap: Gap, two: tuple[Path, Path]) -> None:
    third = gap.layout(api=simple_image("api"), web=simple_image("web 2"))
    gap.online("pack", third, "--to", gap.stick, "--since", "2")
    value = gap.offline("diff", two[1], gap.stick / "stack-0003", "--json").json
    assert [image["change"] for image in value["images"]] == ["the same", "the same", "removed"]


def test_a_manifest_and_its_lock_against_a_bundle(gap: Gap, two: tuple[Path, Path]) -> None:
    manifest = gap.folder / "stack.yaml"
    value = gap.online("diff", two[0], manifest, "--json").json
    assert value["new_bytes"] is None
    changes = {image["name"]: image["change"] for image in value["images"]}
    assert changes == {**EXPECTED, "example.com/api:1": "unknown", "example.com/web:1": "unknown"}
    gap.online("lock", manifest)
    for path in (manifest, gap.folder / "stack.lock.yaml"):
        value = gap.online("diff", two[0], path, "--json").json
        assert {image["name"]: image["change"] for image in value["images"]} == EXPECTED


def test_a_lock_of_an_earlier_manifest_is_not_used(gap: Gap, two: tuple[Path, Path]) -> None:
    manifest = gap.folder / "stack.yaml"
    gap.online("lock", manifest)
    manifest.write_text(manifest.read_text() + "platforms: all\n")
    value = gap.online("diff", two[0], manifest, "--json").json
    assert "unknown" in {image["change"] for image in value["images"]}


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("stick/stack-0001", "absent"), 2, "no such file"),
        (("source", "stick/stack-0001"), 2, "not a manifest, a lock or a bundle"),
        (("plant/trust/1.root.json", "stick/stack-0001"), 2, "not a manifest, a lock or a bundle"),
    ],
)
def test_other_paths_are_refused(
    gap: Gap, two: tuple[Path, Path], words: tuple[str, str], code: int, what: str
) -> None:
    assert what in gap.offline("diff", *(gap.folder / word for word in words), code=code).err


def test_a_changed_bundle_is_refused(gap: Gap, two: tuple[Path, Path]) -> None:
    index = two[1] / "index.json"
    index.write_bytes(index.read_bytes() + b" ")
    gap.offline("diff", *two, code=12)


def test_a_bundle_of_another_sender_is_refused(gap: Gap, two: tuple[Path, Path], fresh: object) -> None:
    assert callable(fresh)
    fresh("init", "--owner", "eve", "--site", "elsewhere")
    fresh("diff", *two, code=13)
