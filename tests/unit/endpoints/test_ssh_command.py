"""Commands and pipes over a channel in memory."""

import shlex
import threading

import paramiko
import pytest

from airgap.endpoints.ssh.command import PipeSocket, answered, finish, start
from airgap.errors import TransportError


class Channel:
    def __init__(self, out: bytes = b"", err: bytes = b"", code: int = 0) -> None:
        self._out, self._err, self._code = out, err, code
        self.sent = b""
        self.command = ""
        self.closed = False
        self.eof_received = False

    def exec_command(self, command: str) -> None:
        self.command = command

    def recv(self, size: int) -> bytes:
        piece, self._out = self._out[:size], self._out[size:]
        return piece

    def recv_stderr(self, size: int) -> bytes:
        piece, self._err = self._err[:size], self._err[size:]
        return piece

    def recv_ready(self) -> bool:
        return bool(self._out)

    def recv_stderr_ready(self) -> bool:
        return bool(self._err)

    def exit_status_ready(self) -> bool:
        return True

    def recv_exit_status(self) -> int:
        return self._code

    def send(self, data) -> int:
        self.sent += bytes(data)[:7]
        return len(bytes(data)[:7])

    def settimeout(self, seconds) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    "word",
    ["", " ", "a b", "'", '"', "$(x)", "`x`", ";", "&&", "\n", "*", "~", "!", "\\", "-x", "ü", "{a,b}"],
)
def test_words_stay_words(word):
    channel = Channel()
    start(channel, ["program", word, "last"])
    assert shlex.split(channel.command) == ["program", word, "last"]
    assert channel.command.startswith("program ")


def test_output_is_bounded():
    assert finish(Channel(b"x" * 100, b"words", 3), 100, "p", 5).out == b"x" * 100
    with pytest.raises(TransportError, match="the answer is too long: p, want at most 99 bytes"):
        finish(Channel(b"x" * 100), 99, "p", 5)
    ran = finish(Channel(err=b"e" * 100_000, code=1), 10, "p", 5)
    assert (ran.code, len(ran.err)) == (1, 16 << 10)


class Silent(Channel):
    """A program that hangs, before its output ends or after it has closed that."""

    def __init__(self, *, closed: bool) -> None:
        super().__init__()
        self._closed = closed

    def recv(self, size: int) -> bytes:
        if self._closed:
            return b""
        raise TimeoutError

    def exit_status_ready(self) -> bool:
        return False


@pytest.mark.parametrize("closed", [False, True])
def test_silence_has_an_end(closed):
    with pytest.raises(TransportError, match="the remote command sent no output: p, got 0 s of silence"):
        finish(Silent(closed=closed), 10, "p", 0.05)


class Dripping(Channel):
    """A program that is never silent, and never ends."""

    def recv(self, size: int) -> bytes:
        return b"x"


def test_output_in_drops_has_an_end():
    with pytest.raises(TransportError, match="the program does not end: p, want 0 s at most"):
        finish(Dripping(), 1 << 40, "p", 0.005)


def test_a_pipe_carries_both_ways():
    channel = Channel(b"answer\nrest")
    pipe = PipeSocket(channel)
    pipe.sendall(b"question of more than seven bytes")
    assert channel.sent == b"question of more than seven bytes"
    with pipe.makefile() as file:
        assert file.readline() == b"answer\n"
        pipe.close()
        pipe.close()
        assert not channel.closed, "a file of it is still open"
        assert file.read() == b"rest"
    assert channel.closed


def test_a_command_that_ends_at_once_reports_the_reason():
    with pytest.raises(ConnectionError, match="docker: not found"):
        PipeSocket(Channel(err=b"docker: not found\n", code=127)).recv(10)
    with pytest.raises(ConnectionError, match="the remote command ended"):
        PipeSocket(Channel()).makefile().read(1)


def test_the_end_after_an_answer_is_an_end():
    pipe = PipeSocket(Channel(b"x"))
    assert (pipe.recv(10), pipe.recv(10)) == (b"x", b"")


def test_idle():
    channel = Channel()
    pipe = PipeSocket(channel)
    assert pipe.idle
    channel._out = b"late"
    assert not pipe.idle
    channel._out = b""
    channel.eof_received = True
    assert not pipe.idle
    channel.eof_received = False
    pipe.close()
    assert not pipe.idle


def test_a_server_that_does_not_answer():
    closed = threading.Event()

    class Silent(Channel):
        def close(self) -> None:
            closed.set()

    def ask() -> None:
        with answered(Silent(), "sftp", 0.1):
            assert closed.wait(120)
            raise paramiko.SSHException("Channel closed.")  # as paramiko does then

    with pytest.raises(TransportError, match="no answer from the server: sftp, got 0 s of silence"):
        ask()


def test_a_server_that_refuses_at_once():
    with pytest.raises(paramiko.SSHException, match=r"Channel closed\."), answered(Channel(), "sftp", 10):
        raise paramiko.SSHException("Channel closed.")
