"""Volumes that do not belong together."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Gap
from tests.cli.volumes.commands import other_bundle, some, whole_of
from tests.support.cut import (
    TITLE,
    volumes,
)

# -- volumes that do not belong together


TOGETHER = "hint: name the folders of all volumes in one command, or join them one after the other with "


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((1, 2), "a volume is missing: {0}, want volume 3 of 3, got volume 1, 2"),
        ((3, 1), "a volume is missing: {0}, want volume 2 of 3, got volume 1, 3"),
        ((2, 3), "a volume is missing: {0}, want volume 1 of 3, got volume 2, 3"),
        ((2,), "volumes are missing: {0}, want volume 1, 3 of 3, got volume 2"),
        ((3,), "volumes are missing: {0}, want volume 1, 2 of 3, got volume 3"),
    ],
)
def test_a_missing_volume_is_named(
    sound: Gap, tmp_path: Path, numbers: tuple[int, ...], message: str
) -> None:
    folders = some(sound, *numbers)
    commands: dict[str, tuple[object, ...]] = {
        "verify": (),
        "load": ("--to", f"oci:{tmp_path}/out"),
        "serve": ("--port", "0"),
        "repack": ("--to", tmp_path / "d"),
    }
    for command, words in commands.items():
        done = sound.offline(command, *folders, *words, code=19)
        subject = TITLE if command == "verify" else str(min(folders))
        assert f"error: {message.format(subject)}\n{TOGETHER}" in done.err
        assert done.out == ""
        event = {"repack": "media-write", "serve": "verify"}.get(command, command)
        assert sound.offline.ended() == (event, "failed", 19)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["verify", "load", "inspect", "receive"])
def test_the_folder_of_a_medium_means_the_volumes_on_it(
    sound: Gap, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = {"load": ("--to", "oci:out"), "receive": ("--into", "x")}.get(command, ())
    medium = sound.folder / "b"
    code = 0 if command == "inspect" else 19
    done = sound.offline(command, medium, *words, code=code)
    assert f"{medium}: taking {medium}/{TITLE}.v2\n" in done.err
    media = [sound.folder / name for name in "abc"]
    sound.offline("verify", *media)


def test_the_error_of_a_missing_volume_in_json(sound: Gap) -> None:
    error = sound.offline("load", *some(sound, 1, 3), "--to", "oci:out", "--json", code=19).json["error"]
    assert (error["kind"], error["exit_code"]) == ("IncompleteError", 19)
    assert error["hint"].startswith("name the folders of all volumes")


def test_volumes_of_two_bundles(gap: Gap) -> None:
    others = other_bundle(gap)
    both = [*some(gap, 1, 2, 3), *others]
    done = gap.offline("verify", both[4], both[0], both[3], both[2], both[1], "--json").json
    assert [len(value["volumes"]) for value in done["bundles"]] == [2, 3]
    value = gap.offline("load", *both, "--to", f"oci:{gap.folder}/out", "--json").json
    assert [each["bundle"] for each in value["bundles"]] == [str(both[0]), str(others[0])]


@pytest.mark.parametrize("command", ["verify", "load", "serve"])
def test_a_volume_of_another_bundle_in_the_place_of_one(gap: Gap, command: str) -> None:
    others = other_bundle(gap)
    words = {"load": ("--to", f"oci:{gap.folder}/out"), "serve": ("--port", "0")}.get(command, ())
    done = gap.offline(command, *some(gap, 1, 2), others[1], *words, code=19)
    first = volumes(gap.folder)[0]
    assert f"error: a volume is missing: {first}, want volume 3 of 3, got volume 1, 2\n" in done.err
    assert f"hint: of another bundle: {others[1]}\n" in done.err
    assert not (gap.folder / "out").exists()


@pytest.mark.parametrize("command", ["inspect", "repack"])
def test_one_bundle_at_a_time(gap: Gap, command: str) -> None:
    others = other_bundle(gap)
    to = ("--to", gap.folder / "x") if command == "repack" else ()
    given = [*volumes(gap.folder), others[0]]
    done = gap.offline(command, *given, *to, code=2)
    assert (
        f"more than one bundle, want one, or the volumes of one, got {', '.join(map(str, given))}" in done.err
    )


def test_a_bundle_is_mended_from_one_other_copy(gap: Gap) -> None:
    other = other_bundle(gap)[0]
    words = ("--from", whole_of(gap), "--from", other)
    done = gap.offline("repair", *volumes(gap.folder), *words, code=2)
    assert f"more than one bundle, want one, or the volumes of one, got {whole_of(gap)}, {other}" in done.err


@pytest.mark.parametrize("command", ["verify", "load", "receive"])
def test_two_volumes_of_the_same_number(gap: Gap, command: str) -> None:
    twin = gap.folder / "twin"
    shutil.copytree(volumes(gap.folder)[1], twin)
    words = {"load": ("--to", f"oci:{gap.folder}/out"), "receive": ("--into", gap.folder / "x")}.get(
        command, ()
    )
    done = gap.offline(command, *some(gap, 1, 2), twin, *some(gap, 3), *words, code=19)
    assert f"volume 2 was given twice: {twin}, got {volumes(gap.folder)[1]}\n" in done.err
    assert gap.offline.ended() == (command, "failed", 19)


def test_volumes_of_two_cuts_of_one_bundle(gap: Gap) -> None:
    gap.online("repack", whole_of(gap), "--to", gap.folder / "d", "--volume-size", "4.5MB")
    cut = sorted((gap.folder / "d").iterdir())
    assert len(cut) == 3
    done = gap.offline("verify", *some(gap, 1, 2), cut[2], code=10)
    assert (
        f"the volumes are from different cuts: {cut[2]}/volume.json, want that of {some(gap, 1)[0]}"
        in done.err
    )
    assert (
        "hint: volumes of two cuts of one bundle cannot be mixed; `airgap repack` makes a new cut" in done.err
    )
    assert gap.offline.ended() == ("verify", "refused", 10)
