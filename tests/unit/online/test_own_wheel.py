import base64
import hashlib
import zipfile
from importlib.metadata import PackageNotFoundError, PathDistribution
from pathlib import Path

import pytest

import airgap
from airgap.errors import (
    DigestMismatchError,
    MediaError,
    MissingContentError,
    UnlistedContentError,
    UsageError,
)
from airgap.online import own_wheel
from airgap.online.own_wheel import build_own_wheel

DATA = f"airgap-{airgap.__version__}.data/data"
INFO = f"airgap-{airgap.__version__}.dist-info"


def read(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def unpack(wheel: Path, site: Path) -> None:
    """As pip installs: the files, data beside the site-packages, a script, and what pip notes."""
    files = read(wheel)
    record = files[f"{INFO}/RECORD"].decode()
    files[f"{INFO}/RECORD"] = record.replace(DATA, "../../..").encode()
    for name, raw in files.items():
        path = site / name.replace(DATA, "../../..")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    for name in ("INSTALLER", "REQUESTED"):
        (site / INFO / name).write_text("pip")
    with (site / INFO / "RECORD").open("a") as record:
        record.write(
            f"{INFO}/INSTALLER,sha256=xyz,3\n../../../bin/airgap,sha256=xyz,200\nairgap/__pycache__/x.pyc,,\n"
        )


@pytest.fixture
def wheel(tmp_path) -> Path:
    return build_own_wheel(tmp_path)


@pytest.fixture
def site(wheel, tmp_path, monkeypatch) -> Path:
    """Where airgap is installed out of that wheel."""
    site = tmp_path / "env" / "lib" / "python3" / "site-packages"
    site.mkdir(parents=True)
    unpack(wheel, site)
    monkeypatch.setattr(own_wheel, "distribution", lambda _: PathDistribution(site / INFO))
    monkeypatch.setattr(own_wheel.airgap, "__file__", str(site / "airgap" / "__init__.py"))
    return site


def test_out_of_a_source_tree(wheel):
    files = read(wheel)
    assert wheel.name == f"airgap-{airgap.__version__}-py3-none-any.whl"
    assert {
        "airgap/__init__.py",
        "airgap/py.typed",
        "airgap/kit/install.sh",
        "airgap/review/page/style.css",
        f"{INFO}/METADATA",
        f"{DATA}/share/man/man1/airgap-trust-add.1",
    } <= files.keys()
    assert b"airgap = airgap.cli.main:main" in files[f"{INFO}/entry_points.txt"]
    assert not any(".pyc" in name or "direct_url" in name or name.endswith(".pth") for name in files)


def test_the_record_is_right(wheel):
    files = read(wheel)
    lines = files[f"{INFO}/RECORD"].decode().splitlines()
    assert len(lines) == len(files)
    for name, sha256, size in (line.rsplit(",", 2) for line in lines):
        if name != f"{INFO}/RECORD":
            want = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).decode().rstrip("=")
            assert (sha256, int(size)) == (f"sha256={want}", len(files[name]))


def test_the_same_bytes_again(wheel, site, tmp_path):
    """Also from the installation that this wheel made."""
    (tmp_path / "again").mkdir()
    assert build_own_wheel(tmp_path / "again").read_bytes() == wheel.read_bytes()


def test_changed_after_the_installation(site, tmp_path):
    (site / "airgap" / "errors.py").write_text("evil = True\n")
    with pytest.raises(DigestMismatchError, match="installation was changed: other content") as caught:
        build_own_wheel(tmp_path)
    assert caught.value.subject == site / "airgap" / "errors.py"


def test_a_file_is_gone(site, tmp_path):
    (site / "airgap" / "errors.py").unlink()
    with pytest.raises(MissingContentError, match=r"is incomplete: missing file: .*errors\.py"):
        build_own_wheel(tmp_path)


def test_a_file_was_added(site, tmp_path):
    (site / "airgap" / "extra.py").write_text("")
    with pytest.raises(UnlistedContentError, match=r"additional file: .*airgap/extra\.py"):
        build_own_wheel(tmp_path)


def test_what_python_itself_adds_is_no_change(site, tmp_path):
    (site / "airgap" / "__pycache__").mkdir()
    (site / "airgap" / "__pycache__" / "errors.cpython-311.pyc").write_bytes(b"")
    assert "airgap/errors.py" in read(build_own_wheel(tmp_path))


def test_run_from_elsewhere(site, tmp_path, monkeypatch):
    """As `python -m airgap` in a source tree, beside an installation."""
    monkeypatch.setattr(own_wheel.airgap, "__file__", str(tmp_path / "tree" / "airgap" / "__init__.py"))
    with pytest.raises(UsageError, match="runs from elsewhere"):
        build_own_wheel(tmp_path)


def test_another_version(site, tmp_path):
    path = site / INFO / "METADATA"
    path.write_bytes(path.read_bytes().replace(b"\nVersion: ", b"\nVersion: 9", 1))
    with pytest.raises(UsageError, match="got metadata of 9"):
        build_own_wheel(tmp_path)


def test_no_record(site, tmp_path):
    (site / INFO / "RECORD").unlink()
    with pytest.raises(UsageError, match="no record of its files"):
        build_own_wheel(tmp_path)


def test_not_installed(monkeypatch, tmp_path):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(own_wheel, "distribution", missing)
    with pytest.raises(UsageError, match="airgap is not installed"):
        build_own_wheel(tmp_path)


def test_nowhere_to_write(tmp_path):
    with pytest.raises(MediaError):
        build_own_wheel(tmp_path / "missing")
