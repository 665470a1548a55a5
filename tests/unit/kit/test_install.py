"""Installing from a kit: what is installed, older versions, and keys."""

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from airgap.kit import install as installer
from airgap.kit.install import main
from tests.support.kits import make_small_kit, write_stand_in
from tests.unit.kit.install_support import SUMS, again, change_wheel, resum


class TestInstalled:
    def test_the_command_runs(self, run, tmp_path):
        code, said = run()
        assert (code, "signature: not checked" in said, "VERIFY.txt" in said) == (0, True, True)
        command = tmp_path / "prefix" / "bin" / "airgap"
        assert f"installed: airgap 0.1.0 at {command}" in said
        assert subprocess.check_output([command]) == b"stand-in\n"
        assert not command.readlink().is_absolute()

    @pytest.mark.parametrize("there", [False, True])
    def test_whether_the_shell_finds_it(self, run, monkeypatch, tmp_path, there):
        place = tmp_path / "prefix" / "bin"
        monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{place}" if there else os.environ["PATH"])
        assert (f"add {place} to PATH" in run()[1]) is not there

    def test_readable_for_all(self, run, tmp_path):
        before = os.umask(0o077)
        try:
            run()
        finally:
            os.umask(before)
        [env] = (path for path in (tmp_path / "prefix" / "lib" / "airgap").iterdir() if path.is_dir())
        assert (env.stat().st_mode & 0o777, (env / "bin" / "airgap").stat().st_mode & 0o777) == (0o755, 0o755)

    def test_again_leaves_it(self, run, tmp_path):
        run()
        command = tmp_path / "prefix" / "bin" / "airgap"
        before = command.resolve().stat()
        code, said = run()
        assert (code, "was installed already" in said) == (0, True)
        assert command.resolve().stat() == before

    @pytest.mark.parametrize("loss", ["complete", "bin/python"])
    def test_again_repairs(self, run, tmp_path, loss):
        run()
        command = tmp_path / "prefix" / "bin" / "airgap"
        (command.resolve().parents[1] / loss).unlink()
        code, said = run()
        assert (code, "was installed already" in said) == (0, False)
        assert subprocess.check_output([command]) == b"stand-in\n"

    @pytest.mark.parametrize("linked", [False, True])
    def test_upgrades_and_keeps_the_last_one(self, run, place, tmp_path, linked):
        if linked:
            (tmp_path / "elsewhere").mkdir()
            (tmp_path / "prefix").symlink_to("elsewhere")
        command = tmp_path / "prefix" / "bin" / "airgap"
        seen = []
        for version in ("1", "2", "3"):
            write_stand_in(place / "wheels", "rich", version=f"100.{version}")
            again(place)
            assert run()[0] == 0
            seen.append(command.resolve().parents[1])
        assert [path.exists() for path in seen] == [False, True, True]
        assert len(set(seen)) == 3

    def test_what_a_killed_run_left_goes(self, run, tmp_path):
        home = tmp_path / "prefix" / "lib" / "airgap"
        (home / ".staging-dead" / "wheels").mkdir(parents=True)
        assert run()[0] == 0
        assert not list(home.glob(".staging*"))

    @pytest.mark.parametrize("algorithm", ["ecdsa-p384", "ed25519"])
    def test_with_a_key(self, tmp_path, monkeypatch, capsys, algorithm):
        made = make_small_kit(tmp_path, algorithm)
        monkeypatch.setattr(installer, "__file__", str(made.path / "install.py"))
        key = tmp_path / "home" / "keys" / "alice.pub"
        assert main(["--prefix", str(tmp_path / "prefix"), "--key", str(key)]) == 0
        assert f"signature: good, by key {made.signers[0]}" in capsys.readouterr().out


def as_version(kit: Path, version: str) -> None:
    """Let the kit be one of another airgap."""
    [wheel] = kit.glob("wheels/airgap-*")
    wheel.rename(wheel.with_name(wheel.name.replace("0.1.0", version)))
    resum(kit)


class TestDowngrade:
    def test_an_older_one_is_refused(self, run, kit, tmp_path):
        run()
        command = tmp_path / "prefix" / "bin" / "airgap"
        before = command.readlink()
        as_version(kit, "0.0.9")
        code, said = run()
        assert code == 1
        assert "error: older than what is installed: want airgap 0.1.0 or later, got 0.0.9\n" in said
        assert "--allow-downgrade installs it anyway" in said
        assert command.readlink() == before
        assert run("--allow-downgrade")[0] == 0
        assert "/0.0.9-py3." in str(command.readlink())

    @pytest.mark.parametrize("loss", ["bin/airgap", "complete"])
    def test_also_than_one_that_is_broken(self, run, kit, tmp_path, loss):
        run()
        ((tmp_path / "prefix" / "bin" / "airgap").resolve().parents[1] / loss).unlink()
        as_version(kit, "0.0.9")
        assert "older than what is installed" in run()[1]

    def test_a_newer_one_is_installed(self, run, kit):
        run()
        as_version(kit, "0.1.1")
        code, said = run()
        assert (code, "installed: airgap 0.1.1 at" in said) == (0, True)

    @pytest.mark.parametrize("version", ["x", "1.0.post1", "1" * 10])
    def test_not_a_version(self, run, kit, version):
        run()
        as_version(kit, version)
        code, said = run()
        assert (code, f"error: not a version of airgap: '{version}'" in said) == (1, True)

    def test_the_order_of_versions(self):
        order = ["0.9", "1.0.dev1", "1.0a1.dev1", "1.0a1", "1.0b1", "1.0rc1.dev2", "1.0rc1", "1.0rc2", "1.0"]
        order += ["1.0.1", "1.0.10", "1.10"]
        assert all(installer.place_of(a) < installer.place_of(b) for a, b in itertools.pairwise(order))
        assert len({str(installer.place_of(same)) for same in ("1", "1.0", "1.0.0", "1.0+local")}) == 1


class TestKey:
    def test_all_changed_together(self, run, kit, key):
        """Sums that fit and no key: nothing can tell. With the key it shows."""
        change_wheel(kit)
        resum(kit)
        assert "SHA256SUMS is not the list that was signed" in run("--key", key)[1]
        assert run()[0] == 0

    def test_statement_changed(self, run, kit, key):
        (kit / "statement.json").write_bytes((kit / "statement.json").read_bytes().replace(b"hq", b"xx"))
        assert "wrong signature" in run("--key", key)[1]

    def test_another_key(self, run, place, tmp_path):
        make_small_kit(tmp_path / "other")
        code, said = run("--key", tmp_path / "other" / "home" / "keys" / "alice.pub")
        assert (code, "not signed by this key" in said) == (1, True)

    def test_another_signature_under_its_name(self, run, kit, key):
        path = next(kit.glob("sig/*"))
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
        assert "wrong signature" in run("--key", key)[1]

    def test_a_key_of_the_kit(self, run, kit, key):
        shutil.copy(key, kit / "alice.pub")
        resum(kit)
        assert "a key from the kit proves nothing" in run("--key", kit / "alice.pub")[1]

    @pytest.mark.parametrize("text", [None, "", "-----BEGIN PUBLIC KEY-----\n"])
    def test_no_key(self, run, tmp_path, text):
        path = tmp_path / "x.pub"
        if text is not None:
            path.write_text(text)
        assert "openssl cannot read the key" in run("--key", path)[1]

    def test_no_openssl(self, run, key, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        code, said = run("--key", key)
        assert (code, "no openssl here" in said) == (1, True)


def test_the_signed_list_is_what_is_compared(kit):
    listed = {each["name"] for each in json.loads((kit / "statement.json").read_bytes())["subject"]}
    assert listed == {*installer.read_sums(kit), SUMS}
