"""Only regular files below the given folders are read, within limits."""

import os
from pathlib import Path

import pytest

from airgap.discover import sources
from airgap.discover.sources import Sources
from airgap.errors import AirgapError, FormatError, PolicyError


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("x")
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "a.yaml").write_text("\ufeffa: 1\n")
    (top / "link").symlink_to(tmp_path / "secret")
    (top / "inner").symlink_to("a.yaml")
    (top / "loop").symlink_to("loop")
    (top / "latin").write_bytes(b"a\n\xe4\n")
    os.mkfifo(top / "pipe")
    return top


def test_files_below_the_folder_are_read(top: Path) -> None:
    files = Sources([top])
    assert files.read(top / "a.yaml").text == "a: 1\n"
    assert files.read(top / "sub" / ".." / "inner").text == "a: 1\n"
    assert files.exists(top / "a.yaml")
    assert not files.exists(top / "sub")
    assert files.is_folder(top / "sub")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("../secret", PolicyError),
        ("sub/../../secret", PolicyError),
        ("link", PolicyError),
        ("/etc/passwd", PolicyError),
        ("/dev/zero", PolicyError),
        ("pipe", FormatError),
        ("sub", FormatError),
        ("loop", FormatError),
        ("none", FormatError),
        ("latin", FormatError),
        ("a\x00b", FormatError),
    ],
)
def test_other_files_are_refused(top: Path, name: str, error: type[AirgapError]) -> None:
    files = Sources([top])
    with pytest.raises(error):
        files.read(top / name)
    assert name == "latin" or not files.exists(top / name)


def test_the_size_and_the_number_of_files_are_limited(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (top / "large").write_bytes(b"# " + b"x" * 100)
    monkeypatch.setattr(sources, "MAX_DEPLOYMENT_FILE_BYTES", 100)
    with pytest.raises(FormatError, match="too large"):
        Sources([top]).read(top / "large")
    monkeypatch.setattr(sources, "MAX_DEPLOYMENT_FILES", 1)
    files = Sources([top])
    files.read(top / "a.yaml")
    with pytest.raises(FormatError, match="too many files"):
        files.read(top / "inner")
    monkeypatch.setattr(sources, "MAX_DEPLOYMENT_BYTES", 5)
    with pytest.raises(FormatError, match="too much to read"):
        Sources([top]).read(top / "a.yaml")
