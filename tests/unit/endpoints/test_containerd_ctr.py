"""Running a program: its answers, its complaints, and its end."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airgap.endpoints.containerd import ctr
from airgap.endpoints.containerd.ctr import CtrProgram
from airgap.errors import DigestMismatchError, EndpointError, UnavailableError


def program(script: str, timeout: float = 20) -> CtrProgram:
    """A shell script in the place of ctr; its words come as "$@"."""
    return CtrProgram(("/bin/sh", "-c", script, "ctr"), "containerd:test", timeout)


def test_it_gets_its_words_as_they_are():
    assert (
        program('printf "%s|" "$@"').run("images", "ls", 'name=="a b;$(id)"')
        == 'images|ls|name=="a b;$(id)"|'
    )


def test_it_gets_no_input():
    assert program("cat").run("images", "ls") == ""


def test_what_is_fed(tmp_path: Path):
    chunks = [bytes([i]) * 70_000 for i in range(20)]
    program(f"cat > {tmp_path}/got").feed(iter(chunks), "images", "import", "-")
    assert (tmp_path / "got").read_bytes() == b"".join(chunks)


def test_long_answers_do_not_block_it():
    script = "head -c 3000000 /dev/zero | tr '\\0' e >&2; head -c 3000000 /dev/zero | tr '\\0' o"
    assert program(script).run("images", "ls") == "o" * 3_000_000


FAILURES = {
    "the last line counts": (
        "echo 'ctr: first' >&2; echo 'ctr: no such image' >&2; exit 1",
        "got no such image",
    ),
    "without a word": ("exit 7", "got 7"),
    "killed": ("kill -9 $$", "got -9"),
    "not text": ("printf '\\377\\n' >&2; exit 1", "got \ufffd"),
    "in colour": ("printf '\\033[31mred\\n' >&2; exit 1", "got \\\\x1b\\[31mred"),
}


@pytest.mark.parametrize(("script", "words"), FAILURES.values(), ids=FAILURES)
def test_failures(script: str, words: str):
    with pytest.raises(EndpointError, match=f"ctr images ls failed: containerd:test, {words}$"):
        program(script).run("images", "ls")


def test_of_many_words_the_last_are_kept():
    script = "head -c 300000 /dev/zero | tr '\\0' e >&2; echo >&2; echo 'ctr: at last' >&2; exit 1"
    with pytest.raises(EndpointError, match=r"got at last$"):
        program(script).run("images", "ls")


def test_a_hint_for_who_is_not_root():
    with pytest.raises(EndpointError) as caught:
        program("echo 'ctr: dial unix /x: connect: permission denied' >&2; exit 1").run("version")
    assert caught.value.hint == "only root may use its socket: run the same command as root"


def test_a_command_that_ends_early_reports_the_reason():
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1 << 16)

    with pytest.raises(EndpointError, match="got no space left"):
        program("head -c 1000 >/dev/null; echo 'ctr: no space left' >&2; exit 1").feed(
            endless(), "images", "import"
        )


def test_when_the_content_is_wrong_it_sees_no_end(tmp_path: Path):
    def chunks() -> Iterator[bytes]:
        yield b"some"
        raise DigestMismatchError("wrong")

    with pytest.raises(DigestMismatchError, match="wrong"):
        program(f"cat >/dev/null; echo ended > {tmp_path}/end").feed(chunks(), "images", "import")
    assert not (tmp_path / "end").exists()


def test_one_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch):
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(ctr.subprocess, "Popen", Noted)
    with pytest.raises(UnavailableError, match=r"no answer: .*ctr images ls, want within 0.2 seconds"):
        program("exec sleep 3000", timeout=0.2).run("images", "ls")
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_a_program_that_does_not_read_is_given_up():
    with pytest.raises(UnavailableError, match="no answer"):
        program("exec sleep 3000", timeout=0.2).feed([bytes(1 << 20)], "images", "import", "-")


def test_answers_have_a_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ctr, "MAX_CTR_OUTPUT_BYTES", 1000)
    with pytest.raises(EndpointError, match="answer too long"):
        program("head -c 1001 /dev/zero").run("images", "ls")


def test_answers_are_text():
    with pytest.raises(EndpointError, match="unreadable answer"):
        program("printf '\\377'").run("images", "ls")


def test_no_such_program():
    with pytest.raises(UnavailableError, match="cannot run /nonexistent/ctr: containerd:test"):
        CtrProgram(("/nonexistent/ctr",), "containerd:test").run("version")


def test_commands_are_logged_without_secrets(caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO", "airgap.endpoints.containerd"):
        program("true").run("images", "ls", "https://user:hunter2@ghcr.io/a")
    assert "images ls" in caplog.text
    assert "hunter2" not in caplog.text
