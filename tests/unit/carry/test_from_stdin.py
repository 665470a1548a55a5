"""What comes through a pipe is kept for the time of its use only, and for its owner only."""

import errno
import io
import os

import pytest

from airgap.carry import from_stdin as staging
from airgap.carry.from_stdin import staged
from airgap.errors import MediaError, NoSpaceError
from airgap.oci.digest import CHUNK
from airgap.progress import Silent
from tests.support.images import noise
from tests.unit.online.support import Notes


@pytest.mark.parametrize("size", [0, 1, CHUNK, 2 * CHUNK + 7])
def test_a_copy_for_a_while(tmp_path, size):
    raw, notes = noise(size, 1), Notes()
    with staged(io.BytesIO(raw), tmp_path, notes) as path:
        assert path.read_bytes() == raw
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.is_relative_to(tmp_path)
    assert list(path.parent.iterdir()) == []
    assert notes.phases == {"reading standard input": size}


def test_gone_after_a_failure_of_its_user(tmp_path):
    with pytest.raises(KeyError), staged(io.BytesIO(b"x"), tmp_path, Silent()):
        raise KeyError
    assert list((tmp_path / "staging").iterdir()) == []


def test_gone_when_the_pipe_breaks(tmp_path):
    class Pipe(io.BytesIO):
        def read(self, size=-1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), staged(Pipe(), tmp_path, Silent()):
        pytest.fail("not reached")
    assert list((tmp_path / "staging").iterdir()) == []


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, NoSpaceError), (errno.EIO, MediaError)])
def test_disk_errors(tmp_path, monkeypatch, code, error):
    def fail(fd, data):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(staging, "write_all", fail)
    with pytest.raises(error, match="cannot write"), staged(io.BytesIO(b"x"), tmp_path, Silent()):
        pytest.fail("not reached")
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_home_that_is_not_a_folder(tmp_path):
    home = tmp_path / "home"
    home.write_text("a file")
    with pytest.raises(MediaError, match="cannot write"), staged(io.BytesIO(b"x"), home, Silent()):
        pytest.fail("not reached")


def test_what_another_killed_run_left_is_removed(tmp_path):
    left = tmp_path / "staging" / "0.tar"
    left.parent.mkdir()
    left.write_bytes(b"left")
    with staged(io.BytesIO(b"new"), tmp_path, Silent()) as path:
        assert list(left.parent.iterdir()) == [path]


def test_the_copy_of_another_run_is_left_unchanged(tmp_path):
    with (
        staged(io.BytesIO(b"one"), tmp_path, Silent()) as one,
        staged(io.BytesIO(b"two"), tmp_path, Silent()) as two,
    ):
        assert (one.read_bytes(), two.read_bytes()) == (b"one", b"two")
