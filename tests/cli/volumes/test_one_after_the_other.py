"""One port: the volumes are inserted one after the other."""

import io
import shutil
import subprocess
from pathlib import Path

import pytest

from airgap.bundle.volume_table import VolumeTable
from tests.cli.conftest import Gap, files_of
from tests.cli.volumes.commands import NAMES, Terminal, loaded, questions, receive, repacked, some, whole_of
from tests.support.cut import BIG, IMAGES, TITLE, WEB, part, volumes
from tests.support.damage import flip
from tests.support.images import write_layout


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
        f"error: the volumes are from different cuts: {cut[1]}\nhint: start again with the volumes of one"
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
