"""What VERIFY.txt says of volumes, done by a shell and stock tools over a bundle that is cut."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.by_hand import Hand, block, chapter, commands, replaced


@pytest.fixture
def hand(made, tmp_path) -> Hand:
    (tmp_path / "hand").mkdir()
    (tmp_path / "alice.pub").write_text(made.key.public_key.pem)
    return Hand(tmp_path / "hand")


def gather(hand: Hand, volumes: list[Path], *, limit: int = 100_000_000) -> Path:
    """One folder of the volumes, as the text of the first says."""
    once, room, volume, *rest = commands(chapter((volumes[0] / "VERIFY.txt").read_text("ascii"), 3))
    copy, join = rest[:5], rest[5:]
    lines = [replaced(once, "$(mktemp -dp /var/tmp)", str(hand.folder / "whole")), room]
    lines[1] = replaced(room, "100000000000", str(limit))
    for each in volumes:
        lines += [replaced(volume, "/media/stick/stack-0001.v1", str(each)), *copy]
    (hand.folder / "whole").mkdir()
    hand("\n".join([*lines, *join]))
    return hand.folder / "whole"


def loads(hand: Hand, bundle: Path, volume: Path) -> subprocess.CompletedProcess[str]:
    text = block((volume / "VERIFY.txt").read_text("ascii"))
    return hand(text, BUNDLE=bundle, KEY=hand.folder.parent / "alice.pub")


def is_loaded(hand: Hand, volumes: list[Path]) -> bool:
    done = loads(hand, gather(hand, volumes), volumes[0])
    assert (done.returncode == 0) == hand.loaded.exists(), done
    return hand.loaded.exists()


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_gathered_volumes_are_the_bundle_that_was_cut(made, cut, hand, order):
    whole = gather(hand, [cut[number] for number in order])
    found = {p.relative_to(whole).as_posix(): p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    assert found == made.files()
    done = loads(hand, whole, cut[1])
    assert (done.returncode, hand.loaded.exists()) == (0, True), done


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_without_one_volume_nothing_is_loaded(cut, hand, missing):
    assert not is_loaded(hand, [cut[number] for number in {1, 2, 3} - {missing}])


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize(
    "harm",
    [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?")],
    ids=["gone", "harmed"],
)
def test_with_a_part_that_is_not_right_nothing_is_loaded(volumes, parted, hand, number, harm):
    harm(volumes.part(parted, number))
    assert not is_loaded(hand, [volumes[number] for number in (1, 2, 3)])


@pytest.mark.parametrize(
    "trick",
    [
        lambda path, mine: path.symlink_to(mine),
        lambda path, mine: os.mkfifo(path),
        lambda path, mine: path.mkdir(),
    ],
    ids=["link", "pipe", "folder"],
)
def test_what_is_not_a_file_is_not_gathered(volumes, parted, hand, trick):
    """The link leads to the part itself, somewhere on this machine."""
    path = volumes.part(parted, 1)
    mine = path.rename(hand.folder / "mine")
    trick(path, mine)
    assert not is_loaded(hand, [volumes[number] for number in (1, 2, 3)])


def test_gathering_writes_through_no_link(made, volumes, parted, hand):
    """A volume may hold links to this machine's files in the place of what another volume brings."""
    mine = hand.folder / "mine"
    mine.write_bytes(b"keep")
    for name in ("index.json", parted):
        (volumes[1] / name).unlink(missing_ok=True)
        (volumes[1] / name).symlink_to(mine)
    assert is_loaded(hand, [volumes[number] for number in (1, 2, 3)])
    assert mine.read_bytes() == b"keep"


def test_files_too_many_take_no_more_than_the_room_for_them(volumes, hand):
    """They stay in the folder where volumes are gathered, and what they take is not left for the bundle."""
    for number in range(3):
        name = f"blobs/sha256/000{number}"
        volumes.put(name, b"", 1)
        os.truncate(volumes[1] / name, 1 << 20)
    whole = gather(hand, [volumes[1]], limit=1_500_000)
    found = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    assert found + (volumes[1] / "volume.json").stat().st_size == 1_500_000
    assert loads(hand, whole, volumes[1]).returncode != 0
