"""What is said of media after the last write: what was read, what was not, and what lies there too."""

import hashlib
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.bundle import check_written as proof
from airgap.bundle.check_written import ReadBackResult, announce, prove, refuse_unlisted_files
from airgap.bundle.medium import Medium
from airgap.bundle.read_back import ReadBack, Written
from airgap.errors import DigestMismatchError, IntegrityError, UnlistedContentError


def written(path: Path, raw: bytes = b"content") -> Written:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return Written(path, hashlib.sha256(raw).hexdigest(), len(raw))


def silent(_title: str, _total: int):
    return nullcontext(lambda _: None)


@pytest.fixture
def media(tmp_path, monkeypatch) -> dict[str, Medium]:
    """Two sticks and the system's disk, each a folder."""
    real = replace(Medium.of(tmp_path), file_system="ext4", format="")  # the folder itself may be in memory
    found = {
        name: replace(
            real, mount_point=tmp_path / name, source=name, system=name == "disk", removable=name != "disk"
        )
        for name in ("stick", "other", "disk")
    }
    for name in found:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(
        Medium, "of", lambda path: next(m for m in found.values() if path.is_relative_to(m.mount_point))
    )
    return found


def reading(monkeypatch, **results: ReadBack) -> list[str]:
    """What reading back each medium gives; the media that were read, in turn."""
    read: list[str] = []

    def read_back(files, medium, _advance):
        read.append(medium.mount_point.name)
        return results.get(medium.mount_point.name, ReadBack(len(files), 0, cached=False, wrong=()))

    monkeypatch.setattr(proof, "read_back", read_back)
    return read


@pytest.mark.parametrize(
    ("wanted", "result", "read", "unread"),
    [
        (None, ReadBackResult.OK, ["stick"], ["disk"]),
        (True, ReadBackResult.OK, ["stick", "disk"], []),
        (False, ReadBackResult.SKIPPED, [], ["disk", "stick"]),
    ],
)
def test_which_media_are_read(tmp_path, media, monkeypatch, wanted, result, read, unread):
    seen = reading(monkeypatch)
    files = {tmp_path / name: [written(tmp_path / name / "file")] for name in ("stick", "disk")}
    found = prove(files, silent, wanted)
    assert (found.read_back, seen) == (result, read)
    assert [path.name for path in found.unread] == unread
    record = found.record()
    assert [(medium["mount_point"], medium["read"]) for medium in record["media"]] == [
        (str(tmp_path / name), name in read) for name in ("stick", "disk")
    ]


def test_one_that_answers_from_its_cache(tmp_path, media, monkeypatch):
    reading(monkeypatch, stick=ReadBack(1, 7, cached=True, wrong=()))
    files = {tmp_path / name: [written(tmp_path / name / "file")] for name in ("stick", "other")}
    assert prove(files, silent, wanted=None).read_back == ReadBackResult.CACHED


def test_what_is_wrong(tmp_path, media, monkeypatch):
    error = DigestMismatchError("wrong digest", subject="x")
    files = {tmp_path / name: [written(tmp_path / name / "file")] for name in ("stick", "other")}
    reading(monkeypatch, stick=ReadBack(1, 7, cached=False, wrong=(error,)))
    with pytest.raises(DigestMismatchError, match="wrong digest: x") as caught:
        prove(files, silent, wanted=None)
    assert "write it again" in (caught.value.hint or "")
    both = ReadBack(1, 7, cached=False, wrong=(error,))
    reading(monkeypatch, stick=both, other=both)
    with pytest.raises(IntegrityError, match="the medium does not hold what was written: x and 1 more"):
        prove(files, silent, wanted=None)


def test_only_what_is_carried_away_is_announced(tmp_path, media):
    notes: list[str] = []
    announce([tmp_path / name / "edge-0001" for name in ("stick", "disk", "stick")], notes.append)
    assert notes == [f"writing to {media['stick'].describe()}"]


STRAYS = {
    "beside": lambda folder: (folder / ".DS_Store").touch(),
    "below": lambda folder: (folder / "trust/._1.root.json").touch(),
    "a folder": lambda folder: (folder / "notes").mkdir(),
    "a link": lambda folder: (folder / "trust/x").symlink_to("1.root.json"),
    "a pipe": lambda folder: os.mkfifo(folder / "x"),
}


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
def test_strays(tmp_path, stray):
    folder = tmp_path / "edge-0001"
    files = {folder: [written(folder / "index.json"), written(folder / "trust/1.root.json")]}
    refuse_unlisted_files(files)
    stray(folder)
    with pytest.raises(UnlistedContentError, match=str(folder)):
        refuse_unlisted_files(files)
