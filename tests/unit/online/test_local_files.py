"""Patterns of names in a folder, beside Python's own."""

import os
from pathlib import Path

import pytest

from airgap.errors import FormatError
from airgap.limits import MAX_ARTIFACT_FILES
from airgap.oci.files_artifact import FileMode
from airgap.online import local_files
from airgap.online.local_files import find_files, open_local, read_local
from airgap.progress import Silent
from tests.unit.online.support import Notes

NAMES = ["a.yaml", "b.txt", "c/a.yaml", "c/d/e.yaml", "c/d/.env", "f/g"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["a.yaml", "b.txt"]),
        ("*.yaml", ["a.yaml"]),
        ("**/*.yaml", ["a.yaml", "c/a.yaml", "c/d/e.yaml"]),
        ("**", NAMES),
        ("c/**", ["c/a.yaml", "c/d/.env", "c/d/e.yaml"]),
        ("c/*", ["c/a.yaml"]),
        ("*/?", ["f/g"]),
        ("[ab].*", ["a.yaml", "b.txt"]),
        ("c/**/e.yaml", ["c/d/e.yaml"]),
        ("f/g", ["f/g"]),
    ],
)
def test_a_pattern_finds_what_a_shell_finds(folder, pattern, names):
    assert list(find_files(folder, pattern)) == sorted(names)
    glob = pattern + "/*" if pattern.endswith("**") else pattern
    files = [path for path in folder.glob(glob) if path.is_file()]
    assert sorted(path.relative_to(folder).as_posix() for path in files) == sorted(names)


def test_a_matching_device_link_or_name_is_refused(folder):
    (folder / "link").symlink_to(folder / "a.yaml")
    with pytest.raises(FormatError) as caught:
        find_files(folder, "l*")
    assert "not a regular file" in str(caught.value)
    os.mkfifo(folder / "pipe")
    with pytest.raises(FormatError):
        find_files(folder, "p*")
    with pytest.raises(FormatError):
        open_local(folder / "pipe")
    (folder / "q\n").write_bytes(b"")
    with pytest.raises(FormatError):
        find_files(folder, "q*")


def test_too_many_names_are_refused(folder, monkeypatch):
    monkeypatch.setattr(local_files, "MAX_ARTIFACT_FILES", 2)
    with pytest.raises(FormatError) as caught:
        find_files(folder, "**")
    assert "too many files match" in str(caught.value)
    monkeypatch.setattr(local_files, "MAX_LISTED_NAMES", 3)
    with pytest.raises(FormatError) as caught:
        find_files(folder, "b.txt")
    assert "the folder has too many names" in str(caught.value)
    assert MAX_ARTIFACT_FILES > 2


def test_a_file_is_read_with_its_mode(folder):
    (folder / "a.yaml").chmod(0o755)
    (folder / "link").symlink_to("a.yaml")
    found = read_local(folder / "link", Silent())
    assert (found.size, found.mode) == (6, FileMode.PROGRAM)


def test_only_a_large_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"x" * 5000)
    progress = Notes()
    read_local(path, progress)
    assert progress.phases == {}
    monkeypatch.setattr(local_files, "PROGRESS_FILE_BYTES", 5000)
    read_local(path, progress)
    assert progress.phases == {"hash disk.img": 5000}
