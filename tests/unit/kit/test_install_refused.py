"""Kits that are not installed."""

import contextlib
import errno
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from airgap.kit import install as installer
from airgap.kit.install import main
from tests.support.kits import BROKEN_PIP, write_stand_in, write_stand_ins
from tests.unit.kit.install_support import SUMS, again, change_wheel, resum


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


def _link(kit: Path) -> None:
    path = next(kit.glob("wheels/rich-*"))
    path.rename(kit.parent / "elsewhere")
    path.symlink_to(kit.parent / "elsewhere")


def _for_another(kit: Path) -> None:
    [path] = (kit / "requirements").iterdir()
    path.rename(path.with_name("linux-mips-py3.11.txt"))
    resum(kit)


SPOILT = {
    "a wheel changed": (change_wheel, "wrong digest: "),
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

    @pytest.mark.parametrize(
        ("earlier", "error"),
        [
            ("none", KeyboardInterrupt()),
            ("another", OSError(5, "Input/output error")),
            ("broken", KeyboardInterrupt()),
            ("the same", OSError(5, "Input/output error")),
        ],
    )
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
