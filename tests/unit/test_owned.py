"""Our own files: what is read, and what is refused before it is."""

import os
import stat
from pathlib import Path

import pytest

from airgap.errors import FormatError, LedgerError, MediaError, TrustError
from airgap.owned import read_owned, refuse_shared, refuse_shared_folder
from tests.support.parts import require_root

NOBODY = 65534


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"four")
    path.chmod(0o644)
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o644, 0o755])
def test_read(file, mode):
    file.chmod(mode)
    assert read_owned(file, 4) == b"four"


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o646, 0o664, 0o666, 0o777])
def test_others_can_write_it(file, mode):
    file.chmod(mode)
    with pytest.raises(
        TrustError, match=f"writable by other users: .*want mode 0644, got mode {mode:04o}"
    ) as caught:
        read_owned(file, 4)
    assert caught.value.hint.startswith(f"chmod 644 {file}")


def test_too_large(file):
    with pytest.raises(FormatError, match=r"too large: .*, want at most 3 bytes"):
        read_owned(file, 3)


@pytest.mark.parametrize("to", ["/dev/zero", "/dev/null", "file", "nowhere", ".", "link"])
def test_a_link(file, to):
    link = file.with_name("link")
    link.symlink_to(to)
    with pytest.raises(TrustError, match=r"not a regular file: .*, got a link"):
        read_owned(link, 4)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TrustError, match=r"not a regular file: .*, got another kind of file"):
        read_owned(tmp_path / "pipe", 4)


def test_a_folder_and_nothing(tmp_path):
    with pytest.raises(TrustError, match="not a regular file"):
        read_owned(tmp_path, 4)
    with pytest.raises(MediaError, match=r"cannot read: .*No such file"):
        read_owned(tmp_path / "none", 4)


def test_somebody_elses(file, monkeypatch):
    require_root()
    os.chown(file, NOBODY, NOBODY)
    with pytest.raises(LedgerError, match=f"belongs to another user: .*, want owner uid 0, got uid {NOBODY}"):
        refuse_shared(file.stat(), file, LedgerError)
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    assert read_owned(file, 4) == b"four"
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(TrustError, match="want owner uid 0 or uid 1234, got uid 65534"):
        read_owned(file, 4)


@pytest.mark.parametrize(("home", "mode", "good"), [
    (0o700, 0o700, True), (0o700, 0o775, True), (0o700, 0o770, True), (0o755, 0o755, True),
    (0o700, 0o777, False), (0o700, 0o702, False), (0o755, 0o775, False), (0o710, 0o770, False),
])  # fmt: skip
def test_a_folder_of_the_home(tmp_path, home, mode, good):
    (tmp_path / "home" / "trust").mkdir(parents=True)
    (tmp_path / "home" / "trust").chmod(mode)
    (tmp_path / "home").chmod(home)
    if good:
        refuse_shared_folder(tmp_path / "home" / "trust", home=False)
        return
    with pytest.raises(TrustError, match="want mode 0700"):
        refuse_shared_folder(tmp_path / "home" / "trust", home=False)


def test_the_home_may_be_a_link_and_what_it_means_is_looked_at(tmp_path):
    real = tmp_path / "real"
    real.mkdir(0o700)
    link = tmp_path / "link"
    link.symlink_to("real")
    refuse_shared_folder(link, home=True)
    with pytest.raises(TrustError, match=r"not a folder: .*, got a link"):
        refuse_shared_folder(link, home=False)
    real.chmod(0o770)
    with pytest.raises(TrustError, match="writable by other users"):
        refuse_shared_folder(link, home=True)
    assert stat.S_IMODE(real.stat().st_mode) == 0o770


def test_a_folder_that_is_none(tmp_path):
    refuse_shared_folder(tmp_path / "none", home=False)
    (tmp_path / "file").touch()
    with pytest.raises(TrustError, match=r"not a folder: .*, got another kind of file"):
        refuse_shared_folder(tmp_path / "file", home=False)
