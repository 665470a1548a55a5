"""`ctr`, the client that comes with every containerd: the only program that airgap runs offline.

containerd speaks gRPC only, so without `ctr` this would need grpcio, some twenty vendored protobufs, and our
own import and unpacking, which differ between versions; `ctr` does what its version requires. It is run by
its path with a list of words, never by a shell, and its output is read up to a limit.
"""

import contextlib
import logging
import os
import selectors
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from airgap.errors import EndpointError, UnavailableError, UsageError, describe_cause
from airgap.hiding import LOGIN_HINT, has_secret, hide
from airgap.limits import (
    CTR_OUTPUT_SECONDS,
    ENGINE_SILENCE_SECONDS,
    MAX_CTR_ERROR_BYTES,
    MAX_CTR_OUTPUT_BYTES,
)
from airgap.programs import await_pipes
from airgap.values import dataclass

log = logging.getLogger(__name__)

SOCKETS = (
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",  # also used by RKE2
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    "/var/snap/k8s/common/run/containerd/containerd.sock",  # Canonical Kubernetes, strictly confined
)
PROGRAMS = (
    ("ctr",),
    ("/usr/local/bin/ctr",),
    ("/var/lib/rancher/rke2/bin/ctr",),
    ("k3s", "ctr"),
    ("/usr/local/bin/k3s", "ctr"),
    ("k0s", "ctr"),
    ("/usr/local/bin/k0s", "ctr"),
    ("/snap/microk8s/current/bin/ctr",),
    ("/snap/k8s/current/bin/ctr",),
)
"""With full paths where `sudo` does not look: RHEL's `secure_path` does not contain /usr/local/bin."""
ADDRESS = "CONTAINERD_ADDRESS"
"""The environment variable that `ctr` itself reads."""


class Ctr(Protocol):
    """Runs `ctr` with some words after the address and the namespace."""

    def run(self, *words: str) -> str:
        """Return its output. Raises `EndpointError` with its last message if it fails."""

    def feed(self, chunks: Iterable[bytes], *words: str) -> None:
        """Give it `chunks` on its standard input. If `chunks` raises, it is killed before it has seen the end
        of its input, and the exception is passed on.
        """


@dataclass(frozen=True, slots=True)
class CtrProgram:
    """A `Ctr`. `argv` is the program and its first words; `timeout` is in seconds without an answer."""

    argv: tuple[str, ...]
    subject: str
    timeout: float = ENGINE_SILENCE_SECONDS

    def run(self, *words: str) -> str:
        with self._started(words, subprocess.DEVNULL) as process:
            return self._answer(process, words)

    def feed(self, chunks: Iterable[bytes], *words: str) -> None:
        with self._started(words, subprocess.PIPE) as process:
            answers = _Answers(process)
            stdin = _pipe(process.stdin)
            with contextlib.suppress(BrokenPipeError):  # it ended early; its error output has the reason
                os.set_blocking(stdin.fileno(), False)
                for chunk in chunks:
                    self._write(stdin, chunk, words)
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
            self._finish(process, answers, words)

    def _write(self, pipe: IO[bytes], chunk: bytes, words: Sequence[str]) -> None:
        """Write all of it, as long as the program takes something within `timeout`."""
        left = memoryview(chunk)
        while left:
            if not await_pipes([pipe], selectors.EVENT_WRITE, self.timeout):
                raise self._no_answer(words)
            left = left[os.write(pipe.fileno(), left) :]

    def _no_answer(self, words: Sequence[str]) -> UnavailableError:
        return UnavailableError(
            "no answer", subject=self._what(words), want=f"within {self.timeout:g} seconds"
        )

    @contextlib.contextmanager
    def _started(self, words: Sequence[str], stdin: int) -> Iterator[subprocess.Popen[bytes]]:
        """Start the process in our own group, so that Ctrl-C ends it too; at the end it is killed."""
        argv = [*self.argv, *words]
        log.info("running %s", hide(shlex.join(argv)))
        try:
            process = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            raise UnavailableError(
                f"cannot run {argv[0]}", subject=self.subject, got=describe_cause(error)
            ) from error
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _answer(self, process: subprocess.Popen[bytes], words: Sequence[str]) -> str:
        out = self._finish(process, _Answers(process), words)
        try:
            return out.decode("utf-8")
        except UnicodeDecodeError as error:
            raise EndpointError(
                "unreadable answer", subject=self._what(words), got="bytes that are not UTF-8"
            ) from error

    def _finish(self, process: subprocess.Popen[bytes], answers: "_Answers", words: Sequence[str]) -> bytes:
        try:
            code = process.wait(self.timeout)
        except subprocess.TimeoutExpired as error:
            raise self._no_answer(words) from error
        out, complaint = answers.all()
        if code:
            raise EndpointError(
                f"ctr {' '.join(words[:2])} failed",
                subject=self.subject,
                got=complaint or code,
                hint="only root may use its socket: run the same command as root"
                if "permission denied" in complaint
                else None,
            )
        if len(out) > MAX_CTR_OUTPUT_BYTES:
            raise EndpointError(
                "answer too long", subject=self._what(words), want=f"at most {MAX_CTR_OUTPUT_BYTES:,}"
            )
        return out

    def _what(self, words: Sequence[str]) -> str:
        return f"{self.subject}: ctr {' '.join(words)}"


class _Answers:
    """Reads both outputs of a process as they come, so that it never blocks, and keeps only a part."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._out = bytearray()
        self._err = bytearray()
        self._threads = [
            threading.Thread(target=_keep_first, args=(_pipe(process.stdout), self._out), daemon=True),
            threading.Thread(target=_keep_last, args=(_pipe(process.stderr), self._err), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def all(self) -> tuple[bytes, str]:
        """Return the standard output, and the last line of the standard error."""
        for thread in self._threads:
            thread.join(CTR_OUTPUT_SECONDS)
        lines = self._err.decode("utf-8", "replace").split("\n")
        complaints = [line.strip() for line in lines if line.strip()]
        return bytes(self._out), complaints[-1].removeprefix("ctr: ") if complaints else ""


def _keep_first(pipe: IO[bytes], kept: bytearray) -> None:
    """Keep just enough to see that the output exceeds the limit."""
    for chunk in _chunks(pipe):
        kept += chunk[: max(0, MAX_CTR_OUTPUT_BYTES + 1 - len(kept))]


def _keep_last(pipe: IO[bytes], kept: bytearray) -> None:
    for chunk in _chunks(pipe):
        kept += chunk
        del kept[:-MAX_CTR_ERROR_BYTES]


def _chunks(pipe: IO[bytes]) -> Iterator[bytes]:
    with contextlib.suppress(OSError, ValueError):  # closed while reading, as the process was killed
        while chunk := os.read(pipe.fileno(), 1 << 16):
            yield chunk


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise AssertionError("opened as a pipe")
    return pipe


def find_socket(
    environ: Mapping[str, str] = os.environ,
    is_socket: Callable[[str], bool] = lambda name: Path(name).is_socket(),
) -> str:
    """Return the socket of `CONTAINERD_ADDRESS`, otherwise the only one of the usual sockets that exists.
    Raises `UsageError` if there are several: a machine with Docker and k3s has two, and the wrong one would
    accept the images too.
    """
    if address := environ.get(ADDRESS):
        if has_secret(address):
            raise UsageError(
                "a password or token", subject=ADDRESS, want="the path of a socket", hint=LOGIN_HINT
            )
        return address.removeprefix("unix://")
    sockets = [name for name in SOCKETS if is_socket(name)]
    if len(sockets) == 1:
        return sockets[0]
    if sockets:
        raise UsageError(
            "more than one containerd found here", want=f"{ADDRESS}=SOCKET", got=", ".join(sockets)
        )
    raise UnavailableError(
        "no containerd found here",
        want=" or ".join(SOCKETS),
        hint=f"is it running? set {ADDRESS}=SOCKET if its socket is elsewhere",
    )


def find_program(which: Callable[[str], str | None] = shutil.which) -> tuple[str, ...]:
    """Return the `ctr` of the machine, with its full path; any `ctr` can talk to any containerd."""
    for program, *words in PROGRAMS:
        if path := which(program):
            return (path, *words)
    raise UnavailableError(
        "cannot find ctr, containerd's client",
        want=" or ".join(" ".join(program) for program in PROGRAMS),
        hint="install it (package containerd) or add it to PATH; any version of ctr works",
    )
