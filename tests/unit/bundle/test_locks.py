"""Folders of a bundle while it is written: no links, and one process at a time."""

import os
import subprocess
import sys

import pytest

from airgap.bundle.files import BUNDLE_FOLDERS
from airgap.bundle.locks import claimed
from airgap.errors import MediaError, UnlistedContentError, UsageError


def test_folders_are_made_and_empty_ones_go_away(tmp_path):
    first, second = tmp_path / "deep" / "a", tmp_path / "b"
    with claimed((first, second)):
        assert first.is_dir()
        assert second.is_dir()
        (first / "file").touch()
    assert (first / "file").exists()
    assert not second.exists()


@pytest.mark.parametrize("name", ["", *BUNDLE_FOLDERS])
def test_a_link_in_the_place_of_a_folder(tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = tmp_path / "stick" / "edge-0001" / name
    place.parent.mkdir(parents=True)
    place.symlink_to(elsewhere)
    with (
        pytest.raises(UnlistedContentError, match=r"^not a folder: .*, got a link$"),
        claimed((tmp_path / "stick" / "edge-0001",)),
    ):
        pytest.fail("claimed")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("make", [lambda path: path.touch(), os.mkfifo])
def test_something_else_in_the_place_of_a_folder(tmp_path, make):
    (tmp_path / "edge-0001").mkdir()
    make(tmp_path / "edge-0001" / "trust")
    with (
        pytest.raises(UnlistedContentError, match="another kind of file"),
        claimed((tmp_path / "edge-0001",)),
    ):
        pytest.fail("claimed")


def test_a_file_in_the_place_of_the_bundle(tmp_path):
    (tmp_path / "edge-0001").touch()
    with pytest.raises(MediaError, match="cannot create"), claimed((tmp_path / "edge-0001",)):
        pytest.fail("claimed")


def test_one_at_a_time(tmp_path):
    folder = tmp_path / "edge-0001"
    hold = (
        "import sys; from pathlib import Path; from airgap.bundle.locks import claimed\n"
        "with claimed((Path(sys.argv[1]),)): print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"\n"
        with pytest.raises(UsageError, match="another airgap process is writing there"), claimed((folder,)):
            pytest.fail("claimed")
        other.kill()
        other.wait()
        with claimed((folder,)):
            pass


def test_a_medium_that_is_pulled_out(tmp_path, monkeypatch):
    """What is at its place then is the system's disk: no folder is left there."""
    stick = tmp_path / "stick"

    def pull():
        with claimed((stick / "edge-0001",)):
            stick.rename(tmp_path / "pulled")
            (stick / "edge-0001/blobs/sha256").mkdir(parents=True)
            monkeypatch.setattr("airgap.bundle.locks._device_at", lambda _: 0)
            raise MediaError("cannot write", subject="x")

    with pytest.raises(MediaError, match=r"the medium was removed: .*stick, got cannot write") as caught:
        pull()
    assert "plug it in again" in caught.value.hint
    assert list(stick.iterdir()) == []


def test_a_medium_that_is_still_there(tmp_path):
    with pytest.raises(MediaError, match="cannot write"), claimed((tmp_path / "edge-0001",)):
        raise MediaError("cannot write", subject="x")
