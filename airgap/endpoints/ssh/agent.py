"""The ssh-agent: the keys that it holds (draft-ietf-sshm-ssh-agent), and what is wrong with it.

paramiko's own client of it waits for ever, reads an answer of any length, and gives up the whole login for
one odd comment or one signature that is refused.
"""

import os
import socket
import struct
from typing import Any, Self

import paramiko
from paramiko.agent import AgentSSH, get_agent_connection

from airgap.errors import describe_cause

_REQUEST_IDENTITIES, _IDENTITIES = b"\x0b", 12
_LIST_SECONDS = 10.0
_SIGN_SECONDS = 100.0
"""A key in hardware may wait for a finger; less than the patience with the server."""
_MAX_ANSWER = 256 << 10
_MAX_KEYS = 2048
"""Both as in OpenSSH."""


class AgentError(Exception):
    """The agent cannot be used."""


class HeldKey(paramiko.AgentKey):
    """A key that the agent holds; `trouble` is why it did not sign with it."""

    def __init__(self, agent: AgentSSH, blob: bytes, comment: str) -> None:
        super().__init__(agent, blob, comment)
        self.trouble = ""

    def sign_ssh_data(self, data: Any, algorithm: str | None = None) -> paramiko.Message:
        """Empty when the agent fails. This runs in paramiko's thread, where an exception would end the
        connection; so the server refuses this key alone, and the next one has its turn.
        """
        try:
            return super().sign_ssh_data(data, algorithm)
        except (AgentError, paramiko.SSHException) as error:
            self.trouble = str(error)
            return paramiko.Message()


class Agent(AgentSSH):
    """The agent at `path`, which is by default that of `SSH_AUTH_SOCK`; an empty path means none. `trouble`
    says why it cannot be used, and is empty where there is none.
    """

    def __init__(self, path: str | None = None) -> None:
        super().__init__()
        self.keys: tuple[HeldKey, ...] = ()
        self.trouble = ""
        self._connection = None
        try:
            self._connection = _connect(path)
            if self._connection is not None:
                self.keys = self._held()
                if isinstance(self._connection, socket.socket):
                    self._connection.settimeout(_SIGN_SECONDS)
        except AgentError as error:
            self.close()
            self.trouble = str(error)

    def _held(self) -> tuple[HeldKey, ...]:
        kind, answer = self._send_message(_REQUEST_IDENTITIES)
        count = answer.get_int()
        if kind != _IDENTITIES or count > _MAX_KEYS:
            raise AgentError("not the answer of an ssh-agent")
        found: list[HeldKey] = []
        for _ in range(count):
            blob, comment = answer.get_string(), answer.get_string().decode("utf-8", "replace")
            try:
                found.append(HeldKey(self, blob, comment))
            except Exception:  # noqa: BLE001, S112 - paramiko's parsers let out anything; others may be good
                continue
        return tuple(found)

    def _send_message(self, request: "bytes | paramiko.Message") -> tuple[int, paramiko.Message]:
        """What paramiko's keys call to have something signed. Once it has failed, an answer might be that to
        an earlier question: then it is not asked again.
        """
        if self._connection is None:
            raise AgentError(self.trouble or "no agent")
        raw = request if isinstance(request, bytes) else request.asbytes()
        try:
            self._connection.send(struct.pack(">I", len(raw)) + raw)
            (size,) = struct.unpack(">I", self._exactly(4))
            if not 0 < size <= _MAX_ANSWER:
                raise AgentError("not the answer of an ssh-agent")  # noqa: TRY301 - told below, as all others
            answer = self._exactly(size)
        except (AgentError, OSError) as error:
            self.trouble = "no answer" if isinstance(error, TimeoutError) else describe_cause(error)
            self.close()
            raise AgentError(self.trouble) from error
        return answer[0], paramiko.Message(answer[1:])

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            piece = self._connection.recv(size - len(found)) if self._connection else b""
            if not piece:
                raise AgentError("it hung up")
            found += piece
        return found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connect(path: str | None) -> "socket.socket | None":
    """None where no agent is named."""
    path = os.environ.get("SSH_AUTH_SOCK") if path is None else path
    if not hasattr(socket, "AF_UNIX"):
        return get_agent_connection()  # Windows has agents of its own
    if not path:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_LIST_SECONDS)
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise AgentError(f"cannot be reached at {path}: {error.strerror or error}") from error
    return connection
