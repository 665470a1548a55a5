"""The ssh-agent: the keys that it holds (draft-ietf-sshm-ssh-agent), and its failures.

paramiko's own client waits indefinitely, reads an answer of any length, and abandons the whole login for one
odd comment or one refused signature.
"""

import os
import socket
import struct
from typing import Any, Self

import paramiko
from paramiko.agent import AgentSSH, get_agent_connection

from airgap.endpoints.ssh.limits import (
    AGENT_LIST_SECONDS,
    AGENT_SIGN_SECONDS,
    MAX_AGENT_ANSWER_BYTES,
    MAX_AGENT_KEYS,
)
from airgap.errors import describe_cause

_REQUEST_IDENTITIES, _IDENTITIES = b"\x0b", 12


class AgentError(Exception):
    """The agent cannot be used."""


class HeldKey(paramiko.AgentKey):
    """A key that the agent holds; `trouble` is the reason why the agent did not sign with it."""

    def __init__(self, agent: AgentSSH, blob: bytes, comment: str) -> None:
        super().__init__(agent, blob, comment)
        self.trouble = ""

    def sign_ssh_data(self, data: Any, algorithm: str | None = None) -> paramiko.Message:
        """Return the signature; empty if the agent fails. This runs in paramiko's thread, where an exception
        would end the connection; so the server refuses only this key, and the next one is tried.
        """
        try:
            return super().sign_ssh_data(data, algorithm)
        except (AgentError, paramiko.SSHException) as error:
            self.trouble = str(error)
            return paramiko.Message()


class Agent(AgentSSH):
    """The agent at `path`, by default that of `SSH_AUTH_SOCK`; an empty path means none. `trouble` is the
    reason why it cannot be used, or empty.
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
                    self._connection.settimeout(AGENT_SIGN_SECONDS)
        except AgentError as error:
            self.close()
            self.trouble = str(error)

    def _held(self) -> tuple[HeldKey, ...]:
        kind, answer = self._send_message(_REQUEST_IDENTITIES)
        count = answer.get_int()
        if kind != _IDENTITIES or count > MAX_AGENT_KEYS:
            raise AgentError("the answer is not from an ssh-agent")
        found: list[HeldKey] = []
        for _ in range(count):
            blob, comment = answer.get_string(), answer.get_string().decode("utf-8", "replace")
            try:
                found.append(HeldKey(self, blob, comment))
            except Exception:  # noqa: BLE001, S112 - paramiko's parsers raise anything; others may be good
                continue
        return tuple(found)

    def _send_message(self, request: "bytes | paramiko.Message") -> tuple[int, paramiko.Message]:
        """Send a request; paramiko's keys call this for signatures. After a failure, the next answer might
        belong to an earlier request: then the agent is not used again.
        """
        if self._connection is None:
            raise AgentError(self.trouble or "no agent")
        raw = request if isinstance(request, bytes) else request.asbytes()
        try:
            self._connection.send(struct.pack(">I", len(raw)) + raw)
            (size,) = struct.unpack(">I", self._exactly(4))
            if not 0 < size <= MAX_AGENT_ANSWER_BYTES:
                raise AgentError("the answer is not from an ssh-agent")  # noqa: TRY301 - handled below, as all others
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
                raise AgentError("it closed the connection")
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
    """Connect to the agent; None if no agent is named."""
    path = os.environ.get("SSH_AUTH_SOCK") if path is None else path
    if not hasattr(socket, "AF_UNIX"):
        return get_agent_connection()  # Windows has its own agents
    if not path:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(AGENT_LIST_SECONDS)
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise AgentError(f"cannot be reached at {path}: {error.strerror or error}") from error
    return connection
