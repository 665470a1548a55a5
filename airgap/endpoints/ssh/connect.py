"""One SSH connection, over its jump hosts: every key checked before anything is said, then the login."""

import contextlib
import logging
import socket
from collections.abc import Iterator

import paramiko

from airgap.endpoints.ssh.config import Hop
from airgap.endpoints.ssh.known_hosts import KnownHosts, Way
from airgap.endpoints.ssh.login import Identities, log_in
from airgap.endpoints.ssh.transport import Transport
from airgap.errors import AirgapError, LinkError, TransportError, describe_cause

CONNECT_SECONDS = 20.0
_ALIVE_SECONDS = 30
_NOTICE_SECONDS = 0.3
_DEAD_MILLISECONDS = 120_000
_MAX_WORDS = 300
"""Of an error, which may repeat what a stranger said."""

# What it would log comes out as errors of ours; a trace on stderr helps nobody.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Connection:
    """A logged-in connection to the last of `hops`; `seconds` are the patience with each step."""

    def __init__(
        self, hops: tuple[Hop, ...], identities: Identities, seconds: float = CONNECT_SECONDS
    ) -> None:
        self.name = str(hops[-1])
        self._seconds = seconds
        self._transports: list[Transport] = []
        try:
            for number, hop in enumerate(hops):
                with door("cannot connect", hop, ANY, LinkError):
                    self._transports.append(Transport(self._socket(hop), seconds))
                    _greet(self.transport, hop, seconds, hops[:number])
                with door("no login", hop, ANY):
                    log_in(self.transport, hop, identities)
                self.transport.set_keepalive(_ALIVE_SECONDS)
        except BaseException:
            self.close()
            raise

    @property
    def transport(self) -> Transport:
        """To the last host that was reached."""
        return self._transports[-1]

    def _socket(self, hop: Hop) -> "socket.socket | paramiko.Channel":
        if self._transports:
            return self.transport.open_channel(
                "direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=self._seconds
            )
        return _dial(hop, self._seconds)

    def session(self) -> paramiko.Channel:
        """A new channel for a command or a subsystem. Raises what paramiko raises: use inside `door`."""
        return self.transport.open_session(timeout=self._seconds)

    def lost(self) -> bool:
        """Whether the link is down. Asked after something failed: paramiko closes the channels first, and
        lets its thread end a moment later.
        """
        self.transport.join(_NOTICE_SECONDS)
        return not self.transport.is_active()

    def close(self) -> None:
        """Cut it, also for those that wait for an answer."""
        for transport in reversed(self._transports):
            transport.close()


FOREIGN = (paramiko.SSHException, OSError, EOFError)
ANY = (Exception,)
"""While one greets a stranger, paramiko lets out whatever its thread stumbled over."""


@contextlib.contextmanager
def door(
    what: str,
    subject: object,
    kinds: tuple[type[Exception], ...] = FOREIGN,
    ours: type[TransportError] = TransportError,
) -> Iterator[None]:
    """Foreign exceptions of `kinds` leave as `ours`."""
    try:
        yield
    except AirgapError:
        raise
    except kinds as error:
        words = error.text if isinstance(error, paramiko.ChannelException) else describe_cause(error)
        raise ours(what, subject=subject, got=words[:_MAX_WORDS]) from error


def _dial(hop: Hop, seconds: float) -> socket.socket:
    sock = socket.create_connection((hop.host, hop.port), timeout=seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(
        socket, "TCP_USER_TIMEOUT"
    ):  # Linux: a peer that is gone shows in minutes, not in a quarter hour
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_MILLISECONDS)
    return sock


def _greet(transport: Transport, hop: Hop, seconds: float, jumps: tuple[Hop, ...]) -> None:
    """Agree on keys, and see that the server is the one that is known."""
    known = KnownHosts.load(hop.known_hosts)
    options = transport.get_security_options()
    first = [name for name in known.algorithms(hop.known_as) if name in options.key_types]
    options.key_types = [*first, *(name for name in options.key_types if name not in first)]
    silence = LinkError("cannot connect", subject=hop, got=f"{seconds:.0f} s of silence")
    try:
        transport.start_client(timeout=seconds)
    except (paramiko.SSHException, EOFError) as error:
        if transport.packetizer.handshake_timed_out():  # paramiko's own clock, at the same moment
            raise silence from error
        if not transport.farewell:
            raise
        got = f"the server hung up: {transport.farewell}"
        raise LinkError("cannot connect", subject=hop, got=got) from error
    if not transport.initial_kex_done:  # then paramiko has given up without a word
        raise silence
    key = transport.get_remote_server_key()
    way = Way(hop.host, hop.port, hop.user, tuple(map(str, jumps)))
    known.check(hop.known_as, key.get_name(), key.asbytes(), way)
