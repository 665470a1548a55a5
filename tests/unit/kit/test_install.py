"""The installer over kits of stand-ins: a pip that writes files in place of installing, and a real environment."""

import contextlib
import errno
import itertools
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from airgap.kit import install as installer
from airgap.kit.install import main
from airgap.online.kit import KitOrder, make_kit
from airgap.progress import Silent
from airgap.site import Site
from tests.support.kits import BROKEN_PIP, NOW, SECRET, here, make_small_kit, write_stand_in, write_stand_ins

SUMS = "SHA256SUMS"
UNLISTED = {SUMS, "statement.json", "kit.dsse.json"}


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kit")
    make_small_kit(folder)
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch) -> Path:
    """A copy of the sending side, to be spoilt: home, wheels, stick."""
    shutil.copytree(made, tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def kit(place, monkeypatch) -> Path:
    [kit] = (place / "stick").iterdir()
    monkeypatch.setattr(installer, "__file__", str(kit / "install.py"))
    return kit


@pytest.fixture
def key(place) -> Path:
    return place / "home" / "keys" / "alice.pub"


@pytest.fixture
def run(kit, tmp_path, capsys):
    """Runs the installer into `tmp_path`/prefix: exit code, and all that it says."""

    def run(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["--prefix", str(tmp_path / "prefix"), *map(str, words)])
        return code, "".join(capsys.readouterr())

    return run


def again(place: Path, **order: object) -> None:
    """Make the kit anew in its place."""
    site = Site(place / "home")
    signer = site.signing_key(None, lambda: SECRET)
    usual = {
        "to": place / "stick",
        "targets": here(),
        "signer": signer,
        "now": NOW,
        "wheels": place / "wheels",
    }
    make_kit(site, KitOrder(**(usual | order)), Silent())


def resum(kit: Path) -> None:
    """What somebody does who changes files and knows of SHA256SUMS."""
    names = sorted(path.relative_to(kit).as_posix() for path in kit.rglob("*") if path.is_file())
    kept = [name for name in names if name not in UNLISTED and not name.startswith("sig/")]
    (kit / SUMS).write_text("".join(f"{installer._sha256(kit / name)}  {name}\n" for name in kept))


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

    @pytest.mark.parametrize("algorithm", ["ecdsa-p256", "ecdsa-p384", "ed25519"])
    def test_with_a_key(self, tmp_path, monkeypatch, capsys, algorithm):
        made = make_small_kit(tmp_path, algorithm)
        monkeypatch.setattr(installer, "__file__", str(made.path / "install.py"))
        key = tmp_path / "home" / "keys" / "alice.pub"
        assert main(["--prefix", str(tmp_path / "prefix"), "--key", str(key)]) == 0
        assert f"signature: good, by key {made.signers[0]}" in capsys.readouterr().out


def _rich(kit: Path) -> Path:
    return next(kit.glob("wheels/rich-*"))


def _pipe(kit: Path) -> None:
    path = _rich(kit)
    path.unlink()
    os.mkfifo(path)


def _socket(kit: Path) -> None:
    _rich(kit).unlink()
    with socket.socket(socket.AF_UNIX) as found, contextlib.chdir(kit / "wheels"):  # its path must be short
        found.bind("rich-99.0-py3-none-any.whl")


def _device(kit: Path) -> None:
    """As a file system that was made elsewhere may have it; `/dev/zero` would fill the disk."""
    path = _rich(kit)
    path.unlink()
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("devices are made by root")


def _link_folder(kit: Path) -> None:
    (kit / "wheels").rename(kit.parent / "elsewhere")
    (kit / "wheels").symlink_to(kit.parent / "elsewhere")


def _link_sums(kit: Path) -> None:
    (kit / SUMS).rename(kit.parent / "elsewhere")
    (kit / SUMS).symlink_to(kit.parent / "elsewhere")


def _many(kit: Path) -> None:
    for number in range(5000):
        (kit / "sig" / f"{number:016x}.sig").touch()


def _change(kit: Path) -> None:
    path = next(kit.glob("wheels/rich-*"))
    path.write_bytes(path.read_bytes() + b"x")


def _link(kit: Path) -> None:
    path = next(kit.glob("wheels/rich-*"))
    path.rename(kit.parent / "elsewhere")
    path.symlink_to(kit.parent / "elsewhere")


def _for_another(kit: Path) -> None:
    [path] = (kit / "requirements").iterdir()
    path.rename(path.with_name("linux-mips-py3.11.txt"))
    resum(kit)


SPOILT = {
    "a wheel changed": (_change, "wrong digest: "),
    "a wheel missing": (lambda kit: next(kit.glob("wheels/rich-*")).unlink(), "missing file: "),
    "a wheel too many": (lambda kit: (kit / "wheels" / "x-1-py3-none-any.whl").touch(), "does not list: "),
    "a link": (_link, "not a regular file: "),
    "a folder that is a link": (_link_folder, "does not list: "),
    "a pipe": (_pipe, "not a regular file: "),
    "a socket": (_socket, "not a regular file: "),
    "a device": (_device, "not a regular file: "),
    "sums that are a link": (_link_sums, "not a regular file: "),
    "sums that are a pipe": (lambda kit: ((kit / SUMS).unlink(), os.mkfifo(kit / SUMS)), "not a regular file: "),
    "a folder too many": (lambda kit: (kit / "sig" / "more").mkdir(), "does not list: "),
    "a wheel without end": (lambda kit: os.truncate(_rich(kit), 1 << 40), "too large for a kit: "),
    "files without end": (_many, "not a kit: 5000 files or more"),
    "no pip": (lambda kit: (next(kit.glob("wheels/pip-*")).unlink(), resum(kit)), "want one wheel of pip, got 0"),
    "a file in a strange folder": (lambda kit: (kit / "sig" / "x").touch(), "does not list: "),
    "no envelope": (lambda kit: (kit / "kit.dsse.json").unlink(), "not a kit, or unfinished: no kit.dsse.json"),
    "no sums": (lambda kit: (kit / SUMS).unlink(), "No such file"),
    "sums of nothing": (lambda kit: (kit / SUMS).write_text("x\n"), "not a line of SHA256SUMS: 'x'"),
    "a way out": (lambda kit: (kit / SUMS).write_text(f"{'0' * 64}  ../x\n"), "not a line of SHA256SUMS"),
    "a line twice": (
        lambda kit: (kit / SUMS).write_text((kit / SUMS).read_text() * 2),
        "not a line of SHA256SUMS",
    ),
    "no airgap": (lambda kit: (next(kit.glob("wheels/airgap-*")).unlink(), resum(kit)), "want one wheel of airgap, got 0"),
    "another machine": (_for_another, "not for this machine: want linux-mips-py3.11, got linux-"),
}  # fmt: skip


class TestRefused:
    @pytest.mark.parametrize("spoil", SPOILT)
    def test_spoilt(self, run, kit, tmp_path, spoil):
        harm, words = SPOILT[spoil]
        harm(kit)
        code, said = run()
        assert (code, words in said, "nothing was installed" in said or "again" in said or "make one" in said) == (
            1, True, True,
        ), said  # fmt: skip
        assert not (tmp_path / "prefix" / "bin").exists()

    def test_the_earlier_one_stays(self, run, place, kit, tmp_path):
        run()
        command = tmp_path / "prefix" / "bin" / "airgap"
        before = command.readlink()
        write_stand_ins(place / "wheels", pip=BROKEN_PIP)
        again(place)
        code, said = run()
        assert (code, "ERROR: ?[31mno" in said, "failed, exit code 1" in said) == (1, True, True)
        assert command.readlink() == before
        assert subprocess.check_output([command]) == b"stand-in\n"
        assert (
            len([path for path in (tmp_path / "prefix" / "lib" / "airgap").iterdir() if path.is_dir()]) == 1
        )

    @pytest.mark.parametrize("loss", ["complete", "bin/python"])
    def test_one_of_the_same_version_that_does_not_run_here_stays(self, run, monkeypatch, tmp_path, loss):
        """It may run on another machine that shares the prefix, or again when its Python is back."""
        run()
        command = tmp_path / "prefix" / "bin" / "airgap"
        (command.resolve().parents[1] / loss).unlink()
        home, link = tmp_path / "prefix" / "lib" / "airgap", command.readlink()
        before = sorted(home.rglob("*"))
        with monkeypatch.context() as patch:
            patch.setattr(installer, "_WORKS", "raise SystemExit(1)")
            code, said = run()
        assert (code, "failed, exit code 1" in said) == (1, True)
        assert (command.readlink(), sorted(home.rglob("*"))) == (link, before)

    def test_what_a_killed_run_left_goes(self, run, monkeypatch, tmp_path):
        home = tmp_path / "prefix" / "lib" / "airgap"
        with monkeypatch.context() as patch:
            patch.setattr(installer, "_switch", lambda *_: os._exit(7))
            if (child := os.fork()) == 0:
                run()
            os.waitpid(child, 0)
        [left] = (path for path in home.iterdir() if (path / "pyvenv.cfg").exists())
        (left / "complete").unlink()
        assert run()[0] == 0
        assert (tmp_path / "prefix" / "bin" / "airgap").resolve().parents[1] == left
        assert len([path for path in home.iterdir() if path.is_dir()]) == 1

    def test_a_prefix_where_programs_cannot_run(self, run, monkeypatch, tmp_path):
        real = os.statvfs

        def noexec(path):
            found = list(real(path))
            return os.statvfs_result([*found[:8], found[8] | os.ST_NOEXEC, *found[9:]])

        monkeypatch.setattr(os, "statvfs", noexec)
        code, said = run()
        place = tmp_path / "prefix" / "lib" / "airgap"
        assert (code, f"error: programs cannot run from a noexec mount: {place}\n" in said) == (
            1,
            True,
        )
        assert "choose another folder with --prefix; nothing was installed" in said

    @pytest.mark.parametrize("refusal", [errno.ENOLCK, errno.EOPNOTSUPP])
    def test_a_prefix_without_locks(self, run, monkeypatch, refusal):
        def refuse(*_):
            raise OSError(refusal, os.strerror(refusal))

        monkeypatch.setattr(installer.fcntl, "flock", refuse)
        assert run()[0] == 0

    def test_no_folder_for_temporary_files(self, run, key, monkeypatch, tmp_path):
        """Everything is made below the prefix."""
        monkeypatch.setenv("TMPDIR", "/nonexistent")
        monkeypatch.setattr(installer.tempfile, "tempdir", "/nonexistent")
        code, said = run("--key", key)
        assert (code, "signature: good" in said) == (0, True)

    def test_what_the_system_refuses_is_said_in_words(self, run, tmp_path):
        (tmp_path / "prefix").write_text("a file")
        code, said = run()
        assert (code, f"error: {tmp_path}/prefix/lib/airgap: Not a directory\n" in said) == (1, True)

    def test_something_else_is_in_the_way(self, run, tmp_path):
        command = tmp_path / "prefix" / "bin" / "airgap"
        command.parent.mkdir(parents=True)
        command.write_text("mine")
        assert "this is another program" in run()[1]
        assert command.read_text() == "mine"

    def test_two_at_a_time(self, run, tmp_path):
        with installer._held(tmp_path / "prefix" / "lib" / "airgap"):
            assert "another installation is running" in run()[1]

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (errno.EROFS, "hint: be root, or choose another folder with --prefix; nothing was installed\n"),
            (
                errno.ENOSPC,
                "hint: free some space at the prefix, or choose another folder with --prefix; nothing was",
            ),
            (errno.EIO, "hint: nothing was installed\n"),
        ],
    )
    def test_a_prefix_that_does_not_take_it(self, run, monkeypatch, code, words):
        def fail(*_):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(installer, "copy_checked", fail)
        assert words in run()[1]

    def test_nobodys_home(self, kit, monkeypatch, capsys):
        monkeypatch.setattr(os, "geteuid", lambda: 4242)
        monkeypatch.delenv("HOME", raising=False)
        with pytest.raises(SystemExit):
            main([])
        assert "the following arguments are required: --prefix" in capsys.readouterr().err

    def test_interrupted(self, run, monkeypatch):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(installer, "copy_checked", interrupt)
        code, said = run()
        assert (code, said.endswith("interrupted: nothing was installed\n")) == (130, True)

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(5, "Input/output error")])
    @pytest.mark.parametrize("earlier", ["none", "another", "broken", "the same"])
    def test_after_the_switch_it_says_so(self, run, place, monkeypatch, tmp_path, error, earlier):
        command = tmp_path / "prefix" / "bin" / "airgap"
        if earlier != "none":
            run()
        if earlier == "another":
            write_stand_in(place / "wheels", "rich", version="100.0")
            again(place)
        if earlier == "broken":
            (command.resolve().parents[1] / "complete").unlink()

        def fail(*_):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(installer, "_clean", fail)
            code, said = run()
        assert code == (130 if isinstance(error, KeyboardInterrupt) else 1)
        truth = "nothing was installed" if earlier == "the same" else f"{command} was installed nevertheless"
        assert said.splitlines()[-1].startswith((f"interrupted: {truth}", f"hint: {truth}"))
        assert subprocess.check_output([command]) == b"stand-in\n"
        assert "was installed already" in run()[1]

    def test_just_before_the_switch_it_says_so_too(self, run, monkeypatch, tmp_path):
        def interrupt(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(installer, "_switch", interrupt)
            code, said = run()
        assert (code, said.endswith("interrupted: nothing was installed\n")) == (130, True)
        assert not (tmp_path / "prefix" / "bin" / "airgap").exists()
        code, said = run()
        assert (code, "was installed already" in said) == (0, False)


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
        _change(kit)
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


def test_the_signed_list_is_what_is_compared(kit):
    listed = {each["name"] for each in json.loads((kit / "statement.json").read_bytes())["subject"]}
    assert listed == {*installer.read_sums(kit), SUMS}
