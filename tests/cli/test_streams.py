"""Signals, and standard streams that are closed, full or strange."""

import os
import signal
import subprocess

import pytest
import typer

from tests.cli.conftest import Gap
from tests.cli.processes import PATIENCE, shell, started
from tests.support.images import simple_image

# -- interruption


@pytest.mark.parametrize("error", [KeyboardInterrupt, typer.Abort])
def test_interruption(gap: Gap, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    def interrupted(*_: object) -> None:
        raise error

    bundle = gap.pack()
    monkeypatch.setattr("airgap.site.Site.root", interrupted)
    for words in (("trust", "show"), ("verify", bundle)):
        done = gap.offline(*words, code=130)
        assert (done.out, done.err) == ("", "interrupted\n")
    done = gap.offline("load", bundle, "--to", "oci:out", code=130)
    assert done.err == "interrupted; run the same command again to resume\n"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_command_with_a_record(gap: Gap, signum: signal.Signals) -> None:
    """The passphrase comes out of a pipe that nobody writes to, so that the command waits where we know."""
    pipe = gap.folder / "pipe"
    os.mkfifo(pipe)
    words = ("key", "generate", "carol", "--passphrase-file", pipe)
    with (
        started(gap.online.home, *words, stderr=subprocess.PIPE) as process,
        pipe.open("wb"),  # opens when the other end is open
    ):
        process.send_signal(signum)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err == b"interrupted\n"
    assert gap.online.ended() == ("trust-change", "aborted", 130)


# -- pipes


def test_a_reader_that_leaves(gap: Gap) -> None:
    with started(gap.online.home, "audit", "log", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        err = process.stderr.read()
        process.wait(PATIENCE)
    assert err == b""
    assert process.returncode == 1


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_outputs_that_are_closed(gap: Gap, closing: str) -> None:
    bundle = gap.pack()
    done = shell(gap.offline.home, f"load {bundle} --to oci:{gap.folder}/out {closing}")
    assert (done.returncode, b"Traceback" in done.stderr, b"error" in done.stderr) == (0, False, False)
    assert gap.offline.ended() == ("load", "ok", 0)


def test_an_output_that_is_full(gap: Gap) -> None:
    """What was done stays done; the medium is not to blame. A failure of the command itself counts more."""
    bundle = gap.pack()
    for words in ("", "--json"):
        done = shell(gap.offline.home, f"load {bundle} --to oci:{gap.folder}/out -q {words} >/dev/full")
        assert done.stderr.decode().splitlines() == [
            "error: cannot write the result to standard output, got No space left on device",
            "hint: the command did its work; `airgap audit log` shows what it did",
        ]
        assert done.returncode == 1
        assert gap.offline.ended() == ("load", "ok", 0)
    done = shell(gap.offline.home, "verify nowhere --json >/dev/full")
    assert done.returncode == 2
    assert b"cannot write the result" in done.stderr
    done = shell(gap.offline.home, "--version >/dev/full")
    assert (done.returncode, b"cannot write the result" in done.stderr) == (1, True)


def test_a_standard_error_that_is_full(gap: Gap) -> None:
    """Progress that nobody can read does not stop the work, and the exit code is the work's."""
    bundle = gap.pack()
    assert shell(gap.offline.home, f"load {bundle} --to oci:{gap.folder}/out 2>/dev/full").returncode == 0
    assert gap.offline.ended() == ("load", "ok", 0)
    assert shell(gap.offline.home, f"load {bundle} --to oci:{gap.folder}/out -q 2>/dev/full").returncode == 0
    assert shell(gap.offline.home, "verify nowhere --debug 2>/dev/full").returncode == 2


@pytest.mark.parametrize("to", [("--to", ""), ("--to=",)])
def test_a_variable_that_is_not_set(gap: Gap, monkeypatch: pytest.MonkeyPatch, to: tuple[str, ...]) -> None:
    path = gap.layout(api=simple_image("api"))
    monkeypatch.chdir(gap.folder)
    before = sorted(gap.folder.iterdir())
    done = gap.online("pack", path, *to, code=2)
    assert f"error: empty argument, got pack {path} {to[0]}" in done.err
    assert sorted(gap.folder.iterdir()) == before
    assert "empty argument" in gap.offline("verify", "", code=2).err


def test_words_that_are_not_utf8(gap: Gap) -> None:
    bundle, before = gap.pack(), len(gap.offline.records())
    done = gap.offline("load", bundle, "--to", f"oci:{gap.folder}/bad\udcff", code=2)
    assert done.err.startswith(f"error: not UTF-8: oci:{gap.folder}/bad\\udcff\nhint: ")
    assert len(gap.offline.records()) == before
