"""Volumes that are damaged, and media that are removed."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.volume_table import VolumeTable
from tests.cli.conftest import Gap, files_of
from tests.cli.volumes.commands import NAMES, PART, Harm, loaded, receive, some, table_of
from tests.support.cut import API, BIG, TITLE, TOP, part, volumes
from tests.support.damage import flip


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


HARMS: dict[str, tuple[Harm, int, str]] = {
    "part": (flipped(PART, 77), 12, f"wrong digest: {{volume}}/{PART}"),
    "end of a part": (flipped(PART, 2_000_000), 12, f"wrong digest: {{volume}}/{PART}"),
    "part missing": (removed(PART), 12, f"missing file: {{volume}}/{PART}"),
    "part cut short": (cut_short(PART), 12, f"wrong size: {{volume}}/{PART}, want "),
    "part is a link": (linked(PART), 12, f"not a regular file with one link: {{volume}}/{PART}"),
    "part of another volume": (added(f"{BIG.path}.002"), 12, f"the file belongs to another volume: {{volume}}/{BIG.path}.002"),
    "part of no blob": (added(f"{TOP.path}.000"), 12, f"the file belongs to another volume: {{volume}}/{TOP.path}.000"),
    "whole blob of another": (added(TOP.path), 12, f"the file belongs to another volume: {{volume}}/{TOP.path}"),
    "image manifest": (flipped(API.descriptor.digest.path), 12, "the file is not the same on every volume: {volume}/blobs/"),
    "image manifest missing": (removed(API.descriptor.digest.path), 12, "missing file: {volume}/blobs/"),
    "strange file": (added("autorun.inf"), 12, "the file is not on every volume: {volume}/autorun.inf"),
    "envelope": (flipped(ENVELOPE_FILE), 12, "the file is not the same on every volume: {volume}/bundle.dsse.json, want "),
    "no envelope": (removed(ENVELOPE_FILE), 19, "the volume is unfinished: {volume}, want bundle.dsse.json"),
    "statement": (flipped("statement.json", 200), 12, "the file is not the same on every volume: {volume}/statement.json"),
    "sums": (flipped("SHA256SUMS"), 12, "the file is not the same on every volume: {volume}/SHA256SUMS"),
    "root": (flipped("trust/1.root.json"), 12, "the file is not the same on every volume: {volume}/trust/1.root.json"),
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


def test_all_wrong_parts_are_reported(gap: Gap) -> None:
    second, third = volumes(gap.folder)[1:]
    parts = [f"{BIG.path}.001", f"{BIG.path}.002"]
    cut_short(parts[0])(second)
    removed(parts[1])(third)
    done = gap.offline("verify", *some(gap, 3, 2, 1), "--json", code=12)
    assert f"wrong size: {second}/{parts[0]}, want " in done.err
    assert f"missing file: {third}/{parts[1]}\n" in done.err
    assert done.json["error"]["wrong_count"] == 2


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (TOP.path, 12, f"wrong digest: {{volume}}/{TOP.path}, want {TOP}, got "),
        (f"{BIG.path}.000", 12, f"wrong digest: {{volume}}/{BIG.path}.000, want "),
        ("index.json", 12, "the file is not the same on every volume: "),
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
