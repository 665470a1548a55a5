"""Installing on other machines, and by the shell script."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airgap.kit import install as installer


class TestMachine:
    def test_musl(self, kit, monkeypatch):
        monkeypatch.setattr(installer, "_glibc", lambda: None)
        with pytest.raises(installer.KitError, match="got musllinux-"):
            installer.fitting(kit)

    def test_musl_knows_no_glibc(self, monkeypatch):
        def unknown(_):
            raise ValueError

        monkeypatch.setattr(os, "confstr", unknown)
        assert installer._glibc() is None

    def test_32_bits_on_a_kernel_of_64(self, kit, monkeypatch):
        monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
        with pytest.raises(installer.KitError, match="want 64 bits, got 32"):
            installer.fitting(kit)

    def test_an_old_system(self, kit, monkeypatch):
        monkeypatch.setattr(os, "confstr", lambda _: "glibc 2.17")
        with pytest.raises(installer.KitError, match=r"want glibc 2\.28 or later, got 2\.17"):
            installer.fitting(kit)

    def test_another_implementation(self, kit, monkeypatch):
        monkeypatch.setattr(sys.implementation, "name", "pypy")
        with pytest.raises(installer.KitError, match="want cpython, got pypy"):
            installer.fitting(kit)


class TestShell:
    """install.sh, which chooses the Python."""

    def sh(self, kit: Path, *words: object, **env: str) -> subprocess.CompletedProcess:
        command = ["sh", str(kit / "install.sh"), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | env)

    def pythons(self, folder: Path, **versions: str) -> str:
        """A PATH with stand-ins for Python that tell these versions, and nothing else."""
        folder.mkdir()
        for name, version in versions.items():
            (folder / name).write_text(
                f'#!/bin/sh\ncase "$2 $3" in -B*) echo ran {name} "$@";; *version*) echo {version};; esac\n'
            )
            (folder / name).chmod(0o755)
        for tool in ("dirname", "sh"):
            (folder / tool).symlink_to(shutil.which(tool))
        return str(folder)

    def test_the_one_that_is_named(self, kit, tmp_path):
        done = self.sh(kit, "--prefix", tmp_path / "prefix", PYTHON=sys.executable)
        assert (done.returncode, done.stderr) == (0, "")
        assert "installed: airgap" in done.stdout

    def test_the_first_that_fits(self, kit, tmp_path):
        fits = f"3.{sys.version_info[1]}"
        path = self.pythons(tmp_path / "bin", python3="3.9", **{"python3.14": "3.9", "python3.12": fits})
        done = self.sh(kit, "--key", "a b", PATH=path)
        assert done.stdout == f"ran python3.12 -I -B {kit}/install.py --key a b\n"

    def test_the_first_that_is_whole(self, kit, tmp_path):
        """Debian's python3-minimal has no venv. A version that no real Python has: that would install."""
        [list_] = (kit / "requirements").iterdir()
        list_.rename(list_.with_name("linux-x86_64-py3.99.txt"))
        path = self.pythons(tmp_path / "bin", python3="3.99", **{"python3.12": "3.99"})
        lacking = tmp_path / "bin" / "python3"
        lacking.write_text(lacking.read_text().replace("esac", "*) exit 1;; esac"))
        assert self.sh(kit, PATH=path).stdout == f"ran python3.12 -I -B {kit}/install.py\n"
        (tmp_path / "bin" / "python3.12").unlink()
        done = self.sh(kit, PATH=path, PYTHON="python3")
        assert done.returncode == 1
        assert done.stderr.startswith("error: python3 lacks some of its standard library: want ctypes, ")
        assert "ssl, venv, zlib, lacks ctypes fcntl json shutil ssl venv zlib\n" in done.stderr
        assert "the packages python3 and python3-venv" in done.stderr

    def test_too_old(self, kit, tmp_path):
        [list_] = (kit / "requirements").iterdir()
        list_.rename(list_.with_name("linux-x86_64-py3.99.txt"))
        path = self.pythons(tmp_path / "bin", python3="3.9")
        done = self.sh(kit, PATH=path)
        assert done.returncode == 1
        assert done.stderr.startswith("error: no Python here that this kit is for: want 3.99, got 3.9")
        assert "airgap kit --python" in done.stderr
