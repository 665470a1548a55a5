"""Servers that are none, or that say strange things before anything is agreed."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from airgap.endpoints.ssh.config import Hop
from airgap.endpoints.ssh.connect import SshConnection, translated
from airgap.endpoints.ssh.login import Identities
from airgap.endpoints.ssh.sftp import StatusError
from airgap.endpoints.ssh.transport import SshTransport
from airgap.errors import IntegrityError, LinkError, TransportError

HELLO = b"SSH-2.0-strange\r\n"


@contextlib.contextmanager
def server(*says: bytes, hang: bool = False) -> Iterator[int]:
    """Says this to everybody, then hangs up or says nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def serve() -> None:
            with contextlib.suppress(OSError), listening.accept()[0] as connection:
                for words in says:
                    connection.sendall(words)
                if hang:
                    done.wait(120)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        done.set()
        thread.join(120)


def connect(port: int, seconds: float = 1) -> SshConnection:
    hop = Hop(
        host="127.0.0.1", port=port, user="carrier", known_as="plant", known_hosts=(),
        identities=(), identities_only=False,
    )  # fmt: skip
    return SshConnection((hop,), Identities(), seconds)


def packet(payload: bytes) -> bytes:
    padding = 4 + -(len(payload) + 9) % 8
    return (len(payload) + padding + 1).to_bytes(4, "big") + bytes([padding]) + payload + bytes(padding)


@pytest.mark.parametrize(
    "says",
    [
        b"",
        b"\r\n",
        b"HTTP/1.0 400 Bad Request\r\n\r\n",
        b"SSH-1.5-old\r\n",
        b"SSH-2.0",
        b"\xff\xfe\xfd\r\n",
        b"x" * 100_000,
        b"banner\r\n" * 10_000,
        HELLO,
        HELLO + b"\0" * 64,
        HELLO + b"\xff" * 64,
        HELLO + b"\0\0\0\x0c\x0b" + b"x" * 60,
        HELLO + packet(b"\x14" + bytes(16)),
        HELLO + packet(b"\x14" + bytes(16) + b"\xff" * 40),
        HELLO + packet(b"\x14" + bytes(16) + bytes(45)),
        HELLO + packet(b"\x01\0\0\0\x02\0\0\0\x03bye\0\0\0\0"),
        HELLO + packet(b"\x15"),
        HELLO + packet(b"\x34"),
        HELLO + packet(b"\xff" * 20),
    ],
)
@pytest.mark.parametrize("hang", [False, True])
def test_servers_that_do_not_speak_ssh(says, hang, capfd):
    with server(says, hang=hang) as port, pytest.raises(TransportError, match=f"127.0.0.1:{port}"):
        connect(port, 0.1)  # silence is as good an answer
    assert capfd.readouterr().err == "", "no trace of paramiko's"


@pytest.mark.parametrize(
    ("says", "want"),
    [
        (b"x" * (1 << 20), "too long a greeting"),
        (HELLO + b"\x7f\xff\xff\xfc" + b"\x04" * 64, "a packet of 2,147,"),
    ],
)
def test_lengths_that_no_server_needs(says, want):
    with server(says, hang=True) as port, pytest.raises(TransportError, match=want):
        connect(port)


@pytest.mark.parametrize(
    ("says", "want"),
    [
        (HELLO, "got 1 s of silence"),
        (HELLO + packet(b"\x01\0\0\0\x02\0\0\0\x03bye\0\0\0\0"), "got the server closed the connection: bye"),
    ],
)
def test_the_message_for_a_server_without_common_algorithms(says, want):
    with server(says, hang=True) as port, pytest.raises(LinkError, match=want):
        connect(port)


def test_long_words_are_cut():
    with pytest.raises(TransportError) as caught, translated("cannot", "plant"):
        raise OSError("x" * 100_000)
    assert len(str(caught.value)) < 400
    assert len(str(StatusError(4, "x" * 100_000))) < 400


def test_the_disconnect_message_is_kept():
    disconnect_message = b"\x01\0\0\0\x02" + (1000).to_bytes(4, "big") + b"bye\x1b\xff" + b"x" * 995
    with server(HELLO + packet(disconnect_message), hang=True) as port:
        transport = SshTransport(socket.create_connection(("127.0.0.1", port)), 1)
        with contextlib.closing(transport), pytest.raises(Exception, match=r".?"):
            transport.start_client(timeout=1)
    assert transport.disconnect_message == "bye\x1b\ufffd" + "x" * 295


def test_a_refused_connection_is_reported():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(TransportError, match=r"cannot connect: carrier@127.0.0.1:\d+, got .*refused"):
        connect(port)


@pytest.mark.parametrize("error", [OSError("x"), EOFError(), TimeoutError()])
def test_foreign_exceptions_are_translated(error):
    with pytest.raises(TransportError, match=r"cannot: plant, got ."), translated("cannot", "plant"):
        raise error


@pytest.mark.parametrize("error", [IntegrityError("ours"), ValueError("a defect")])
def test_our_own_exceptions_pass_unchanged(error):
    with pytest.raises(type(error)), translated("cannot", "plant"):
        raise error
