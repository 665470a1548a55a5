"""`airgap kit` over stand-ins for the wheels; the real ones are in tests/e2e/test_kit.py."""

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Gap
from tests.support.kits import write_stand_in, write_stand_ins

PYTHON = f"3.{sys.version_info[1]}"

pytestmark = pytest.mark.usefixtures("pip_once")


@pytest.fixture
def wheels(tmp_path) -> Path:
    return write_stand_ins(tmp_path / "wheels")


@pytest.fixture
def kit(gap: Gap, wheels: Path) -> Path:
    return Path(make(gap, wheels, "--json").json["kit"])


def make(gap: Gap, wheels: Path, *words: object, code: int = 0):
    return gap.online("kit", "--to", gap.stick, "--python", PYTHON, "--wheels", wheels, *words, code=code)


def test_kit_reports_what_was_sealed_and_for_which_targets(gap, wheels):
    done = make(gap, wheels, "--platform", "linux-aarch64")
    lines = done.out.splitlines()
    assert lines[0].startswith(f"sealed: {gap.stick}/airgap-kit-0.1.0 (")
    assert lines[1] == f"for linux-aarch64-py{PYTHON}"
    assert (
        lines[3]
        == "airgap-kit-0.1.0/VERIFY.txt has the commands that check a copy by this sum and install it"
    )
    assert done.err == f"fetching wheels for linux-aarch64-py{PYTHON}\n"
    assert gap.online.ended() == ("kit", "ok", 0)


def test_as_json(gap, wheels):
    value = make(gap, wheels, "--json", "--quiet", "--platform", "linux-x86_64").json
    assert value["kit"] == f"{gap.stick}/airgap-kit-0.1.0"
    assert value["targets"] == [f"linux-x86_64-py{PYTHON}"]
    assert value["read_back"] in ("skipped", "cached", "ok")
    assert value.keys() == {
        "kit", "version", "targets", "files", "bytes", "statement_sha256", "keys", "media", "read_back",
    }  # fmt: skip


def test_out_of_another_kit(gap, kit):
    assert make(gap, kit / "wheels", "--json").json["kit"] == str(kit)


def test_verified_on_the_other_side(gap, kit):
    done = gap.offline("kit", "verify", kit)
    assert done.out.startswith("good: airgap-kit-0.1.0, signed by alice, ")
    assert gap.offline.ended() == ("kit-verify", "ok", 0)
    value = gap.offline("kit", "verify", kit, "--json").json
    assert (value["owners"], value["threshold"]) == (["alice"], 1)


def test_a_verified_copy_is_what_is_installed(gap, kit, tmp_path):
    folder = tmp_path / "a b"
    folder.mkdir()
    done = gap.offline("kit", "verify", kit, "--into", folder)
    copy = folder / "airgap-kit-0.1.0"
    assert done.out.splitlines()[1] == f"copied; to install it: sh '{copy}/install.sh'"
    assert (copy / "install.sh").read_bytes() == (kit / "install.sh").read_bytes()
    assert f"already exists: {copy}" in gap.offline("kit", "verify", kit, "--into", folder, code=2).err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "error: --to is missing, want --to DIR"),
        (("--to", "x", "--platform", "win-amd64"), 2, "error: unknown platform: win-amd64, want linux-x86_64 or "),
        (("--to", "x", "--python", "3.9"), 2, "error: airgap does not run on this Python: 3.9, want 3.11 or later"),
        (("--to", "x", "--key", "bob", "--python", PYTHON), 13, "error: "),
        (("--to", "x", "--wheels", "nowhere", "--python", PYTHON), 18, "error: pip cannot get the wheels: linux-"),
        (("--to", "/media/none", "--python", PYTHON), 11, "error: no medium is mounted there: /media/none, want "),
        (("--wrong",), 2, "no such option"),
        (("verify", "nowhere"), 2, "error: no such file or folder: nowhere"),
    ],
)  # fmt: skip
def test_refused(gap, words, code, said, monkeypatch):
    monkeypatch.chdir(gap.folder)
    done = gap.online("kit", *words, code=code)
    assert said in done.err
    assert not (gap.folder / "x").exists()


def test_no_index(gap, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    done = gap.online("kit", "--to", gap.stick, "--python", PYTHON, code=18)
    assert "error: pip cannot get the wheels: " in done.err
    assert "hint: check that pip reaches its index" in done.err
    assert gap.online.ended() == ("kit", "failed", 18)
    assert not gap.stick.exists()


def test_a_wheel_is_missing(gap, wheels):
    next(wheels.glob("rich-*")).unlink()
    assert "satisfies the requirement rich" in make(gap, wheels, code=18).err


def test_no_site_yet(fresh, tmp_path):
    assert (
        "there is no site here yet"
        in fresh("kit", "--to", tmp_path / "stick", "--python", PYTHON, code=2).err
    )


def test_changed_on_the_stick(gap, kit):
    wheel = next(kit.glob("wheels/rich-*"))
    raw = wheel.read_bytes()
    wheel.write_bytes(raw[:-1] + b"\1")
    assert f"error: wrong digest: {wheel}" in gap.offline("kit", "verify", kit, code=12).err
    assert gap.offline.ended() == ("kit-verify", "refused", 12)


def test_an_older_one(gap, kit, monkeypatch):
    monkeypatch.setattr("airgap.carry.verify_kit.__version__", "0.2.0")
    done = gap.offline("kit", "verify", kit, code=14)
    assert (
        "error: the kit is older than this airgap: airgap-kit-0.1.0, want airgap 0.2.0 or later, got 0.1.0"
        in done.err
    )
    assert "hint: an older airgap may lack checks; to accept it, use --allow-downgrade" in done.err
    assert gap.offline.ended() == ("kit-verify", "refused", 14)
    gap.offline("kit", "verify", kit, "--allow-downgrade")


def test_an_unfinished_one(gap, kit):
    (kit / "kit.dsse.json").unlink()
    assert "not a finished kit" in gap.offline("kit", "verify", kit, code=19).err


def test_a_bundle_is_no_kit(gap):
    bundle = gap.pack()
    done = gap.offline("kit", "verify", bundle, code=2)
    assert done.err.startswith(f"error: not a kit: {bundle}, got a bundle\nhint: `airgap verify {bundle}` ")


def test_a_newer_one_takes_its_place(gap, wheels, kit):
    write_stand_in(wheels, "rich", version="100.0")
    make(gap, wheels)
    assert (kit / "wheels" / "rich-100.0-py3-none-any.whl").exists()
    gap.offline("kit", "verify", kit)
