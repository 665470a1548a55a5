"""Which thread may write to a medium: one at a time if the medium can be carried away."""

import threading
from pathlib import Path

import pytest

from airgap.bundle.blob_files import Output, Segment
from airgap.bundle.medium import Medium
from airgap.bundle.write_turns import WriteTurns
from airgap.errors import MediaError

STICK = Path("/media/stick")


def find_medium(folder: Path) -> Medium:
    """Each folder below `/media` is a stick; all else is on the system's disk."""
    if folder.is_relative_to("/media"):
        return Medium(Path(*folder.parts[:3]), file_system="vfat")
    return Medium(Path("/"), file_system="ext4", system=True)


def test_files_of_one_stick_wait_for_each_other() -> None:
    turns = WriteTurns(find_medium)
    assert turns.of(STICK / "blobs/sha256/a.part") is turns.of(STICK / "blobs/sha512/b.part")


def test_sticks_do_not_wait_for_each_other() -> None:
    turns = WriteTurns(find_medium)
    with turns.of(STICK / "a"), turns.of(Path("/media/other/b")):
        pass


def test_a_disk_of_the_system_takes_several_files_at_once() -> None:
    turns = WriteTurns(find_medium)
    with turns.of(Path("/srv/a")), turns.of(Path("/srv/a")):
        pass


def test_a_medium_that_cannot_be_read_is_reported() -> None:
    def fail(folder: Path) -> Medium:
        raise MediaError("cannot read", subject=folder)

    with pytest.raises(MediaError, match="cannot read"):
        WriteTurns(fail).of(STICK / "a")


def test_a_file_waits_until_the_one_before_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = WriteTurns(lambda _: Medium(STICK, file_system="vfat"))
    seen: list[str] = []
    monkeypatch.setattr("os.fsync", lambda _: seen.append("sync"))
    first, second = (Output((Segment(tmp_path / name, 4),), 0, turns) for name in "ab")
    first.write(memoryview(b"ab"))

    def write() -> None:
        second.write(memoryview(b"1234"))
        seen.append("second")

    thread = threading.Thread(target=write)
    thread.start()
    first.write(memoryview(b"cd"))
    first.sync()
    seen.append("first")
    first.close()
    thread.join()
    second.close()
    assert seen == ["sync", "first", "second"]
    assert (tmp_path / "b.part").read_bytes() == b"1234"


def test_a_file_that_failed_gives_its_turn_to_the_next(tmp_path: Path) -> None:
    turns = WriteTurns(lambda _: Medium(STICK, file_system="vfat"))
    for name in "ab":
        output = Output((Segment(tmp_path / name, 4),), 0, turns)
        output.write(memoryview(b"ab"))
        output.close()
    assert (tmp_path / "b.part").read_bytes() == b"ab"


def test_parts_of_a_blob_take_a_turn_each(tmp_path: Path) -> None:
    turns = WriteTurns(lambda folder: Medium(folder, file_system="vfat"))
    parts = tuple(Segment(tmp_path / name / "part", 2) for name in "ab")
    output = Output(parts, 0, turns)
    output.write(memoryview(b"abc"))
    with turns.of(parts[0].path):
        output.write(memoryview(b"d"))
    output.close()
    assert (tmp_path / "b" / "part.part").read_bytes() == b"cd"
