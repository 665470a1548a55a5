"""One SSH connection, over its jump hosts: each host key is checked before the login."""

import contextlib
import logging
import socket
from collections.abc import Iterator

import paramiko

from airgap.endpoints.ssh.config import Hop
from airgap.endpoints.ssh.known_hosts import KnownHosts, SshRoute
from airgap.endpoints.ssh.limits import MAX_SSH_MESSAGE_CHARACTERS, SSH_CONNECT_SECONDS
from airgap.endpoints.ssh.login import Identities, log_in
from airgap.endpoints.ssh.transport import SshTransport
from airgap.errors import AirgapError, LinkError, TransportError, describe_cause

_ALIVE_SECONDS = 30
_NOTICE_SECONDS = 0.3
_DEAD_MILLISECONDS = 120_000

# Its log messages appear as our errors; a trace on stderr would not help.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

log = logging.getLogger(__name__)


class SshConnection:
    """A logged-in connection to the last of `hops`; each step may take `seconds`."""

    def __init__(
        self, hops: tuple[Hop, ...], identities: Identities, seconds: float = SSH_CONNECT_SECONDS
    ) -> None:
        self.name = str(hops[-1])
        self._seconds = seconds
        self._transports: list[SshTransport] = []
        try:
            for number, hop in enumerate(hops):
                log.info("connecting to %s", hop)
                with translated("cannot connect", hop, ANY, LinkError):
                    self._transports.append(SshTransport(self._socket(hop), seconds))
                    _handshake(self.transport, hop, seconds, hops[:number])
                with translated("login failed", hop, ANY):
                    log_in(self.transport, hop, identities)
                log.info("logged in to %s", hop)
                self.transport.set_keepalive(_ALIVE_SECONDS)
        except BaseException:
            self.close()
            raise

    @property
    def transport(self) -> SshTransport:
        """The transport to the last host that was reached."""
        return self._transports[-1]

    def _socket(self, hop: Hop) -> "socket.socket | paramiko.Channel":
        if self._transports:
            return self.transport.open_channel(
                "direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=self._seconds
            )
        return _dial(hop, self._seconds)

    def session(self) -> paramiko.Channel:
        """Open a new channel for a command or a subsystem. Raises what paramiko raises: use inside
        `translated`.
        """
        return self.transport.open_session(timeout=self._seconds)

    def lost(self) -> bool:
        """Return whether the connection is down. Called after a failure: paramiko closes the channels first,
        and ends its thread a moment later.
        """
        self.transport.join(_NOTICE_SECONDS)
        return not self.transport.is_active()

    def close(self) -> None:
        """Cut the connection; calls that wait for an answer fail."""
        for transport in reversed(self._transports):
            transport.close()


FOREIGN = (paramiko.SSHException, OSError, EOFError)
ANY = (Exception,)
"""During the handshake with an unknown server, paramiko raises whatever its thread ran into."""


@contextlib.contextmanager
def translated(
    what: str,
    subject: object,
    kinds: tuple[type[Exception], ...] = FOREIGN,
    ours: type[TransportError] = TransportError,
) -> Iterator[None]:
    """Turn foreign exceptions of `kinds` into `ours`, with `what` was tried on which `subject`."""
    try:
        yield
    except AirgapError:
        raise
    except kinds as error:
        words = error.text if isinstance(error, paramiko.ChannelException) else describe_cause(error)
        raise ours(what, subject=subject, got=words[:MAX_SSH_MESSAGE_CHARACTERS]) from error


def _dial(hop: Hop, seconds: float) -> socket.socket:
    sock = socket.create_connection((hop.host, hop.port), timeout=seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(
        socket, "TCP_USER_TIMEOUT"
    ):  # Linux: detect a lost peer in minutes, not in a quarter of an hour
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_MILLISECONDS)
    return sock


def _handshake(transport: SshTransport, hop: Hop, seconds: float, jumps: tuple[Hop, ...]) -> None:
    """Agree on keys, and check that the server has its known host key."""
    known = KnownHosts.load(hop.known_hosts)
    options = transport.get_security_options()
    first = [name for name in known.algorithms(hop.known_as) if name in options.key_types]
    options.key_types = [*first, *(name for name in options.key_types if name not in first)]
    silence = LinkError("cannot connect", subject=hop, got=f"{seconds:.0f} s of silence")
    try:
        transport.start_client(timeout=seconds)
    except (paramiko.SSHException, EOFError) as error:
        if transport.packetizer.handshake_timed_out():  # paramiko's own timeout, at the same moment
            raise silence from error
        if not transport.disconnect_message:
            raise
        got = f"the server closed the connection: {transport.disconnect_message}"
        raise LinkError("cannot connect", subject=hop, got=got) from error
    if not transport.initial_kex_done:  # then paramiko has given up without an error
        raise silence
    key = transport.get_remote_server_key()
    route = SshRoute(hop.host, hop.port, hop.user, tuple(map(str, jumps)))
    known.check(hop.known_as, key.get_name(), key.asbytes(), route)
