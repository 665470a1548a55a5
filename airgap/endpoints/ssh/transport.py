"""paramiko's transport with our algorithms and time limits, and with the server's disconnect message."""

import socket

import paramiko
from paramiko.packet import Packetizer

from airgap.endpoints.ssh.limits import (
    MAX_SSH_GREETING_BYTES,
    MAX_SSH_MESSAGE_CHARACTERS,
    MAX_SSH_PACKET_BYTES,
    SSH_LOGIN_SECONDS,
)

# AES-GCM is by far the fastest in paramiko, and on every machine with AES instructions.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
_MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)


class _Packets(Packetizer):
    """Packets and greetings of a bounded length: their sender is not verified yet."""

    _greeting = 0

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if n > MAX_SSH_PACKET_BYTES:
            raise paramiko.SSHException(f"a packet of {n:,} bytes")
        return super().read_all(n, check_rekey)

    def _read_timeout(self, seconds: float) -> bytes:
        """Read a piece of the greeting; paramiko does not limit its lines."""
        piece: bytes = super()._read_timeout(seconds)  # type: ignore[misc]  # not in the stubs
        self._greeting += len(piece)
        if self._greeting > MAX_SSH_GREETING_BYTES:
            raise paramiko.SSHException(": too long a greeting")
        return piece


class SshTransport(paramiko.Transport):
    """One connection to one server, whose greeting must arrive within `seconds`."""

    def __init__(self, sock: "socket.socket | paramiko.Channel", seconds: float) -> None:
        super().__init__(sock, packetizer_class=_Packets)
        self.disconnect_message = ""
        """The server's message when it ended the connection (RFC 4253, 11.1)."""
        self.daemon = True
        self.banner_timeout = self.handshake_timeout = seconds
        self.auth_timeout = SSH_LOGIN_SECONDS
        options = self.get_security_options()
        options.ciphers = [name for name in _CIPHERS if name in options.ciphers]
        options.digests = [name for name in _MACS if name in options.digests]

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        """Keep the server's disconnect message, which paramiko itself only logs."""
        message.get_int()
        self.disconnect_message = message.get_string()[:MAX_SSH_MESSAGE_CHARACTERS].decode("utf-8", "replace")
