"""Where a trust root is found, and what cannot be read on the way."""

import errno
from pathlib import Path
from typing import NoReturn

import pytest

from airgap.admin.find_root import find_roots
from airgap.errors import MediaError


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "1.root.json"
    path.write_bytes(b"{}")

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(MediaError, match=r"^cannot read: .+/1\.root\.json, got Input/output error"):
        find_roots(path, None, {})
