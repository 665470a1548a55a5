"""How SFTP begins, or what a login does in its place."""

import re
from typing import Any

import paramiko
import pytest

from airgap.endpoints.ssh.opening import open_sftp
from airgap.errors import TransportError


class Channel:
    """What a server says: pieces of bytes, errors to raise, and the end."""

    def __init__(self, *says: bytes | Exception, errors: bytes = b"", code: int | None = None) -> None:
        self.says = list(says)
        self.errors = errors
        self.code = code
        self.patience: list[float] = []

    def settimeout(self, seconds: float) -> None:
        self.patience.append(seconds)

    def invoke_subsystem(self, name: str) -> None:
        assert name == "sftp"

    def send(self, data: bytes) -> int:
        return len(data)

    def recv(self, size: int) -> bytes:
        if not self.says:
            return b""
        if isinstance(self.says[0], Exception):
            raise self.says.pop(0)
        piece, rest = self.says[0][:size], self.says[0][size:]
        self.says[:1] = [rest] if rest else []
        return piece

    def exit_status_ready(self) -> bool:
        return self.code is not None

    def recv_exit_status(self) -> int | None:
        return self.code

    def recv_stderr_ready(self) -> bool:
        return bool(self.errors)

    def recv_stderr(self, _: int) -> bytes:
        return self.errors

    def close(self) -> None:
        pass


class Connection:
    name = "plant-a"

    def __init__(self, channel: Channel | Exception, *, lost: bool = False) -> None:
        self.channel = channel
        self._lost = lost

    def session(self) -> Channel:
        if isinstance(self.channel, Exception):
            raise self.channel
        return self.channel

    def lost(self) -> bool:
        return self._lost


def opened(channel: Channel | Exception, **options: Any) -> object:
    connection: Any = Connection(channel, **options)
    return open_sftp(connection, 5)


def test_a_server_that_speaks_it() -> None:
    channel = Channel(b"\0\0\0\x05\x02\0\0\0\x03")
    opened(channel)
    assert channel.patience == [5, 600]


class Refusing(Channel):
    def invoke_subsystem(self, name: str) -> None:
        raise paramiko.SSHException("Channel closed.")


class Closed(Channel):
    """Closed there before the first request is sent."""

    def send(self, data: bytes) -> int:
        raise OSError("Socket is closed")


LOGINS = {
    "ends at once": (Closed(code=1), "ended before SFTP started: plant-a, got exit code 1", "log in with ssh"),
    "prints and ends at once": (Closed(b"no", code=0), "prints something before SFTP starts: plant-a, got 'no'", "terminals"),

    "prints": (Channel(b"Welcome", b" to\nour\x1b[31m plant"), "got 'Welcome to our\\x1b[31m plant'", "terminals"),
    "prints and waits": (Channel(b"Terms?", TimeoutError()), "got 'Terms?'", "terminals"),
    "prints little": (Channel(b"Hi"), "prints something before SFTP starts: plant-a, got 'Hi'", "ForceCommand"),
    "prints before it": (Channel(b"Welcome\n", b"\0\0\0\x05\x02\0\0\0\x03"), "got 'Welcome'", "terminals"),
    "without an end": (Channel(b"x" * 9000), f"got '{'x' * 200}'", "ForceCommand"),
    "an older protocol": (Channel(b"\0\0\0\x05\x02\0\0\0\x02"), "prints something before SFTP starts", "another use"),
    "ends": (Channel(code=1), "ended before SFTP started: plant-a, got exit code 1", "log in with ssh"),
    "ends with words": (Channel(errors=b"no way\n", code=1), "got no way", "log in with ssh"),
    "waits": (Channel(TimeoutError()), "SFTP does not start: plant-a, got 5 s of silence", "waits for something"),
    "no sessions": (paramiko.ChannelException(2, "Connect failed"), "refuses to open a session: plant-a", "MaxSessions"),
    "no subsystem": (Refusing(), "the server does not offer SFTP: plant-a", "Subsystem sftp internal-sftp"),
}  # fmt: skip


@pytest.mark.parametrize("login", list(LOGINS))
def test_logins_without_sftp_are_explained(login: str) -> None:
    channel, message, hint = LOGINS[login]
    with pytest.raises(TransportError, match=re.escape(message)) as caught:
        opened(channel)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("channel", [Channel(), Refusing(), Closed()])
def test_a_link_that_breaks_is_not_the_logins_fault(channel: Channel) -> None:
    with pytest.raises((EOFError, OSError, paramiko.SSHException)):
        opened(channel, lost=True)
