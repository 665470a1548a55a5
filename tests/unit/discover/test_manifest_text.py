"""The manifest of what was found."""

from pathlib import Path

import pytest

from airgap.discover.findings import Certainty, Discovery, Findings, Place
from airgap.discover.manifest_text import carried, is_unchanged, manifest_text, stream_name
from airgap.manifest import TransferManifest

DIGEST = "sha256:" + "a" * 64


def discovery(*names: str) -> Discovery:
    found = Findings()
    for line, name in enumerate(names, 1):
        place = Place(file="f.yaml", line=line)
        found.add_image(name, place, certainty=Certainty.SURE, user="service a")
    return found.discovery()


def test_a_name_with_and_without_a_digest_is_listed_once() -> None:
    found = discovery("nginx:1", f"nginx:1@{DIGEST}", f"redis@{DIGEST}", "redis:7")
    assert [reference.familiar for reference in carried(found)] == [
        f"nginx:1@{DIGEST}", f"redis@{DIGEST}", "redis:7",
    ]  # fmt: skip
    text = manifest_text(found, "x")
    assert len(TransferManifest.parse(text, Path("x.yaml")).images) == 3
    assert b"  # not listed: the same name is listed with a digest\n" in text


def test_many_places_are_counted() -> None:
    text = manifest_text(discovery(*["nginx:1"] * 9), "x").decode()
    assert text.count("service a") == 5
    assert "  # and 4 more places\n" in text


def test_a_comment_cannot_be_left() -> None:
    found = Findings()
    place = Place(file="f\n  - evil:1\n#.yaml", line=1)
    found.add_image("a:1", place, certainty=Certainty.SURE, user="service \u2028\r\n- evil:2")
    found.add_problem(place, "what\n- evil:3")
    text = manifest_text(found.discovery(), "x")
    [entry] = TransferManifest.parse(text, Path("x.yaml")).images
    assert str(entry.reference) == "docker.io/library/a:1"


def test_a_change_is_noticed() -> None:
    text = manifest_text(discovery("a:1"), "x")
    assert is_unchanged(text)
    assert not is_unchanged(text + b"  - b:1\n")
    assert not is_unchanged(b"")
    assert not is_unchanged(b"version: 1\nname: x\nimages: [a:1]\n")


@pytest.mark.parametrize(
    ("folder", "name"), [("My_Shop 2", "my-shop-2"), ("--", "stack"), ("x" * 80, "x" * 40), ("é", "stack")]
)
def test_the_stream_is_named_after_the_folder(tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / folder).mkdir()
    assert stream_name(tmp_path / folder) == stream_name(tmp_path / folder / "compose.yaml") == name
