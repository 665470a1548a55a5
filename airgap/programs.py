"""Runs another program: a list of arguments, no shell, and limits on its time and its output."""

import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, cast

from airgap.errors import EndpointError, UnavailableError, describe_cause
from airgap.values import dataclass

_KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a program wrote, and its exit status."""

    output: bytes
    complaint: bytes
    """What it wrote to standard error."""
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program and its limits."""

    title: str
    """Its name for people."""
    argv: Sequence[str]
    """The path of the program, and its arguments."""
    seconds: float
    max_bytes: int
    """Of standard output and standard error together."""

    def run(self, given: bytes = b"", variables: Mapping[str, str] | None = None) -> Finished:
        """Run the program to its end.

        Args:
            given: Its standard input.
            variables: Its environment, besides the search path, the home folder and the language.

        Raises:
            EndpointError: The output is too large.
            UnavailableError: The program cannot be started, or does not end in time.
        """
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        with tempfile.TemporaryFile() as standard_input:
            standard_input.write(given)
            standard_input.seek(0)
            try:
                process = subprocess.Popen(
                    self.argv,
                    stdin=standard_input,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={**kept, **(variables or {})},
                )
            except OSError as error:
                what = f"{self.title} cannot be started"
                raise UnavailableError(what, subject=self.argv[0], got=describe_cause(error)) from error
        with process:
            try:
                output, complaint = self._read(process)
                return Finished(output=output, complaint=complaint, code=process.wait(self.seconds))
            except subprocess.TimeoutExpired as error:
                raise self._too_slow() from error
            finally:
                process.kill()

    def _read(self, process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
        """Return both outputs, as they come, so that neither pipe blocks."""
        if process.stdout is None or process.stderr is None:
            raise AssertionError("opened as pipes")
        outputs: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
        opened = set(outputs)
        end = time.monotonic() + self.seconds
        while opened:
            ready = await_pipes(opened, selectors.EVENT_READ, end - time.monotonic())
            if not ready:
                raise self._too_slow()
            for pipe in ready:
                piece = os.read(pipe.fileno(), 1 << 16)
                outputs[pipe] += piece
                if not piece:
                    opened.remove(pipe)
            if sum(map(len, outputs.values())) > self.max_bytes:
                what, want = f"the output of {self.title} is too large", f"at most {self.max_bytes:,} bytes"
                raise EndpointError(what, subject=self.argv[0], want=want)
        return bytes(outputs[process.stdout]), bytes(outputs[process.stderr])

    def _too_slow(self) -> UnavailableError:
        want = f"within {self.seconds:g} seconds"
        return UnavailableError(f"{self.title} does not end", subject=self.argv[0], want=want)


def await_pipes(pipes: Iterable[IO[bytes]], events: int, seconds: float) -> list[IO[bytes]]:
    """Return the pipes that can be read or written without blocking; none if all block for so many seconds.

    By poll(2): select(2) refuses descriptors from 1024 on, which a process with many files open has.
    """
    with selectors.PollSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, events)
        return [cast("IO[bytes]", key.fileobj) for key, _ in selector.select(max(seconds, 0))]


def last_line(text: bytes) -> str:
    """Return the last line of an output that is not empty; an empty text if there is none."""
    lines = [line for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
