"""receive, repack, repair: what they leave, what they record, and the private copy that `load` uses."""

import json
import shutil
from pathlib import Path

import pytest

from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.volume_table import VolumeSize
from airgap.carry.operator import Operator
from airgap.carry.receive import discard, gather, receive, repack, repair
from airgap.errors import (
    AirgapError,
    DestinationError,
    DigestMismatchError,
    IncompleteError,
    MediaError,
    MissingContentError,
    RollbackError,
    UnlistedContentError,
    UsageError,
)
from airgap.progress import Silent
from airgap.site import Mark
from tests.support.bundles import ONE, Gap, small_images
from tests.support.cut import stamps
from tests.support.damage import flip

IMAGES = small_images()
LAYER = IMAGES[ONE].layers[0]
TITLE = "edge-0001"


class Listening(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def operator(gap: Gap, *answers: Path, progress=None) -> Operator:
    """A person who puts in these volumes."""
    left = list(answers)
    return Operator(
        site=gap.site,
        now=gap.now,
        progress=progress or Silent(),
        jobs=1,
        ask=lambda _: left.pop(0) if left else None,
    )


def records(gap: Gap) -> list[dict]:
    """The last attempt: its begin and its end."""
    begin, end = [json.loads(line) for line in gap.site.ledger_path.read_bytes().splitlines()][-2:]
    assert (begin["phase"], end["phase"], end["begin"]) == ("begin", "end", begin["seq"])
    return [begin, end]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- receive


@pytest.mark.parametrize("given", [(1, 2, 3), (3, 1, 2)])
def test_all_at_once(gap, volumes, given):
    found = receive([volumes[n - 1] for n in given], gap.folder / "x", operator(gap))
    assert found.paths == (gap.folder / "x" / TITLE,)
    assert content(found.paths[0]) == content(gap.bundle)
    begin, end = records(gap)
    assert (begin["event"], begin["into"]) == ("receive", str(gap.folder / "x"))
    assert (end["result"], end["written"], end["volumes"]) == ("ok", found.written, 1)
    assert end["bundle"]["statement_sha256"] == found.bundle.statement_sha256
    assert end["checks"]["repeat"] is False


@pytest.mark.parametrize("answers", [(2, 3), (3, 2, 3), (1, 2, 3)])
def test_one_after_the_other(gap, volumes, answers):
    found = receive(volumes[0], gap.folder / "x", operator(gap, *(volumes[n - 1] for n in answers)))
    assert content(found.paths[0]) == content(gap.bundle)
    assert found.written == len(found.bundle.blobs)
    lines = [json.loads(line) for line in gap.site.ledger_path.read_bytes().splitlines()]
    assert [line["phase"] for line in lines if line["event"] == "receive"] == [
        "begin",
        "end",
    ]  # of one attempt


def test_copied_content_is_kept_without_an_answer(gap, volumes):
    with pytest.raises(IncompleteError) as caught:
        receive(volumes[0], gap.folder / "x", operator(gap, volumes[1]))
    assert str(caught.value) == "a volume is missing: edge-0001, want volume 3 of 3, got volume 2"
    assert caught.value.hint.startswith("the copied content is kept")
    assert records(gap)[-1]["result"] == "failed"
    kept = [path for path in (gap.folder / "x").rglob("*.part") if path.stat().st_size]
    assert kept
    found = receive(volumes[2], gap.folder / "x", operator(gap))
    assert content(found.paths[0]) == content(gap.bundle)


def test_what_could_not_be_taken_yet_is_said(gap, volumes):
    """A layer's second part, before its first one: it is not kept, and its volume is wanted once more."""
    progress = Listening()
    here, notes = operator(gap, progress=progress), progress.notes
    with pytest.raises(IncompleteError) as caught:
        receive(volumes[1], gap.folder / "x", here)
    assert "after that, volume 2 is needed again" in caught.value.hint
    assert notes[-2].startswith("volume 2 of 3: copied in part; it is needed again after")
    assert notes[-1] == "next: volume 1"
    with pytest.raises(IncompleteError, match="want volume 2, 3 of 3"):
        receive(volumes[0], gap.folder / "x", here)
    assert notes[-2:] == ["volume 1 of 3: copied", "next: volume 2"]


def test_not_into_another_bundle(gap, volumes):
    before = content(gap.bundle)
    with pytest.raises(MediaError, match="this folder is itself a bundle"):
        receive(volumes, gap.bundle, operator(gap))
    assert content(gap.bundle) == before


def test_receiving_is_not_accepting(gap, volumes):
    """The high-water mark rises when something is loaded."""
    receive(volumes, gap.folder / "x", operator(gap))
    assert gap.site.received("edge") is None


def mark(gap: Gap) -> None:
    gap.site.set_received("edge", Mark(1, 2, "0" * 64))


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (lambda gap: gap.restate(destinations=("elsewhere",)), DestinationError),
        (mark, RollbackError),
        (lambda gap: (gap.bundle / ENVELOPE_FILE).unlink(), IncompleteError),
        (lambda gap: gap.flip(LAYER.path), DigestMismatchError),
        (lambda gap: gap.blob(LAYER).unlink(), MissingContentError),
    ],
)
def test_what_is_not_received(gap, harm, error):
    harm(gap)
    with pytest.raises(error):
        receive(gap.bundle, gap.folder / "x", operator(gap))
    assert not (gap.folder / "x" / TITLE / ENVELOPE_FILE).exists()
    assert records(gap)[-1]["result"] in ("refused", "failed")


# -- repack and repair


def test_repack_is_a_writing_of_media(gap, volumes):
    found = repack(volumes, [gap.folder / "x"], None, operator(gap))
    assert content(found.paths[0]) == content(gap.bundle)
    begin, end = records(gap)
    assert (begin["event"], begin["to"]) == ("media-write", str(gap.folder / "x"))
    assert begin["path"] == ", ".join(map(str, volumes))
    assert (end["result"], end["written"], end["read_back"]) == ("ok", found.written, found.proof.read_back)


def test_repack_wants_all_volumes(gap, volumes):
    with pytest.raises(IncompleteError, match="want volume 2 of 3"):
        repack([volumes[0], volumes[2]], [gap.folder / "x"], None, operator(gap, volumes[1]))
    assert not (gap.folder / "x").exists()


@pytest.mark.parametrize("destinations", [(), ("elsewhere",)])
def test_repack_is_for_both_sides(gap, destinations):
    gap.restate(destinations=destinations)
    found = repack(gap.bundle, [gap.folder / "x"], VolumeSize(1 << 30), operator(gap))
    assert content(found.paths[0]) == content(gap.bundle)


def test_repair_records_the_repaired_folders(gap, volumes):
    before = content(volumes[1])
    flip(volumes[1] / f"{LAYER.path}.001")
    found = repair(volumes, gap.bundle, operator(gap))
    assert content(volumes[1]) == before
    assert (found.written, found.paths) == (1, tuple(volumes))
    begin, end = records(gap)
    assert (begin["event"], begin["repairs"]) == ("media-write", ", ".join(map(str, volumes)))
    assert begin["path"] == str(gap.bundle)
    assert (end["written"], end["volumes"]) == (1, 3)


def test_repair_that_is_refused_leaves_all_as_it_is(gap, volumes):
    before = stamps(*volumes)
    with pytest.raises(UsageError):
        repair(volumes[:2], gap.bundle, operator(gap))
    gap.flip(ENVELOPE_FILE, 30)
    with pytest.raises(AirgapError):
        repair(volumes, gap.bundle, operator(gap))
    assert stamps(*volumes) == before


STRAYS = {
    ".DS_Store": "unexpected file",
    "blobs/._x": "unexpected file",
    "x.json.part": "unexpected file",
    "link": "unexpected file",
    "System Volume Information/": "unexpected folder",
    "blobs/sha256/x/": "unexpected folder",
    "trust/x/": "unexpected folder",
}


@pytest.mark.parametrize(("name", "what"), STRAYS.items())
def test_repair_refuses_unlisted_files_before_the_first_change(gap, tmp_path, name, what):
    copy = shutil.copytree(gap.bundle, tmp_path / "copy")
    stray = copy / name
    (copy / LAYER.path).unlink()
    if name.endswith("/"):
        stray.mkdir()
    elif name == "link":
        stray.symlink_to("sig")
    else:
        stray.touch()
    before = stamps(copy)
    with pytest.raises(UnlistedContentError, match=f"^{what}: {stray}$") as caught:
        repair(copy, gap.bundle, operator(gap))
    assert caught.value.hint == "remove it, then run the same command again; nothing was changed"
    assert stamps(copy) == before
    if name.endswith("/"):
        stray.rmdir()
    else:
        stray.unlink()
    repair(copy, gap.bundle, operator(gap))
    assert content(copy) == content(gap.bundle)


def test_repair_removes_what_is_left_of_its_own(gap, tmp_path):
    copy = shutil.copytree(gap.bundle, tmp_path / "copy")
    for name in ("index.json.part", "volume.json.part", "bundle.dsse.json.part", "sig/x",
                 "trust/9.root.json", "blobs/sha256/x"):  # fmt: skip
        (copy / name).touch()
    repair(copy, gap.bundle, operator(gap))
    assert content(copy) == content(gap.bundle)


# -- gather


def test_a_private_copy_lasts_until_it_is_discarded(gap, volumes):
    progress = Listening()
    paths = gather(volumes[0], operator(gap, *volumes[1:], progress=progress))
    assert content(paths[0]) == content(gap.bundle)
    assert paths == (gap.home / "staging" / TITLE,)
    assert progress.notes[0].startswith("not all volumes are inserted")
    discard(paths)
    assert not paths[0].exists()


def test_a_private_copy_is_resumed(gap, volumes):
    with pytest.raises(IncompleteError):
        gather(volumes[0], operator(gap))
    kept = stamps(gap.home / "staging")
    assert kept
    paths = gather(volumes[0], operator(gap, *volumes[1:]))
    assert content(paths[0]) == content(gap.bundle)
    whole = {name: value for name, value in kept.items() if not name.endswith(".part")}
    assert {name: stamps(gap.home / "staging")[name] for name in whole} == whole
    assert gather(volumes[0], operator(gap)) == paths  # nothing is asked for: all of it is here
