"""Bundles that are cut over several volumes: made, checked, loaded and served in place, put together, cut anew,
mended.
"""

import contextlib
import errno
import io
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.request import Request, urlopen

import pytest

from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.files import write_all
from airgap.bundle.volume_table import VolumeTable
from airgap.cli.main import main
from airgap.endpoints.server import ImageServer
from tests.cli.conftest import Done, Gap, Side, files_of
from tests.support.cut import (
    API,
    BASE,
    BIG,
    IMAGES,
    MEDIA,
    TITLE,
    TOP,
    VOLUME_SIZE,
    WEB,
    flip,
    make_cut,
    part,
    stamps,
    volumes,
)
from tests.support.images import Layer, archive_of, make_image, noise, write_layout

NAMES = list(IMAGES)
ORDERS = [(1, 2, 3), (3, 2, 1), (2, 3, 1)]
PROOF = {"media", "read_back"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cut(tmp_path_factory.mktemp("cut"))


@pytest.fixture
def gap(template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gap:
    """Both sides, three volumes, and a whole copy, to be spoilt."""
    folder = tmp_path / "gap"
    shutil.copytree(template, folder)
    return Gap(folder, Side(folder / "hq", capsys), Side(folder / "plant", capsys))


@pytest.fixture(scope="module")
def shared(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "gap"
    shutil.copytree(template, folder)
    return folder


@pytest.fixture
def sound(shared: Path, capsys: pytest.CaptureFixture[str]) -> Gap:
    """The same, for tests that only read, and write to the ledgers."""
    return Gap(shared, Side(shared / "hq", capsys), Side(shared / "plant", capsys))


def media_of(gap: Gap) -> list[object]:
    """The options of `pack` that name the three media."""
    return [word for name in MEDIA for word in ("--to", gap.folder / name)]


def whole_of(gap: Gap) -> Path:
    return gap.folder / "whole" / TITLE


def some(gap: Gap, *numbers: int) -> list[Path]:
    """Volumes by number."""
    return [volumes(gap.folder)[number - 1] for number in numbers]


def other_bundle(gap: Gap) -> list[Path]:
    """The next bundle of the stream, on two volumes."""
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text() + "# the next one\n")
    words = ("--to", gap.folder / "d", "--to", gap.folder / "e", "--volume-size", "8MB", "--json")
    return list(map(Path, gap.online("pack", path, *words).json["volumes"]))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def loaded(folder: Path) -> None:
    """All images are in this OCI folder, byte for byte."""
    here = files_of(folder)
    for image in IMAGES.values():
        assert all(here[digest.path] == raw for digest, raw in image.contents.items())
    index = json.loads(here["index.json"])
    assert [e["annotations"]["io.containerd.image.name"] for e in index["manifests"]] == NAMES


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


# -- in place


@pytest.mark.parametrize("order", ORDERS)
def test_volumes_are_verified_in_any_order(sound: Gap, order: tuple[int, ...]) -> None:
    folders = some(sound, *order)
    [value] = sound.offline("verify", *folders, "--json").json["bundles"]
    assert value["volumes"] == list(map(str, folders))
    [whole] = sound.offline("verify", whole_of(sound), "--json").json["bundles"]
    same = ("statement_sha256", "files", "bytes", "keys")
    assert [value[key] for key in same] == [whole[key] for key in same]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_volume_tells_what_it_is(sound: Gap, number: int) -> None:
    [folder] = some(sound, number)
    value = sound.offline("inspect", folder, "--json").json
    assert (value["volumes"], value["volumes_here"], value["refusal"]) == (3, [number], None)
    assert [image["as"] for image in value["images"]] == NAMES
    assert f" on 3 volumes; here: volume {number}; not read:" in sound.offline("inspect", folder).out


@pytest.mark.parametrize("order", ORDERS)
def test_volumes_are_loaded_in_place(sound: Gap, tmp_path: Path, order: tuple[int, ...]) -> None:
    out = tmp_path / "out"
    value = sound.offline("load", *some(sound, *order), "--to", f"oci:{out}", "--json").json
    assert [image["verdict"] for image in value["images"]] == ["loaded", "loaded"]
    loaded(out)
    assert sound.offline.ended() == ("load", "ok", 0)


WATCH = """
import os, sys

seen = []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        seen.append(str(arguments[0]))

from airgap.cli.main import main
sys.addaudithook(watch)
code = main(sys.argv[1:])
print(*seen, sep="\\n", file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("command", ["verify", "load"])
def test_what_is_read_in_place_is_kept_nowhere_else(gap: Gap, command: str) -> None:
    """Peak extra disk: whatever is opened for writing is the target's, or a record of some kilobytes."""
    words = ("--to", f"archive:{gap.folder}/out.tar") if command == "load" else ()
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCH, command, *volumes(gap.folder), *words, "--quiet"],
        env={**os.environ, "AIRGAP_HOME": str(gap.offline.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    written = {Path(line) for line in done.stderr.splitlines()}
    home = {path for path in written if path.is_relative_to(gap.offline.home)}
    assert written - home == ({gap.folder / "out.tar.part"} if words else set())
    assert home
    assert size_of(gap.offline.home) < 100_000


def test_volumes_are_served_in_place(sound: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    pulled: list[bytes] = []

    def once(self: ImageServer) -> None:
        with self:
            for digest in (BASE, BIG):
                url = f"http://{self.address}/v2/example.com/web/blobs/{digest}"
                for first in (0, 3_000_000 if digest == BIG else 1000):  # a client that goes on in the middle
                    request = Request(url, headers={"Range": f"bytes={first}-"})
                    with urlopen(request, timeout=20) as answer:
                        pulled.append(answer.read())

    monkeypatch.setattr(ImageServer, "serve_forever", once)
    before = stamps(*volumes(sound.folder))
    done = sound.offline("serve", *some(sound, 3, 1, 2), "--port", "0")
    assert done.out.startswith("serving 2 repositories at ")
    base, big = WEB.contents[BASE], WEB.contents[BIG]
    assert pulled == [base, base[1000:], big, big[3_000_000:]]
    assert stamps(*volumes(sound.folder)) == before


def test_send_takes_further_volumes_by_option(sound: Gap) -> None:
    hint = "hint: name the first volume as BUNDLE, and each further one with --volume DIR\n"
    first, second = some(sound, 1, 2)
    assert sound.online("send", first, "127.0.0.1:1", code=19).err.endswith(hint)
    assert sound.online("send", first, second, "127.0.0.1:1", code=2).err.endswith(hint)


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
def test_who_names_the_medium_is_told_what_is_on_it(sound: Gap, command: str) -> None:
    words = {"load": ("--to", "oci:out"), "receive": ("--into", "x")}.get(command, ())
    medium = sound.folder / "b"
    done = sound.offline(command, medium, *words, code=2)
    assert f"error: not a bundle: {medium}, got a folder of volumes\n" in done.err
    assert f"\nhint: name the volumes together: {medium}/{TITLE}.v2\n" in done.err


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
        f"the volumes have different cuts: {cut[2]}/volume.json, want that of {some(gap, 1)[0]}" in done.err
    )
    assert (
        "hint: volumes of two cuts of one bundle cannot be mixed; `airgap repack` makes a new cut" in done.err
    )
    assert gap.offline.ended() == ("verify", "refused", 10)


# -- volumes that are harmed

Harm = Callable[[Path], None]
PART = f"{BIG.path}.001"
"""On the second volume."""


def flipped(name: str, at: int = 0) -> Harm:
    return lambda volume: flip(volume / name, at)


def removed(name: str) -> Harm:
    return lambda volume: (volume / name).unlink()


def added(name: str) -> Harm:
    return lambda volume: (volume / name).write_bytes(b"x")


def cut_short(name: str) -> Harm:
    return lambda volume: os.truncate(volume / name, 10)


def linked(name: str) -> Harm:
    def harm(volume: Path) -> None:
        (volume / name).unlink()
        (volume / name).symlink_to(volume.parent / "elsewhere")

    return harm


def table_of(change: Callable[[bytes], bytes]) -> Harm:
    def harm(volume: Path) -> None:
        path = volume / "volume.json"
        path.write_bytes(change(path.read_bytes()))

    return harm


HARMS: dict[str, tuple[Harm, int, str]] = {
    "part": (flipped(PART, 77), 12, f"wrong digest: {{volume}}/{PART}"),
    "end of a part": (flipped(PART, 2_000_000), 12, f"wrong digest: {{volume}}/{PART}"),
    "part missing": (removed(PART), 12, f"missing file: {{volume}}/{PART}"),
    "part cut short": (cut_short(PART), 12, f"wrong size: {{volume}}/{PART}, want "),
    "part is a link": (linked(PART), 12, f"not a regular file with one link: {{volume}}/{PART}"),
    "part of another volume": (added(f"{BIG.path}.002"), 12, f"file of another volume: {{volume}}/{BIG.path}.002"),
    "part of no blob": (added(f"{TOP.path}.000"), 12, f"file of another volume: {{volume}}/{TOP.path}.000"),
    "whole blob of another": (added(TOP.path), 12, f"file of another volume: {{volume}}/{TOP.path}"),
    "image manifest": (flipped(API.descriptor.digest.path), 12, "not the same on every volume: {volume}/blobs/"),
    "image manifest missing": (removed(API.descriptor.digest.path), 12, "missing file: {volume}/blobs/"),
    "strange file": (added("autorun.inf"), 12, "file that is not on every volume: {volume}/autorun.inf"),
    "envelope": (flipped(ENVELOPE_FILE), 12, "not the same on every volume: {volume}/bundle.dsse.json, want "),
    "no envelope": (removed(ENVELOPE_FILE), 19, "unfinished volume: {volume}, want bundle.dsse.json"),
    "statement": (flipped("statement.json", 200), 12, "not the same on every volume: {volume}/statement.json"),
    "sums": (flipped("SHA256SUMS"), 12, "not the same on every volume: {volume}/SHA256SUMS"),
    "root": (flipped("trust/1.root.json"), 12, "not the same on every volume: {volume}/trust/1.root.json"),
    "table is no JSON": (table_of(lambda raw: raw[1:]), 10, "{volume}/volume.json"),
    "table not canonical": (table_of(lambda raw: raw + b" "), 10, "not in canonical form: {volume}/volume.json"),
    "table with a field more": (table_of(lambda raw: raw.replace(b'"of"', b'"x":1,"of"', 1)), 10, "volume.json"),
    "volume 9 of 3": (table_of(lambda raw: raw.replace(b'"volume":2,\n', b'"volume":9,\n', 1)), 10, "no such volume"),
    "no table": (removed("volume.json"), 19, "want volume 2 of 3, got volume 1, 3\nhint: not a volume: {volume}\n"),
}  # fmt: skip


@pytest.mark.parametrize(("harm", "code", "message"), HARMS.values(), ids=HARMS)
def test_harm_on_the_second_volume_is_found(gap: Gap, harm: Harm, code: int, message: str) -> None:
    volume = volumes(gap.folder)[1]
    harm(volume)
    expected = message.format(volume=volume)
    done = gap.offline("verify", *some(gap, 3, 2, 1), code=code)
    assert expected in done.err
    assert done.out == ""
    out = gap.folder / "out"
    partly = "wrong digest" in message  # a layer is read only when it is loaded
    done = gap.offline("load", *some(gap, 3, 2, 1), "--to", f"oci:{out}", code=3 if partly else code)
    assert expected in done.err
    assert (BIG.path in files_of(out)) is False
    assert out.exists() == partly
    assert "Traceback" not in done.err
    gap.offline("audit", "verify")


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (TOP.path, 12, f"wrong digest: {{volume}}/{TOP.path}, want {TOP}, got "),
        (f"{BIG.path}.000", 12, f"wrong digest: {{volume}}/{BIG.path}.000, want "),
        ("index.json", 12, "not the same on every volume: "),
        ("bundle.dsse.json", 10, "bundle.dsse.json"),
        ("statement.json", 12, "not the statement that was signed"),
    ],
)
def test_harm_on_the_first_volume_is_found(gap: Gap, name: str, code: int, message: str) -> None:
    volume = volumes(gap.folder)[0]
    flip(volume / name)
    done = gap.offline("verify", *some(gap, 2, 3, 1), code=code)
    assert message.format(volume=volume) in done.err
    assert gap.offline.ended() == ("verify", "refused", code)


def pull_out(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the medium answer no more in the middle of a file."""
    real, seen = os.readv, 0

    def readv(fd: int, buffers: Sequence[memoryview]) -> int:
        nonlocal seen
        if str(Path(f"/proc/self/fd/{fd}").readlink()).endswith(name):
            seen += 1
            if seen > 1:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return real(fd, buffers)

    monkeypatch.setattr(os, "readv", readv)


def test_a_medium_that_is_pulled_out_meanwhile(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    message = f"cannot read: {part(gap.folder, 2)}, got No such device"
    out = gap.folder / "out"
    with monkeypatch.context() as patch:
        pull_out(patch, PART)
        assert f"error: {message}" in gap.offline("verify", *volumes(gap.folder), code=11).err
    with monkeypatch.context() as patch:
        pull_out(patch, PART)
        done = gap.offline("load", *volumes(gap.folder), "--to", f"oci:{out}", code=3)
        assert f"failed: {NAMES[1]}: {message}" in done.err
        assert BIG.path not in files_of(out)
    with monkeypatch.context() as patch:
        pull_out(patch, PART)
        archive = gap.folder / "out.tar"
        assert message in gap.offline("load", *volumes(gap.folder), "--to", f"archive:{archive}", code=11).err
        assert not archive.exists()
    with monkeypatch.context() as patch:
        pull_out(patch, PART)
        assert f"error: {message}" in receive(gap, 1, 2, 3, code=11).err
    gap.offline("load", *volumes(gap.folder), "--to", f"oci:{out}")
    loaded(out)
    receive(gap, 1, 2, 3)
    gap.offline("verify", gap.folder / "x" / TITLE)
    gap.offline("audit", "verify")


def test_damage_comes_with_the_remedy(gap: Gap) -> None:
    flip(part(gap.folder, 2))
    hint = "hint: write the damaged files again with `airgap repair` from another copy, or with `airgap pack`"
    assert hint in gap.offline("verify", *volumes(gap.folder), code=12).err
    flip(volumes(gap.folder)[0] / TOP.path)
    done = gap.offline("verify", *volumes(gap.folder), code=12)
    assert sum("wrong digest: " in line for line in done.err.splitlines()) == 2
    assert f"error: the bundle is damaged: {volumes(gap.folder)[0]}, got 2 wrong blobs\n{hint}" in done.err


def test_a_table_that_lies_of_the_parts_is_found(gap: Gap) -> None:
    """Nobody signs the table: two parts that change places in it make another blob."""
    for volume in volumes(gap.folder):
        path = volume / "volume.json"
        table = VolumeTable.parse(path.read_bytes(), "x")
        first, second, third = table.cut.parts[BIG]
        table.cut.parts[BIG] = (first, third, second)
        path.write_bytes(table.to_bytes())
    names = [volumes(gap.folder)[n] / f"{BIG.path}.00{n}" for n in (1, 2)]
    contents = [path.read_bytes() for path in names]
    names[0].unlink()
    names[1].unlink()
    (volumes(gap.folder)[2] / names[0].relative_to(volumes(gap.folder)[1])).write_bytes(contents[1])
    (volumes(gap.folder)[1] / names[1].relative_to(volumes(gap.folder)[2])).write_bytes(contents[0])
    done = gap.offline("verify", *volumes(gap.folder), code=12)
    assert f"want {BIG}, got sha256:" in done.err
    target = gap.folder / "out"
    gap.offline("load", *volumes(gap.folder), "--to", f"oci:{target}", code=3)
    assert BIG.path not in files_of(target)


# -- one port: the volumes one after the other


class Terminal(io.StringIO):
    """A person who answers, in this order; a function is what they do before they press Enter."""

    def __init__(self, *answers: str | Callable[[], object]) -> None:
        super().__init__()
        self._answers = list(answers)

    def isatty(self) -> bool:
        return True

    def readline(self, _: int = -1) -> str:
        if not self._answers:
            return ""
        answer = self._answers.pop(0)
        if isinstance(answer, str):
            return f"{answer}\n"
        answer()
        return "\n"


def questions(done: Done) -> list[str]:
    """The volumes that were asked for, in order."""
    lines = [line for line in done.err.splitlines() if "insert volume " in line]
    return [line.partition("insert volume ")[2].split()[0] for line in lines]


@pytest.mark.parametrize(
    ("first", "answers", "asked"),
    [
        (1, (2, 3), ["2", "3"]),
        (3, (1, 2, 3), ["1", "2", "3"]),  # a layer in parts is hashed from its beginning
        (2, (1, 2, 3), ["1", "2", "3"]),
        (1, (3, 2, 3), ["2", "2", "3"]),
        (1, (1, 2, 3), ["2", "2", "3"]),
    ],
)
def test_verify_asks_for_one_volume_after_the_other(
    sound: Gap, monkeypatch: pytest.MonkeyPatch, first: int, answers: tuple[int, ...], asked: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(*(str(path) for path in some(sound, *answers))))
    done = sound.offline("verify", *some(sound, first), "--json")
    assert questions(done) == asked
    [value] = done.json["bundles"]
    assert (value["bundle"], value["files"]) == (str(some(sound, first)[0]), 13)
    assert sound.offline.ended() == ("verify", "ok", 0)
    assert sound.offline.records()[-1]["volumes"] == [1, 2, 3]


def test_what_is_said_at_the_terminal(sound: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sound.folder)
    others = Path("whole")
    answers = ("", "nowhere", str(others / TITLE), "b", "~/c")
    monkeypatch.setenv("HOME", str(sound.folder))
    monkeypatch.setattr("sys.stdin", Terminal(*answers))
    done = sound.offline("verify", f"a/{TITLE}.v1")
    guess = f"insert volume 2 of 3 of {TITLE}, then press Enter (a/{TITLE}.v2),"
    told = [line.removeprefix("or type the path of its folder: ") for line in done.err.splitlines()]
    assert told[:10] == [
        "verifying volume 1 of 3: 3.9 MB",
        told[1],
        guess,
        f"no such folder: a/{TITLE}.v2",
        guess,
        "no such folder: nowhere",
        guess,
        f"not a volume of this bundle: whole/{TITLE}, want {TITLE}",
        guess,
        "verifying volume 2 of 3: 3.9 MB",
    ]
    assert f"insert volume 3 of 3 of {TITLE}, then press Enter (b/{TITLE}.v3)," in told
    assert done.out.startswith(f"good: {TITLE}, signed by alice, 13 files, 8.5 MB")


def test_one_mount_point_for_all(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter alone: the next volume is where the last one was."""
    port = gap.folder / "port"
    port.mkdir()

    def put_in(number: int) -> None:
        for path in port.iterdir():
            shutil.move(path, gap.folder)
        shutil.move(some(gap, number)[0], port)

    put_in(1)
    monkeypatch.setattr("sys.stdin", Terminal(lambda: put_in(2), lambda: put_in(3)))
    done = gap.offline("verify", port / f"{TITLE}.v1")
    assert questions(done) == ["2", "3"]
    assert done.out.startswith(f"good: {TITLE}")


def test_volumes_of_two_cuts_one_after_the_other(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no damage, and a copy can be put together of both."""
    cut = repacked(gap, [whole_of(gap)], "--to", gap.folder / "d", "--volume-size", "4.5MB")
    monkeypatch.setattr("sys.stdin", Terminal(str(cut[1])))
    done = gap.offline("verify", *some(gap, 1), code=10)
    assert (
        f"error: the volumes have different cuts: {cut[1]}\nhint: start again with the volumes of one"
        in done.err
    )
    monkeypatch.setattr("sys.stdin", Terminal(*map(str, (*cut, *some(gap, 2, 3)))))
    receive(gap, 1)
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))


@pytest.mark.parametrize("command", ["verify", "load", "receive"])
def test_the_end_of_the_input_is_an_answer(gap: Gap, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    words = {"load": ("--to", "oci:out"), "receive": ("--into", gap.folder / "x")}.get(command, ())
    monkeypatch.setattr("sys.stdin", Terminal())
    done = gap.offline(command, *some(gap, 1), *words, code=19)
    assert f"\nerror: volumes are missing: {TITLE}, want volume 2, 3 of 3, got volume 1\nhint: " in done.err
    assert ("hint: the copied content is kept: run the same command again" in done.err) == (
        command != "verify"
    )
    event = "verify" if command == "verify" else "receive"
    assert gap.offline.ended() == (event, "failed", 19)


def test_ctrl_c_at_the_question(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Terminal(interrupt))
    gap.offline("verify", *some(gap, 1), code=130)
    assert gap.offline.ended() == ("verify", "aborted", 130)


def test_damage_is_found_in_turn(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    flip(part(gap.folder, 3), 5)
    monkeypatch.setattr("sys.stdin", Terminal(*map(str, some(gap, 2, 3))))
    done = gap.offline("verify", *some(gap, 1), code=12)
    assert f"wrong digest: {part(gap.folder, 3)}, want " in done.err
    assert gap.offline.ended() == ("verify", "refused", 12)


def test_parts_that_agree_with_their_table_and_not_with_the_layer(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who changes a part changes its sum in the tables too: the layer's digest is signed."""
    path = part(gap.folder, 2)
    old = (
        VolumeTable.parse((volumes(gap.folder)[0] / "volume.json").read_bytes(), "x").cut.parts[BIG][1].sha256
    )
    flip(path, 9)
    new = subprocess.run(["sha256sum", path], capture_output=True, check=True).stdout[:64]
    for volume in volumes(gap.folder):
        table = volume / "volume.json"
        table.write_bytes(table.read_bytes().replace(old.encode(), new))
    monkeypatch.setattr("sys.stdin", Terminal(*map(str, some(gap, 2, 3))))
    done = gap.offline("verify", *some(gap, 1), code=12)
    assert f"want {BIG}, got sha256:" in done.err
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert f"want {BIG}, got sha256:" in gap.offline("verify", *volumes(gap.folder), code=12).err


def test_load_puts_volumes_together_when_it_has_to_ask(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(*map(str, some(gap, 2, 3))))
    out = gap.folder / "out"
    done = gap.offline("load", *some(gap, 1), "--to", f"oci:{out}")
    assert "not all volumes are inserted: they are joined on this machine's disk first\n" in done.err
    loaded(out)
    assert list((gap.offline.home / "staging").iterdir()) == []
    events = [(r["event"], r["result"]) for r in gap.offline.records() if r["phase"] == "end"]
    assert events[-2:] == [("receive", "ok"), ("load", "ok")]


def test_what_was_put_together_stays_until_all_of_it_is_loaded(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The media may be far away again by then."""
    out = gap.folder / "out"
    write_layout(out, {NAMES[0]: IMAGES[NAMES[0]]})
    in_the_way = out / WEB.layers[-1].path
    in_the_way.mkdir()
    monkeypatch.setattr("sys.stdin", Terminal(*map(str, some(gap, 2, 3))))
    done = gap.offline("load", *some(gap, 1), "--to", f"oci:{out}", code=3)
    [kept] = (gap.offline.home / "staging").iterdir()
    assert f"kept until everything is loaded: {kept}\n" in done.err
    in_the_way.rmdir()
    monkeypatch.setattr("sys.stdin", Terminal())
    done = gap.offline("load", *some(gap, 1), "--to", f"oci:{out}")
    assert questions(done) == []
    loaded(out)
    assert not kept.exists()


# -- receive


def receive(gap: Gap, *numbers: int, code: int = 0) -> Done:
    return gap.offline("receive", *some(gap, *numbers), "--into", gap.folder / "x", code=code)


def test_volumes_are_put_together_at_once(gap: Gap) -> None:
    words = ("receive", *some(gap, 2, 3, 1), "--into", gap.folder / "x", "--json")
    [value] = gap.offline(*words).json["bundles"]
    assert value.keys() == {"bundle", "volumes", "statement_sha256", "bytes", "blobs_written"} | PROOF
    assert (value["bundle"], value["blobs_written"]) == (str(gap.folder / "x" / TITLE), 7)
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))
    assert gap.offline.ended() == ("receive", "ok", 0)
    assert gap.offline(*words).json["bundles"][0]["blobs_written"] == 0


def test_volumes_are_put_together_one_call_each(gap: Gap) -> None:
    into = gap.folder / "x" / TITLE
    done = receive(gap, 1, code=19)
    assert f"volumes are missing: {TITLE}, want volume 2, 3 of 3, got volume 1\n" in done.err
    assert "hint: the copied content is kept: run the same command again with the next volume" in done.err
    assert gap.offline.ended() == ("receive", "failed", 19)
    done = gap.offline("verify", into, code=19)
    assert "a copy with the same `receive`, `repack` or `send`" in done.err
    kept = stamps(into)
    assert f"{TITLE}/{TOP.path}" in kept
    done = receive(gap, 2, code=19)
    assert f"a volume is missing: {TITLE}, want volume 3 of 3, got volume 2\n" in done.err
    done = receive(gap, 3)
    assert done.out == f"complete: {into} (8.5 MB, 1 blob written)\n"
    assert files_of(into) == files_of(whole_of(gap))
    assert all(stamps(into)[name] == kept[name] for name in kept if not name.endswith(".part"))
    assert (
        receive(gap, 1, 2, 3).out == f"complete: {into} (8.5 MB, every blob was there already, and correct)\n"
    )
    gap.offline("audit", "verify")


@pytest.mark.parametrize("first", [1, 2, 3])
def test_receive_names_the_volume_that_it_needs_next(gap: Gap, first: int) -> None:
    """What a part is the continuation of must be there first; what is asked for always leads to the end."""
    done = receive(gap, first, code=19)
    for _ in range(6):
        wanted = int(done.err.partition("want volume ")[2][0])
        done = gap.offline(
            "receive", *some(gap, wanted), "--into", gap.folder / "x", code=19 if wanted < 3 else 0
        )
        if wanted == 3:
            break
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))


def test_receive_asks_at_a_terminal(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(str(some(gap, 2)[0]), str(gap.folder / "c")))
    done = receive(gap, 1)
    assert questions(done) == ["2", "3"]
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))


def test_receive_goes_on_inside_a_part(gap: Gap) -> None:
    """Broken off in the middle of the second volume: what is durable of the layer is read, and kept."""
    receive(gap, 1, code=19)
    partial = gap.folder / "x" / TITLE / f"{BIG.path}.part"
    with partial.open("ab") as file:
        file.write(part(gap.folder, 2).read_bytes()[:1000])
    inode = partial.stat().st_ino
    receive(gap, 2, code=19)
    assert partial.stat().st_ino == inode
    receive(gap, 3)
    assert (gap.folder / "x" / TITLE / BIG.path).stat().st_ino == inode
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))


def test_a_part_that_is_wrong_is_named_and_not_kept(gap: Gap) -> None:
    flip(part(gap.folder, 2), 3)
    receive(gap, 1, code=19)
    done = receive(gap, 2, code=12)
    assert f"wrong digest: {part(gap.folder, 2)}, want " in done.err
    assert "\nhint: write the damaged files again with `airgap repair` from another copy" in done.err
    assert not (gap.folder / "x" / TITLE / ENVELOPE_FILE).exists()
    flip(part(gap.folder, 2), 3)  # a better reader of the same medium
    done = receive(gap, 1, 2, 3)
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))


def test_what_was_received_wrong_is_found_when_it_goes_on(gap: Gap) -> None:
    receive(gap, 1, code=19)
    flip(gap.folder / "x" / TITLE / f"{BIG.path}.part", 44)
    flip(gap.folder / "x" / TITLE / TOP.path)
    receive(gap, 1, 2, 3)
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))


def test_all_that_is_wrong_is_told(gap: Gap) -> None:
    flip(part(gap.folder, 2), 3)
    flip(volumes(gap.folder)[0] / TOP.path)
    done = receive(gap, 1, 2, 3, code=12)
    assert sum(line.startswith("wrong digest: ") for line in done.err.splitlines()) == 2
    assert f"error: the bundle is damaged: {volumes(gap.folder)[0]}, got 2 wrong blobs\n" in done.err


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_receive_copies_what_is_not_cut(gap: Gap, form: str) -> None:
    bundle = whole_of(gap)
    if form == "tar":
        path = gap.manifest("{oci: source, ref: 'example.com/api:1'}", name="single")
        bundle = Path(gap.online("pack", path, "--to", gap.folder / "t", "--tar", "--json").json["bundle"])
    done = gap.offline("receive", bundle, "--into", gap.folder / "x", "--json").json
    gap.offline("verify", done["bundles"][0]["bundle"])


def test_receive_takes_several_bundles(gap: Gap) -> None:
    others = other_bundle(gap)
    words = ("--into", gap.folder / "x", "--json")
    done = gap.offline("receive", others[1], *some(gap, 1, 3), others[0], *some(gap, 2), *words).json
    assert [Path(each["bundle"]).name for each in done["bundles"]] == ["stack-0002", TITLE]
    gap.offline("verify", *(each["bundle"] for each in done["bundles"]))


def test_receive_takes_what_is_for_this_site_only(gap: Gap) -> None:
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text().replace("images:", "destinations: [lab]\nimages:"))
    words = ("--to", gap.folder / "d", "--volume-size", VOLUME_SIZE, "--json")
    made = gap.online("pack", path, *words).json["volumes"]
    done = gap.offline("receive", *made, "--into", gap.folder / "x", code=15)
    assert "the bundle is for another site: stack-0002, want lab, got plant-7" in done.err
    assert not (gap.folder / "x").exists()
    assert gap.offline.ended() == ("receive", "refused", 15)


# -- repack


def repacked(gap: Gap, sources: list[Path], *words: object) -> list[Path]:
    value = gap.offline("repack", *sources, *words, "--json").json
    assert value.keys() == {"bundle", "volumes", "statement_sha256", "bytes", "blobs_written"} | PROOF
    assert gap.offline.ended() == ("media-write", "ok", 0)
    return list(map(Path, value["volumes"]))


SIGNED = ("bundle.dsse.json", "statement.json", "SHA256SUMS", "index.json")


@pytest.mark.parametrize(
    ("cut", "words", "count"),
    [
        (True, (), 1),
        (True, ("--volume-size", "8MB"), 2),
        (True, ("--volume-size", "4.3MB"), 3),
        (False, ("--volume-size", VOLUME_SIZE), 3),
        (False, ("--volume-size", "8MB"), 2),
        (False, (), 1),
        (False, ("--volume-size", "fat32"), 1),
    ],
)
def test_a_new_cut_keeps_the_signatures(gap: Gap, cut: bool, words: tuple[str, ...], count: int) -> None:
    sources = volumes(gap.folder) if cut else [whole_of(gap)]
    before = stamps(*sources)
    made = repacked(gap, sources, "--to", gap.folder / "d", *words)
    assert [path.name for path in made] == (
        [TITLE] if count == 1 else [f"{TITLE}.v{n}" for n in range(1, count + 1)]
    )
    signed = [*SIGNED, *(f"sig/{path.name}" for path in (whole_of(gap) / "sig").iterdir())]
    for folder in made:
        assert all((folder / name).read_bytes() == (whole_of(gap) / name).read_bytes() for name in signed)
    [value] = gap.offline("verify", *made, "--json").json["bundles"]
    assert value["files"] == 13
    assert stamps(*sources) == before
    if count == 1:
        assert files_of(made[0]) == files_of(whole_of(gap))


def test_a_cut_comes_back_to_the_same_bytes(gap: Gap) -> None:
    first = repacked(gap, [whole_of(gap)], "--to", gap.folder / "d", "--volume-size", "4.3MB")
    second = repacked(gap, first, *media_of(gap)[:0], "--to", gap.folder / "e", "--volume-size", VOLUME_SIZE)
    assert [files_of(path) for path in second] == [files_of(path) for path in volumes(gap.folder)]


def test_repack_again_writes_nothing(gap: Gap) -> None:
    words = ("--to", gap.folder / "d", "--to", gap.folder / "e", "--volume-size", "8MB")
    made = repacked(gap, [whole_of(gap)], *words)
    before = stamps(*made)
    done = gap.offline("repack", whole_of(gap), *words)
    assert done.out.splitlines() == [
        f"complete: {TITLE} on 2 volumes (8.5 MB, every blob was there already, and correct)",
        f"  volume 1: {made[0]}",
        f"  volume 2: {made[1]}",
        "these volumes were there and are small enough: to cut again, remove them or use other folders",
    ]
    assert stamps(*made) == before


@pytest.mark.parametrize("cut", [True, False])
def test_nothing_is_written_over_what_is_read(gap: Gap, cut: bool) -> None:
    """A damaged bundle that is copied onto itself would lose its envelope, and its only copy."""
    sources = volumes(gap.folder) if cut else [whole_of(gap)]
    flip((sources[0]) / TOP.path)
    contents = [files_of(path) for path in sources]
    to = media_of(gap) if cut else ["--to", gap.folder / "whole"]
    size = ("--volume-size", VOLUME_SIZE) if cut else ()
    commands: list[tuple[object, ...]] = [
        ("repack", *sources, *to, *size),
        ("repair", *sources, *itertools.chain(*(("--from", path) for path in sources))),
    ]
    if not cut:
        commands.append(("receive", *sources, "--into", gap.folder / "whole"))
    for command in commands:
        done = gap.offline(*command, code=2)
        assert f"the copy would be written over the bundle itself: {sources[0]}" in done.err
        assert "\nhint: " in done.err
        assert [files_of(path) for path in sources] == contents


def test_repack_does_not_ask_for_whom_it_is(gap: Gap) -> None:
    """The sending side cuts too."""
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text().replace("images:", "destinations: [lab]\nimages:"))
    bundle = gap.online("pack", path, "--to", gap.folder / "d", "--json").json["bundle"]
    gap.online("repack", bundle, "--to", gap.folder / "e", "--volume-size", VOLUME_SIZE)
    assert gap.online.ended() == ("media-write", "ok", 0)
    gap.offline("verify", *(gap.folder / "e").iterdir(), code=15)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--to", "d", "--to", "e", "--volume-size", "4.2MB"), 11, "the bundle does not fit"),
        (("--to", "d", "--volume-size", "1"), 2, "not a size"),
    ],
)
def test_repack_refuses(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.chdir(gap.folder)
    assert message in gap.offline("repack", whole_of(gap), *words, code=code).err


def test_a_damaged_bundle_is_not_passed_on(gap: Gap) -> None:
    flip(part(gap.folder, 1), 10)
    done = gap.offline("repack", *volumes(gap.folder), "--to", gap.folder / "d", code=12)
    assert f"wrong digest: {part(gap.folder, 1)}, want " in done.err
    assert not (gap.folder / "d" / TITLE / ENVELOPE_FILE).exists()
    assert gap.offline.ended() == ("media-write", "refused", 12)


# -- repair, and pack again


def pack_command(gap: Gap) -> tuple[Side, list[object]]:
    return gap.online, ["pack", gap.folder / "stack.yaml", *media_of(gap), "--volume-size", VOLUME_SIZE]


def repair_command(gap: Gap) -> tuple[Side, list[object]]:
    return gap.offline, ["repair", *some(gap, 2, 3, 1), "--from", whole_of(gap)]


def pack_again(gap: Gap) -> None:
    side, words = pack_command(gap)
    side(*words)


def repair(gap: Gap) -> None:
    side, words = repair_command(gap)
    side(*words)


MENDS = [pack_again, repair]


@pytest.mark.parametrize("mend", MENDS)
@pytest.mark.parametrize(
    ("harmed", "harm"),
    [(1, flip), (2, lambda path: os.truncate(path, 1000)), (3, Path.unlink)],
    ids=["flip", "cut", "remove"],
)
def test_only_the_part_that_is_wrong_is_written(
    gap: Gap, mend: Callable[[Gap], None], harmed: int, harm: Harm
) -> None:
    folders = volumes(gap.folder)
    path = part(gap.folder, harmed)
    before, contents = stamps(*folders), [files_of(folder) for folder in folders]
    harm(path)
    mend(gap)
    after = stamps(*folders)
    changed = {name for name in after if after[name] != before.get(name)}
    name = f"{folders[harmed - 1].name}/{path.relative_to(folders[harmed - 1])}"
    # the envelope is the commit point: it is taken away before the first byte, and written last
    assert changed == {name} | {f"{folder.name}/{ENVELOPE_FILE}" for folder in folders}
    assert [files_of(folder) for folder in folders] == contents
    gap.offline("verify", *folders)


@pytest.mark.parametrize("mend", MENDS)
@pytest.mark.parametrize(
    "name",
    [
        "index.json",
        "statement.json",
        "bundle.dsse.json",
        "volume.json",
        API.descriptor.digest.path,
    ],
)
def test_small_files_are_mended_where_they_are_wrong(
    gap: Gap, mend: Callable[[Gap], None], name: str
) -> None:
    folders = volumes(gap.folder)
    before, contents = stamps(*folders), [files_of(folder) for folder in folders]
    flip(folders[1] / name, 1)
    mend(gap)
    assert [files_of(folder) for folder in folders] == contents
    after = stamps(*folders)
    changed = {each for each in after if after[each] != before[each]}
    # The envelope goes away before what it covers changes; a copy of a document is covered by the others.
    again = {name} if name.startswith("blobs/") else {name, ENVELOPE_FILE}
    assert changed == {f"{folders[1].name}/{each}" for each in again}


@pytest.mark.parametrize("mend", MENDS)
@pytest.mark.parametrize("harmed", [1, 3])
def test_a_medium_that_is_full_can_be_mended(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, mend: Callable[[Gap], None], harmed: int
) -> None:
    """The wrong file goes before the right one comes: volumes are filled to the brim."""
    folders = volumes(gap.folder)
    full = [size_of(folder) for folder in folders]
    most = list(full)

    def write(fd: int, data: memoryview) -> None:
        write_all(fd, data)
        most[:] = [max(size_of(folder), before) for folder, before in zip(folders, most, strict=True)]

    monkeypatch.setattr("airgap.bundle.blob_files.write_all", write)
    flip(part(gap.folder, harmed), 9)
    flip(folders[0] / BASE.path, 9)
    mend(gap)
    assert all(after - before < 20_000 for before, after in zip(full, most, strict=True))
    gap.offline("verify", *folders)


def test_a_medium_without_a_free_byte_is_checked_and_mended(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = SimpleNamespace(f_frsize=1, f_blocks=1 << 30, f_bavail=0, f_flag=0)
    monkeypatch.setattr("os.statvfs", lambda _path: space)
    pack_again(gap)
    flip(part(gap.folder, 2))
    pack_again(gap)
    gap.offline("verify", *volumes(gap.folder))


def break_off(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Ctrl-C instead of the step of this number; whatever changes a medium or a ledger is a step."""
    steps = itertools.count()

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **options: object) -> object:
            if next(steps) == after:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        return step

    for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "write"), (os, "fsync")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


@pytest.mark.parametrize("command", [pack_command, repair_command])
def test_mending_can_be_broken_off_anywhere(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, command: Callable[[Gap], tuple[Side, list[object]]]
) -> None:
    """No half state looks complete, and the same command once more ends it."""
    side, words = command(gap)
    folders = volumes(gap.folder)
    contents = [files_of(folder) for folder in folders]
    monkeypatch.setenv("AIRGAP_HOME", str(side.home))
    codes = []
    for after in range(0, 1000, 13):  # tests.faults breaks off everywhere
        flip(part(gap.folder, 2), 9)
        (folders[0] / "index.json").unlink()
        with monkeypatch.context() as patch:
            break_off(patch, after)
            codes.append(main([str(word) for word in words]))
        if [files_of(folder) for folder in folders] != contents:
            assert main(["verify", *map(str, folders)]) in (12, 19)
            side(*words)
        side("verify", *folders)
        assert [files_of(folder) for folder in folders] == contents
        if codes[-1] == 0:
            break
    assert set(codes[:-1]) == {130}
    assert len(codes) > 5


@pytest.mark.parametrize("mend", MENDS)
def test_a_volume_that_was_lost_is_made_again(gap: Gap, mend: Callable[[Gap], None]) -> None:
    folders = volumes(gap.folder)
    contents = [files_of(folder) for folder in folders]
    before = stamps(*some(gap, 1, 3))
    shutil.rmtree(folders[1])
    mend(gap)
    assert [files_of(folder) for folder in folders] == contents
    after = stamps(*some(gap, 1, 3))
    assert {name for name in after if after[name] != before[name]} == {
        f"{folder.name}/{ENVELOPE_FILE}" for folder in some(gap, 1, 3)
    }


@pytest.mark.parametrize("mend", MENDS)
def test_several_harms_are_mended_at_once(gap: Gap, mend: Callable[[Gap], None]) -> None:
    folders = volumes(gap.folder)
    contents = [files_of(folder) for folder in folders]
    flip(part(gap.folder, 1), 7)
    part(gap.folder, 3).unlink()
    flip(folders[0] / TOP.path)
    (folders[2] / "index.json").unlink()
    (folders[1] / "blobs/sha256/stray").write_bytes(b"x")
    mend(gap)
    assert [files_of(folder) for folder in folders] == contents


def test_repair_of_what_is_right_writes_nothing(gap: Gap) -> None:
    folders = volumes(gap.folder)
    before = stamps(*folders)
    value = gap.offline("repair", *folders, "--from", whole_of(gap), "--json").json
    assert value.keys() == {"bundle", "volumes", "statement_sha256", "bytes", "blobs_written"} | PROOF
    assert (value["volumes"], value["blobs_written"]) == (list(map(str, folders)), 0)
    assert stamps(*folders) == before
    end = gap.offline.records()[-1]
    assert (end["event"], end["result"], end["written"], end["volumes"]) == ("media-write", "ok", 0, 3)


@pytest.mark.parametrize("wrong", [BASE, BIG, TOP])
def test_a_whole_copy_is_mended_from_volumes(gap: Gap, wrong: object) -> None:
    bundle = whole_of(gap)
    contents, before = files_of(bundle), stamps(bundle)
    flip(bundle / wrong.path, 50)  # type: ignore[attr-defined]
    sources = itertools.chain(*(("--from", path) for path in some(gap, 3, 2, 1)))
    done = gap.offline("repair", bundle, *sources)
    assert done.out == f"complete: {bundle} (8.5 MB, 1 blob written)\n"
    assert files_of(bundle) == contents
    after = stamps(bundle)
    assert {name for name in after if after[name] != before[name]} == {
        f"{TITLE}/{wrong.path}",  # type: ignore[attr-defined]
        f"{TITLE}/{ENVELOPE_FILE}",
    }


def test_a_copy_that_is_damaged_elsewhere_mends_all_the_same(gap: Gap) -> None:
    contents = [files_of(folder) for folder in volumes(gap.folder)]
    flip(whole_of(gap) / TOP.path)
    flip(part(gap.folder, 2))
    repair(gap)
    assert [files_of(folder) for folder in volumes(gap.folder)] == contents


def test_a_copy_with_the_same_damage_does_not(gap: Gap) -> None:
    flip(whole_of(gap) / BIG.path, 5_000_000)
    flip(part(gap.folder, 2))
    before = {n: part(gap.folder, n).read_bytes() for n in (1, 3)}
    done = gap.offline("repair", *volumes(gap.folder), "--from", whole_of(gap), code=12)
    assert f"wrong digest: {whole_of(gap)}/{BIG.path}, want " in done.err
    gap.offline("verify", *volumes(gap.folder), code=19)
    assert gap.offline.ended() == ("verify", "failed", 19)
    assert {n: part(gap.folder, n).read_bytes() for n in (1, 3)} == before
    flip(whole_of(gap) / BIG.path, 5_000_000)
    repair(gap)
    gap.offline("verify", *volumes(gap.folder))


@pytest.mark.parametrize(
    ("numbers", "got"),
    [((1,), "{1}"), ((2, 3), "{2}, {3}"), ((1, 2), "{1}, {2}")],
)
def test_volumes_are_mended_together(gap: Gap, numbers: tuple[int, ...], got: str) -> None:
    done = gap.offline("repair", *some(gap, *numbers), "--from", whole_of(gap), code=2)
    names = got.format("", *volumes(gap.folder))
    assert (
        f"all volumes must be repaired together: {TITLE}, want the folders of 3 volumes, got {names}"
        in done.err
    )
    assert "hint: name all volumes, or make new ones" in done.err


@pytest.mark.parametrize(
    "change", [lambda raw: raw.replace(b'"size":', b'"size":1', 1), lambda raw: raw[:50]]
)
def test_a_table_that_lies_does_no_harm(gap: Gap, change: Callable[[bytes], bytes]) -> None:
    """The cut is taken from the volumes whose table is one of this bundle's layers."""
    folders = volumes(gap.folder)
    contents = [files_of(folder) for folder in folders]
    table_of(change)(folders[0])
    repair(gap)
    assert [files_of(folder) for folder in folders] == contents
    for folder in folders:
        table_of(change)(folder)
    done = gap.offline("repair", *folders, "--from", whole_of(gap), code=2)
    assert "want a volume.json that records the cut" in done.err


def test_sums_of_parts_that_lie_cost_only_time(gap: Gap) -> None:
    """They say which parts to leave alone; what is right is told by the layer's digest."""
    contents = [files_of(folder) for folder in volumes(gap.folder)]
    for folder in volumes(gap.folder):
        table = VolumeTable.parse((folder / "volume.json").read_bytes(), "x")
        first, second, third = table.cut.parts[BIG]
        table.cut.parts[BIG] = (first, replace(second, sha256=first.sha256), third)
        (folder / "volume.json").write_bytes(table.to_bytes())
    flip(part(gap.folder, 3))
    repair(gap)
    assert [files_of(folder) for folder in volumes(gap.folder)] == contents


@pytest.mark.parametrize("name", [f"{TITLE}.v2", TITLE])
def test_one_volume_without_its_table_is_not_taken_for_a_bundle(gap: Gap, name: str) -> None:
    folder = volumes(gap.folder)[1].rename(gap.folder / name)
    table_of(lambda raw: raw[:50])(folder)
    before = stamps(folder)
    gap.offline("repair", folder, "--from", whole_of(gap), code=2)
    assert stamps(folder) == before


def test_repair_refuses_another_bundle(gap: Gap) -> None:
    others = other_bundle(gap)
    before = stamps(*others)
    done = gap.offline("repair", *others, "--from", whole_of(gap), code=2)
    assert f"--from is not a copy of this bundle: {others[0]}, want a copy with statement sha256:" in done.err
    assert f", got {TITLE}, statement sha256:" in done.err
    assert "hint: name a copy of this bundle with --from" in done.err
    assert stamps(*others) == before


def test_a_tar_is_not_mended(gap: Gap) -> None:
    path = gap.folder / "x.tar"
    path.write_bytes(b"tar")
    assert (
        f"a tar cannot be repaired: {path}"
        in gap.offline("repair", path, "--from", whole_of(gap), code=2).err
    )
    assert path.read_bytes() == b"tar"


def test_a_copy_by_strangers_mends_nothing(gap: Gap, fresh: Side) -> None:
    fresh("init", "--owner", "mallory", "--site", "hq")
    strange = fresh("pack", gap.folder / "stack.yaml", "--to", gap.folder / "d", "--json").json["bundle"]
    before = stamps(*volumes(gap.folder))
    gap.offline("repair", *volumes(gap.folder), "--from", strange, code=13)
    assert stamps(*volumes(gap.folder)) == before
    assert gap.offline.ended() == ("media-write", "refused", 13)


# -- verify --media


def test_each_medium_is_checked_alone(gap: Gap) -> None:
    for number, folder in enumerate(volumes(gap.folder), 1):
        [value] = gap.online("verify", "--media", folder, "--json").json["bundles"]
        assert value.keys() == {"bundle", "statement_sha256", "volumes_read", "volumes"} | PROOF
        assert (value["volumes_read"], value["volumes"]) == ([number], 3)
        out = gap.offline("verify", "--media", folder).out
        assert out.startswith(f"on the medium: {TITLE}, volume {number} of 3\n")
    assert gap.online.ended() == ("media-verify", "ok", 0)


@pytest.mark.parametrize("name", [PART, "volume.json"])
def test_a_medium_that_lost_a_bit(gap: Gap, name: str) -> None:
    volume = volumes(gap.folder)[1]
    flip(volume / name, 100)
    done = gap.offline("verify", "--media", volume, code=10 if name == "volume.json" else 12)
    assert f"{volume}/{name}" in done.err
    if name == PART:
        assert "hint: write it again with `airgap pack`" in done.err
    assert gap.offline.ended()[0] == "media-verify"
    gap.offline("verify", "--media", *some(gap, 1, 3))


# -- media whose files are small


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """No file may be larger than 4 MB, as on a medium whose file system is of the last century."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_layer_larger_than_a_file_goes_in_parts(gap: Gap) -> None:
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text() + "# the next one\n")
    with small_files():
        made = Path(gap.online("pack", path, "--to", gap.folder / "d", "--json").json["bundle"])
        assert made == gap.folder / "d" / "stack-0002"
        sizes = [(made / f"{BIG.path}.00{n}").stat().st_size for n in (0, 1)]
        assert sizes[0] == 4_000_000
        assert sum(sizes) == len(WEB.contents[BIG])
        flip(made / f"{BIG.path}.001", 1)
        gap.online("pack", path, "--to", gap.folder / "d")
    [value] = gap.offline("verify", made, "--json").json["bundles"]
    assert value["volumes"] == [str(made)]
    assert gap.offline("inspect", made, "--json").json["volumes"] == 1
    gap.offline("load", made, "--to", f"oci:{gap.folder}/out")
    loaded(gap.folder / "out")
    whole = repacked(gap, [made], "--to", gap.folder / "e")
    assert [path.name for path in whole] == ["stack-0002"]
    assert (whole[0] / BIG.path).read_bytes() == WEB.contents[BIG]
    flip(made / f"{BIG.path}.000", 1)
    with small_files():
        gap.offline("repair", made, "--from", whole[0])
    gap.offline("verify", made)


def test_receive_refuses_where_a_layer_cannot_be_whole(gap: Gap) -> None:
    with small_files():
        done = receive(gap, 1, 2, 3, code=11)
        want = f"want files of {len(WEB.contents[BIG]):,} bytes, got at most 4,000,000"
        assert (
            f"error: a layer is larger than the largest file that the medium can hold: {gap.folder / 'x'}, {want}\nhint: "
            in done.err
        )
        made = repacked(gap, volumes(gap.folder), "--to", gap.folder / "x")
    assert list((gap.folder / "x").iterdir()) == made
    gap.offline("verify", *made)


# -- the ledger


def test_everything_is_recorded(gap: Gap) -> None:
    receive(gap, 1, code=19)
    receive(gap, 1, 2, 3)
    gap.offline("repack", whole_of(gap), "--to", gap.folder / "d", "--volume-size", "8MB")
    flip(part(gap.folder, 2))
    gap.offline("verify", *volumes(gap.folder), code=12)
    repair(gap)
    gap.offline("verify", "--media", *volumes(gap.folder))
    gap.offline("load", *volumes(gap.folder), "--to", f"oci:{gap.folder}/out")
    ends = [record for record in gap.offline.records() if record["phase"] == "end"][1:]
    assert [(record["event"], record["result"], record["exit_code"]) for record in ends] == [
        ("receive", "failed", 19),
        ("receive", "ok", 0),
        ("media-write", "ok", 0),
        ("verify", "refused", 12),
        ("media-write", "ok", 0),
        ("media-verify", "ok", 0),
        ("load", "ok", 0),
    ]
    assert {record["bundle"]["serial"] for record in ends} == {1}
    assert [record.get("written") for record in ends] == [None, 1, 7, None, 1, None, None]
    begins = [record for record in gap.offline.records() if record["phase"] == "begin"]
    assert begins[-1]["path"] == ", ".join(map(str, volumes(gap.folder)))
    assert begins[-3]["repairs"] == ", ".join(map(str, some(gap, 2, 3, 1)))
    assert gap.offline("audit", "verify").out.startswith(f"complete: {2 * len(ends) + 2} lines, root ")
