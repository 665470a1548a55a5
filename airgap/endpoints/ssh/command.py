"""Commands on the remote machine: one argument list, quoted for a POSIX shell, with bounded output."""

import contextlib
import io
import shlex
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import paramiko

from airgap.endpoints.remote import CommandResult
from airgap.endpoints.ssh.limits import MAX_SSH_ERROR_BYTES, MAX_SSH_SILENCES, SSH_ANSWER_SECONDS
from airgap.errors import TransportError

_PACKET = 32_768


@contextlib.contextmanager
def answered(channel: paramiko.Channel, what: str, seconds: float = SSH_ANSWER_SECONDS) -> Iterator[None]:
    """Limit the time in which the server answers a request: paramiko waits indefinitely, so the channel is
    closed. Raises `TransportError` then.
    """
    late = threading.Event()

    def give_up() -> None:
        late.set()
        channel.close()

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (paramiko.SSHException, OSError, EOFError) as error:
        if not late.is_set():
            raise
        got = f"{seconds:.0f} s of silence"
        raise TransportError("no answer from the server", subject=what, got=got) from error
    finally:
        timer.cancel()


def start(channel: paramiko.Channel, argv: Sequence[str]) -> None:
    """Run a command. Each word reaches the program unchanged."""
    with answered(channel, argv[0]):
        channel.exec_command(shlex.join(argv))


def finish(channel: paramiko.Channel, limit: int, subject: object, silence: float) -> CommandResult:
    """Wait for the command's end. Raises `TransportError` if it writes more than `limit` bytes, prints
    nothing for `silence` seconds, or has not ended after `MAX_SSH_SILENCES` times as long.
    """
    channel.settimeout(silence)
    last = time.monotonic() + MAX_SSH_SILENCES * silence
    out, errors = bytearray(), bytearray()
    reader = threading.Thread(target=_take_errors, args=(channel, errors), daemon=True)
    reader.start()
    try:
        while piece := channel.recv(65536):
            out += piece
            if len(out) > limit:
                raise TransportError(
                    "the answer is too long", subject=subject, want=f"at most {limit:,} bytes"
                )
            if time.monotonic() > last:
                most = f"{MAX_SSH_SILENCES * silence:,.0f} s at most"
                raise TransportError("the program does not end", subject=subject, want=most)
    except TimeoutError:
        raise _silent(subject, silence) from None
    reader.join(silence)
    end = time.monotonic() + silence
    while not channel.exit_status_ready():
        if time.monotonic() > end:
            raise _silent(subject, silence)
        time.sleep(0.01)
    return CommandResult(channel.recv_exit_status(), bytes(out), bytes(errors))


def _take_errors(channel: paramiko.Channel, found: bytearray) -> None:
    """Read all of its standard error, or the command would block, and keep the beginning."""
    with contextlib.suppress(OSError):
        while piece := channel.recv_stderr(65536):
            found += piece[: MAX_SSH_ERROR_BYTES - len(found)]


def _silent(subject: object, silence: float) -> TransportError:
    hint = "log in there to see what the command waits for"
    return TransportError(
        "the remote command sent no output", subject=subject, got=f"{silence:.0f} s of silence", hint=hint
    )


def error_output(channel: paramiko.Channel) -> str:
    """Return the end of the standard error of a command that has ended."""
    channel.settimeout(2)
    end = time.monotonic() + 2
    while not channel.exit_status_ready() and time.monotonic() < end:
        time.sleep(0.01)
    ready = channel.recv_stderr(MAX_SSH_ERROR_BYTES) if channel.recv_stderr_ready() else b""
    return ready.decode("utf-8", "replace").strip()[-500:]


class PipeSocket:
    """Standard input and output of a remote command, in the form of a connected socket.

    As with sockets, the connection ends when it and all files made from it are closed.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._users = 1
        self._closed = False
        self._received = False

    def settimeout(self, seconds: float | None) -> None:
        self._channel.settimeout(seconds)

    def gettimeout(self) -> float | None:
        return self._channel.gettimeout()

    def sendall(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        while view:
            try:
                sent = self._channel.send(view[:_PACKET])  # type: ignore[arg-type]  # any buffer will do
            except TimeoutError:
                raise
            except OSError:  # the command has ended already
                sent = 0
            if not sent:
                raise ConnectionError(self._reason())
            view = view[sent:]

    def recv(self, size: int) -> bytes:
        data = self._channel.recv(size)
        if not data and not self._received:
            raise ConnectionError(self._reason())
        self._received = True
        return data

    def shutdown(self, how: int) -> None:
        if how != socket.SHUT_RD:
            self._channel.shutdown_write()

    @property
    def idle(self) -> bool:
        """Return whether it is open and has no bytes to read."""
        channel = self._channel
        return not (self._closed or channel.closed or channel.eof_received or channel.recv_ready())

    def makefile(self, mode: str = "rb") -> io.BufferedReader:  # noqa: ARG002 - HTTP reads bytes only
        self._users += 1
        return io.BufferedReader(_PipeFile(self), 65536)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.drop()

    def drop(self) -> None:
        """Release one user of the channel; the last one closes it."""
        self._users -= 1
        if self._users == 0:
            self._channel.close()

    def _reason(self) -> str:
        """Return the reason why a command ended without output."""
        return error_output(self._channel) or "the remote command ended"


class _PipeFile(io.RawIOBase):
    def __init__(self, pipe: PipeSocket) -> None:
        super().__init__()
        self._pipe = pipe

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self._pipe.recv(len(buffer))
        memoryview(buffer).cast("B")[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._pipe.drop()
