"""What file systems may not be able to do, and what they cannot tell."""

import errno
import os
from pathlib import Path

import pytest

from airgap.durable import WriteBack, exists, sync_folder, sync_names
from airgap.errors import MediaError


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_folder_that_cannot_be_synced(code, tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    sync_folder(tmp_path)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails(code, tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match=os.strerror(code)):
        sync_names(-1)


def test_what_is_there(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    found = {name: exists(tmp_path / name) for name in ("", "file", "dangling", "circle", "x", "file/x")}
    assert found == {"": True, "file": True, "dangling": False, "circle": False, "x": False, "file/x": False}


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_what_the_system_cannot_tell(code, monkeypatch):
    """On every Python: `Path.exists` says no, from 3.14 on."""

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(OSError, match=os.strerror(code)):
        exists(Path("x"))


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.EBADF])
def test_no_locks_have_their_own_hint(code):
    error = MediaError.of(OSError(code, os.strerror(code)), "cannot lock", "x")
    assert "does not support locks" in (error.hint or "")


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files(code):
    error = MediaError.of(OSError(code, os.strerror(code)), "cannot read", "x")
    assert "ulimit -n" in (error.hint or "")


def test_writing_to_the_medium_begins_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr("os.posix_fadvise", lambda _, start, size, __: asked.append((start, size)))
    write_back = WriteBack(0, 1000)
    for _ in range(5):
        write_back.add(10 << 20)
    assert asked == [(1000, 20 << 20), (1000 + (20 << 20), 20 << 20)]


def test_a_file_system_may_refuse_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "refused")

    monkeypatch.setattr("os.posix_fadvise", refuse)
    WriteBack(0, 0).add(1 << 30)
    monkeypatch.delattr("os.posix_fadvise")
    WriteBack(0, 0).add(1 << 30)
