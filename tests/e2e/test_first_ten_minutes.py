"""docs/first-ten-minutes.md, typed in a terminal of 80 x 24: a newcomer's way from an empty home to Docker 20.10."""

import os
import pty
import re
import select
import struct
import sys
import termios
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path

import pytest

from airgap.cli.init import site_name
from tests.e2e.test_readme import AWAIT, REPOSITORY, Step, form, free_port, steps
from tests.support.engines import Engine
from tests.support.parts import run
from tests.support.waits import GENEROUS

PAGE = (REPOSITORY / "docs" / "first-ten-minutes.md").read_text()
COLUMNS, ROWS = 80, 24
PASSPHRASE = "only for this story"
FINGERPRINT = re.compile(r"(?:[0-9a-f]{4}\s+){15}[0-9a-f]{4}")
MARK = "@@ end of step"
BAR = re.compile(r"[━╸╺]|^(fetching|verifying|checking|loading)\b")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Typist:
    """A shell in a terminal, and a person who answers what it asks."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.seen = ""
        pid, self.fd = pty.fork()
        if pid == 0:
            os.chdir(folder)
            os.execve("/bin/sh", ["sh"], environment)
        self.pid = pid
        ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        settings = termios.tcgetattr(self.fd)
        settings[3] &= ~termios.ECHO  # what is typed is in the page already
        termios.tcsetattr(self.fd, termios.TCSANOW, settings)

    def close(self) -> None:
        os.close(self.fd)
        os.waitpid(self.pid, 0)

    def answer(self, said: str) -> str | None:
        """What a person types at this prompt."""
        if said.endswith("Set it up now? [y/N]: "):
            return "y"
        if re.search(r"(New passphrase of the signing key|Repeat the passphrase): $", said):
            return PASSPHRASE
        if said.endswith("Type the fingerprint that the sending side gave you: "):
            shown = FINGERPRINT.findall(self.seen)
            return " ".join(shown[-1].split())
        return None

    def type(self, command: str) -> tuple[list[str], int]:
        """Run a command; return the lines on the screen, and its exit code."""
        line = f"{command} printf '\\n{MARK} %s\\n' $?\n"  # in one line, or a question would read the rest
        os.write(self.fd, line.encode())
        said, answered = "", 0
        while not (end := re.search(rf"\n{MARK} (\d+)\n", said)):
            ready, _, _ = select.select([self.fd], [], [], GENEROUS)
            assert ready, said
            said += os.read(self.fd, 65536).decode().replace("\r\n", "\n")
            if (word := self.answer(said[answered:])) is not None:
                os.write(self.fd, f"{word}\n".encode())
                answered = len(said)
        self.seen += said
        return _screen(said[: end.start()]), int(end[1])


def _screen(text: str) -> list[str]:
    """The lines that stay on the screen, without prompts of the shell and bars of progress."""
    lines = [line.rpartition("\r")[2] for line in CONTROL.sub("", text).split("\n")]
    lines = [re.sub(r"^([$#>] )+", "", line).rstrip() for line in lines]
    return [line for line in lines if line and not BAR.search(line)]


@pytest.fixture(scope="module")
def typist(session_docker20: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    session_docker20.reset()
    folder = tmp_path_factory.mktemp("first")
    clone = folder / "airgap"
    run("git", "clone", "--quiet", REPOSITORY, clone)
    (folder / "await.py").write_text(AWAIT)
    (folder / "bin").mkdir()
    python = folder / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    environment = {
        "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder / "home"),
        "DOCKER_HOST": session_docker20.host,
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
        "PS1": "$ ",
    }
    environment |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    (folder / "home").mkdir()
    person = Typist(clone, environment)
    yield person
    person.close()


def _typed(step: Step, port: int) -> str:
    command = step.command.replace(":5000", f":{port}")
    if command.endswith("&"):
        served = f"{command.removesuffix('&')} --port {port} &"
        return f"{served} python3 ../await.py http://127.0.0.1:{port}/v2/;"
    return f"{command};"


def _in_one_line(lines: list[str], folder: Path) -> str:
    """The text without what differs from run to run: paths have other lengths here, and break lines elsewhere."""
    text = " ".join(" ".join(lines).split()).replace(str(folder / "home"), "/home/alice")
    text = re.sub(r"unix://[^ ]+/docker\.sock", "unix:///run/docker.sock", text)
    text = re.sub(rf"\b{re.escape(site_name())}\b", "hq", text)
    return form(text, folder / "airgap")


def test_the_page_is_what_the_terminal_shows(typist: Typist, session_docker20: Engine) -> None:
    port, folder = free_port(), typist.folder.parent
    for step in steps(PAGE):
        lines, code = typist.type(_typed(step, port))
        assert code == 0, lines
        got = _in_one_line([line.replace(f":{port}", ":5000") for line in lines], folder)
        want = _in_one_line(step.answer or [], folder)
        pattern = ".*".join(map(re.escape, want.split("...")))
        assert re.fullmatch(pattern, got), (step.command, got, want, lines)
    for name in ("web", "api"):
        assert session_docker20.inspect(f"127.0.0.1:{port}/demo/{name}:1.0")


def test_every_line_of_the_page_fits_the_terminal() -> None:
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert [line for block in blocks for line in block.splitlines() if len(line) > COLUMNS] == []
