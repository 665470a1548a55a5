"""The folder for files: what happens between the look and the writing."""

import io
from pathlib import Path

import pytest

from airgap.endpoints.files_folder import FilesFolder
from airgap.errors import AirgapError, DigestMismatchError, PolicyError, UnlistedContentError
from airgap.oci.digest import CheckedReader, Digest
from airgap.oci.files_artifact import CarriedFile, FileMode, FileState

CONTENT = b"content"
FILE = CarriedFile(name="sub/tool", mode=FileMode.PROGRAM, digest=Digest.of(CONTENT), size=len(CONTENT))


def put(folder: FilesFolder, content: bytes = CONTENT, *, replace: bool = False) -> None:
    folder.put_file(FILE, CheckedReader(io.BytesIO(content), FILE.digest, FILE.size), replace=replace)


def names(path: Path) -> list[str]:
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*"))


def test_an_absent_folder_is_made_when_a_file_is_written(tmp_path):
    folder = FilesFolder(tmp_path / "a" / "b")
    assert folder.state_of(FILE) is FileState.ABSENT
    assert not (tmp_path / "a").exists()
    put(folder)
    assert folder.state_of(FILE) is FileState.SAME
    assert names(tmp_path / "a" / "b") == ["sub", "sub/tool"]


def test_a_folder_that_becomes_a_link_does_not_move_the_files(tmp_path):
    (tmp_path / "srv").mkdir()
    (tmp_path / "other").mkdir()
    folder = FilesFolder(tmp_path / "srv")
    folder.state_of(FILE)
    (tmp_path / "srv").rename(tmp_path / "old")
    (tmp_path / "srv").symlink_to(tmp_path / "other")
    put(folder)
    assert names(tmp_path / "other") == []
    assert names(tmp_path / "old") == ["sub", "sub/tool"]


def test_a_link_in_the_place_of_a_folder_that_was_absent_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    folder = FilesFolder(tmp_path / "srv")
    folder.state_of(FILE)
    (tmp_path / "srv").symlink_to(tmp_path / "other")
    with pytest.raises(UnlistedContentError):
        put(folder)
    assert names(tmp_path / "other") == []


def test_a_subfolder_that_becomes_a_link_is_refused(tmp_path):
    (tmp_path / "srv").mkdir()
    (tmp_path / "other").mkdir()
    folder = FilesFolder(tmp_path / "srv")
    folder.state_of(FILE)
    (tmp_path / "srv" / "sub").symlink_to(tmp_path / "other")
    with pytest.raises(UnlistedContentError):
        put(folder, replace=True)
    assert names(tmp_path / "other") == []


def test_a_different_file_that_appears_meanwhile_stays(tmp_path):
    folder = FilesFolder(tmp_path)
    folder.state_of(FILE)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "tool").write_bytes(b"mine")
    with pytest.raises(PolicyError):
        put(folder)
    assert (tmp_path / "sub" / "tool").read_bytes() == b"mine"
    assert names(tmp_path) == ["sub", "sub/tool"]
    put(folder, replace=True)
    assert (tmp_path / "sub" / "tool").read_bytes() == CONTENT


@pytest.mark.parametrize("old", [None, b"before!"], ids=["absent", "there"])
def test_content_that_is_wrong_leaves_nothing(tmp_path, old):
    (tmp_path / "sub").mkdir()
    if old is not None:
        (tmp_path / "sub" / "tool").write_bytes(old)
    with pytest.raises(DigestMismatchError):
        put(FilesFolder(tmp_path), b"CONTENT", replace=True)
    assert names(tmp_path) == (["sub"] if old is None else ["sub", "sub/tool"])
    assert old is None or (tmp_path / "sub" / "tool").read_bytes() == old


def test_a_second_name_of_a_file_keeps_its_content(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "sub" / "tool").hardlink_to(tmp_path / "mine")
    put(FilesFolder(tmp_path), replace=True)
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert (tmp_path / "sub" / "tool").read_bytes() == CONTENT


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "srv").write_bytes(b"")
    with pytest.raises(AirgapError):
        FilesFolder(tmp_path / "srv").state_of(FILE)
