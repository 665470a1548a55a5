"""What the tests on real parts share: asking for a part, running a command, keeping a server."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import pytest

from tests.support.waits import GENEROUS, attempts

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where Debian's packages install; a hand-installed tool of the same name in /usr/local is never taken."""


def require(part: object, reason: str) -> None:
    """Skips the test if `part` is false; with CI=true that is a failure, since there every part must run."""
    if part:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_root() -> None:
    """Mounts, other roots and engines need root."""
    require(os.geteuid() == 0, "not root: engines and other roots cannot be started")


def require_tool(name: str) -> str:
    """The path of a tool that a Debian package brings."""
    path = shutil.which(name, path=SYSTEM_PATH)
    require(path, f"{name} is not installed (tests/install.sh installs it)")
    return str(path)


class CommandFailedError(AssertionError):
    """A command that should have worked did not; the message holds all its output."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.returncode = done.returncode
        self.output = (done.stdout + done.stderr).decode(errors="replace")
        super().__init__(f"{' '.join(done.args)}: exit {done.returncode}\n{self.output}")


def run(
    *argv: str | Path,
    input: bytes | None = None,  # noqa: A002 - subprocess's own word
    env: Mapping[str, str] | None = None,
    timeout: float = GENEROUS,
) -> subprocess.CompletedProcess[bytes]:
    """Runs a command to its end with `env` added to the environment; raises CommandFailedError if it fails."""
    words = [str(word) for word in argv]
    source = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
    done = subprocess.run(
        words, capture_output=True, check=False, timeout=timeout, env={**os.environ, **(env or {})}, **source
    )
    if done.returncode != 0:
        raise CommandFailedError(done)
    return done


class Service:
    """A server process with its log; it dies with the test process, even if that is killed.

    It gets no environment but PATH and HOME, so that a developer's proxies and settings stay outside.
    """

    def __init__(self, argv: list[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={"PATH": SYSTEM_PATH, "HOME": str(log.parent)},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    def poll(self, what: str) -> Iterator[None]:
        """Yields until the caller breaks off; fails with the log when the process ends or never gets there."""
        for _ in attempts():
            if self._process.poll() is not None:
                break
            yield
        state = "still starting" if self._process.poll() is None else f"exit {self._process.returncode}"
        text = self.log.read_text(errors="replace")
        self.stop()
        pytest.fail(f"{what} did not start ({state}); its log:\n{text}", pytrace=False)

    def wait_for_line(self, pattern: str, what: str) -> re.Match[str]:
        """The first match of `pattern` in the log."""
        for _ in self.poll(what):
            if found := re.search(pattern, self.log.read_text(errors="replace")):
                return found
        raise AssertionError(what)

    def stop(self, patience: float = 120) -> None:
        """Ends the process: TERM to its group, then KILL."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                return
            os.killpg(self._process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
