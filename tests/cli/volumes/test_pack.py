"""Bundles that are cut over several volumes: planned and packed."""

import shutil

import pytest

from airgap.bundle.files import write_all
from airgap.bundle.volume_table import VolumeTable
from tests.cli.conftest import Gap, files_of
from tests.cli.volumes.commands import PROOF, media_of, repacked, size_of, whole_of
from tests.support.cut import API, BASE, BIG, IMAGES, MEDIA, TOP, VOLUME_SIZE, WEB, stamps, volumes
from tests.support.damage import flip
from tests.support.images import Layer, archive_of, make_image, noise, write_layout

# -- plan and pack


def test_pack_cuts_over_the_media(gap: Gap) -> None:
    for name in MEDIA:
        shutil.rmtree(gap.folder / name)
    words = ("pack", gap.folder / "stack.yaml", *media_of(gap), "--volume-size", VOLUME_SIZE)
    done = gap.online(*words, "--json").json
    folders = volumes(gap.folder, "stack-0002")
    assert done["volumes"] == list(map(str, folders))
    assert (done["bundle"], done["serial"], done["fresh"]) == (str(folders[0]), 2, True)
    assert done.keys() >= PROOF
    assert gap.online.ended() == ("pack", "ok", 0)
    before = stamps(*folders)
    again = gap.online(*words)
    lines = again.out.splitlines()
    assert lines[3].startswith("already sealed, and checked completely: stack-0002 on 3 volumes (8.5 MB, ")
    assert lines[4:7] == [f"  volume {n}: {folder}" for n, folder in enumerate(folders, 1)]
    assert stamps(*folders) == before


def test_all_volumes_in_one_folder(gap: Gap) -> None:
    to = gap.folder / "d"
    words = ("--to", to, "--volume-size", VOLUME_SIZE, "--json")
    done = gap.online("pack", gap.folder / "stack.yaml", *words).json
    assert done["volumes"] == [str(to / f"stack-0002.v{n}") for n in (1, 2, 3)]
    gap.offline("verify", *done["volumes"])


def test_what_fits_on_the_first_medium_is_not_cut(gap: Gap) -> None:
    to = gap.folder / "d"
    done = gap.online("pack", gap.folder / "stack.yaml", "--to", to, "--to", gap.folder / "e", "--json").json
    assert done["volumes"] == [str(to / "stack-0002")]


def test_volumes_hold_what_they_say(sound: Gap) -> None:
    whole = files_of(whole_of(sound))
    big, repeated = b"", dict.fromkeys(whole.keys() - {BIG.path, BASE.path, TOP.path})
    for number, folder in enumerate(volumes(sound.folder), 1):
        assert size_of(folder) <= 5_000_000
        here = files_of(folder)
        table = VolumeTable.parse(here.pop("volume.json"), "volume.json")
        assert (table.volume, table.cut.of) == (number, 3)
        big += here.pop(f"{BIG.path}.{number - 1:03d}")
        assert {name for name in here if name not in repeated} == (
            {BASE.path, TOP.path} if number == 1 else set()
        )
        assert all(here[name] == whole[name] for name in here)
        assert here.keys() >= repeated.keys()
    assert big == WEB.contents[BIG]


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ((), 1),
        (("--volume-size", VOLUME_SIZE), 3),
        (("--volume-size", "8MB"), 2),
        (("--volume-size", "fat32"), 1),
        (("--to", "."), 1),
        (("--to", ".", "--volume-size", VOLUME_SIZE), 3),
        (("--to", ".", "--to", "nowhere"), 1),
        (("--to", ".", "--to", ".", "--to", ".", "--volume-size", VOLUME_SIZE), 3),
        (("--to", ".", "--to", "."), 1),
        (("--to", "nowhere", "--volume-size", VOLUME_SIZE), 3),
    ],
)
def test_plan_tells_how_many_volumes(
    sound: Gap, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], count: int
) -> None:
    monkeypatch.chdir(sound.folder)
    value = sound.online("plan", "stack.yaml", *words, "--json").json
    assert value["volumes"] == count
    assert len(value["media"]) == words.count(".")
    out = sound.online("plan", "stack.yaml", *words).out
    several = words.count("--to") > 1
    assert (f"volumes: {count}" in out) == (count > 1 or several)
    assert ("it fits" in out) == ("." in words and not several)
    assert ("this folder does not exist yet, so its free space is unknown: nowhere" in out) == (
        "nowhere" in words
    )


def test_plan_and_pack_say_what_does_not_fit(gap: Gap) -> None:
    to = ("--to", gap.folder / "d", "--to", gap.folder / "e", "--volume-size", "4.2MB")
    for command in ("plan", "pack"):
        done = gap.online(command, gap.folder / "stack.yaml", *to, code=11)
        assert "error: the bundle does not fit, want space for 8," in done.err
        assert ", got 6," in done.err
        assert "hint: add a medium with another --to" in done.err
    assert gap.online.ended() == ("pack", "failed", 11)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--volume-size", "4GiBs"), "not a size, want such as 4GiB, 4.7GB, 700MB, or fat32, got '4GiBs'"),
        (("--volume-size", "1kB"), "volume size is too small, want at least 4,194,304 bytes, got 1,000"),
        (("--volume-size", VOLUME_SIZE, "--tar"), "--tar writes one file"),
        (("--to", "e", "--tar"), "--tar writes one file"),
    ],
)
def test_pack_refuses_what_cannot_be(gap: Gap, words: tuple[str, ...], message: str) -> None:
    done = gap.online("pack", gap.folder / "stack.yaml", "--to", gap.folder / "d", *words, code=2)
    assert message in done.err
    assert not (gap.folder / "d").exists()


def test_images_of_unknown_size_are_not_cut_before_they_come(gap: Gap) -> None:
    (gap.folder / "app.tar").write_bytes(archive_of({"example.com/app:1": API}))
    path = gap.manifest("{archive: app.tar}", name="app")
    to = gap.folder / "d"
    done = gap.online("pack", path, "--to", to, "--volume-size", VOLUME_SIZE, code=2)
    assert "its size is not known in advance" in done.err
    assert "hint: pack into one folder, then cut it with `airgap repack`" in done.err
    gap.online("pack", path, "--to", to)
    gap.online("repack", to / "app-0001", "--to", gap.folder / "e", "--volume-size", "4.2MB")


def test_pack_goes_on_with_the_cut_that_it_began(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle of the second volume: what is whole stays, what is begun is gone on with."""
    for name in MEDIA:
        shutil.rmtree(gap.folder / name)
    folders = volumes(gap.folder, "stack-0002")
    words = ("pack", gap.folder / "stack.yaml", *media_of(gap), "--volume-size", VOLUME_SIZE, "--jobs", "1")
    done = 0

    def write(fd: int, data: memoryview) -> None:
        nonlocal done
        done += len(data)
        if done > 5_000_000:
            raise KeyboardInterrupt
        write_all(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr("airgap.bundle.blob_files.write_all", write)
        gap.online(*words, code=130)
    begun = stamps(*folders)
    assert {name for name in begun if name.endswith("volume.json.part")} == {
        f"{folder.name}/volume.json.part" for folder in folders
    }
    partial = f"{folders[1].name}/{BIG.path}.001"
    assert 0 < begun[f"{partial}.part"][2] < 4_000_000
    assert "not a finished bundle" in gap.offline("verify", *folders, code=19).err
    value = gap.online(*words, "--json").json
    assert value["volumes"] == list(map(str, folders))
    now = stamps(*folders)
    assert now[partial][0] == begun[f"{partial}.part"][0]
    assert not [name for name in now if name.endswith(".part")]
    gap.offline("verify", *folders)


def test_volumes_of_what_could_be_had(gap: Gap) -> None:
    """The layer that failed was planned on all three: its parts are in no table, and on no volume."""
    source = gap.folder / "source" / BIG.path
    flip(source, 100)
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text() + "# the next one\n")
    words = ("pack", path, *media_of(gap), "--volume-size", VOLUME_SIZE)
    assert "wrong digest" in gap.online(*words, code=12).err
    gap.online(*words, "--allow-partial", code=3)
    folders = volumes(gap.folder, "stack-0002")
    assert not [name for folder in folders for name in files_of(folder) if BIG.hex in name]
    gap.offline("verify", *folders)
    gap.offline("load", *folders, "--to", f"oci:{gap.folder}/out")
    flip(source, 100)
    gap.online(*words, "--full")
    gap.offline("verify", *volumes(gap.folder, "stack-0003"))


def test_a_delta_is_cut_too(gap: Gap) -> None:
    new = make_image([Layer.of({"new.bin": noise(6_000_000, 9)}, "none")], label="new")
    write_layout(gap.folder / "source", {**IMAGES, "example.com/new:1": new})
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text() + "  - {oci: source, ref: 'example.com/new:1'}\n")
    to = ("--to", gap.folder / "d", "--to", gap.folder / "e", "--volume-size", VOLUME_SIZE)
    made = gap.online("pack", path, *to, "--since", "1", "--json").json["volumes"]
    assert len(made) == 2
    gap.offline("verify", *made)
    out = gap.folder / "out"
    gap.offline("load", *made, "--to", f"oci:{out}", code=19)
    gap.offline("load", *volumes(gap.folder), "--to", f"oci:{out}")
    gap.offline("load", *reversed(made), "--to", f"oci:{out}")
    assert (out / new.layers[0].path).read_bytes() == new.contents[new.layers[0]]
    again = repacked(gap, made, "--to", gap.folder / "f", "--volume-size", "8MB")
    gap.offline("verify", *again)
    gap.offline("receive", *made, "--into", gap.folder / "x")
    gap.offline("verify", gap.folder / "x" / "stack-0002")
