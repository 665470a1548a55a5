"""Which folders belong together: a disk that fails is no missing volume."""

import os

import pytest

from airgap.bundle.volumes import grouped
from airgap.errors import MediaError


@pytest.fixture
def folders(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    (tmp_path / "b" / "volume.json").write_bytes(b"{}")
    return [tmp_path / "a", tmp_path / "b"]


def test_what_tells_nothing_stands_alone(folders):
    assert grouped([*folders, folders[0] / "none"]) == [
        (folders[0],),
        (folders[1],),
        (folders[0] / "none",),
    ]


def test_a_disk_that_fails_is_told(folders, monkeypatch):
    def fail(*_):
        raise OSError(5, "bad")

    monkeypatch.setattr(os, "readv", fail)
    with pytest.raises(MediaError, match=f"cannot read: {folders[1]}/volume.json, got bad"):
        grouped(folders)
