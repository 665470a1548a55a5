import errno
import os
from pathlib import Path

import pytest

from airgap.errors import KeyFileError, MediaError
from airgap.limits import MAX_KEY_FILE_BYTES
from airgap.trust.keyfile import read_private, write_private
from tests.support.parts import require_root


def test_round_trip(tmp_path):
    write_private(tmp_path / "key", b"secret")
    assert read_private(tmp_path / "key") == b"secret"


def test_the_umask_cannot_open_it(tmp_path):
    old = os.umask(0)
    try:
        write_private(tmp_path / "key", b"secret")
    finally:
        os.umask(old)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_reads_up_to_the_limit(tmp_path):
    write_private(tmp_path / "key", b"x" * MAX_KEY_FILE_BYTES)
    assert len(read_private(tmp_path / "key")) == MAX_KEY_FILE_BYTES


def test_a_key_of_another_user_is_refused(tmp_path):
    require_root()
    write_private(tmp_path / "key", b"secret")
    os.chown(tmp_path / "key", 65534, 65534)
    with pytest.raises(KeyFileError, match=r"belongs to another user: .*, want owner uid 0, got uid 65534"):
        read_private(tmp_path / "key")


def test_the_whole_key_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append((tmp_path / "key").read_bytes()))
    write_private(tmp_path / "key", b"secret")
    assert synced == [b"secret"] * 2  # the file, and its folder


def test_no_folder(tmp_path):
    with pytest.raises(MediaError, match="cannot create the key file"):
        write_private(tmp_path / "nowhere" / "key", b"secret")


@pytest.mark.parametrize("call", [1, 2])
def test_a_disk_that_refuses_leaves_nothing_behind(call, tmp_path, monkeypatch):
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(MediaError, match="got Input/output error"):
        write_private(tmp_path / "key", b"secret")
    assert len(calls) == call
    assert list(tmp_path.iterdir()) == []


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_open(tmp_path):
    write_private(tmp_path / "key", b"secret")
    (tmp_path / "open").write_bytes(b"")
    (tmp_path / "open").chmod(0o644)
    before = _open_descriptors()
    read_private(tmp_path / "key")
    for path in (tmp_path, tmp_path / "open", tmp_path / "missing"):
        with pytest.raises(KeyFileError):
            read_private(path)
    assert _open_descriptors() == before


def test_a_disk_that_fails_is_no_bad_key(tmp_path, monkeypatch):
    write_private(tmp_path / "key", b"secret")

    def fail(*_):
        raise OSError(errno.EIO, "bad")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(MediaError, match=f"cannot read the key file: {tmp_path}/key, got bad"):
        read_private(tmp_path / "key")
