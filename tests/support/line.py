"""A line to a server on loopback that breaks where a test says so."""

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

_REQUEST = re.compile(rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE) \S+")
_PIECE = 1 << 16


@dataclass
class Cut:
    """Break the connection on which something sent to the server begins with `after` (a request, or
    b"\\x16" for TLS): after `down` bytes of the answer, or after about `up` bytes of what is sent, that
    beginning included. It is made once.
    """

    after: bytes
    down: int | None = None
    up: int | None = None


class Line:
    """Carries connections from `host` to another host. Cuts are made in the order of `cuts`."""

    def __init__(self, far: str, *cuts: Cut) -> None:
        name, _, port = far.rpartition(":")
        self._far = (name, int(port))
        self.cuts = list(cuts)
        self.requests: list[str] = []
        """Method and path of each request, where there is no TLS."""
        self.carried = 0
        """Bytes that went to the client."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._connections: list[_Connection] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        for connection in self._connections:
            connection.end()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                self._connections.append(_Connection(self, near, socket.create_connection(self._far)))

    def take_cut(self, data: bytes) -> Cut | None:
        """The next cut, when `data` begins with what it waits for."""
        if match := _REQUEST.match(data):
            self.requests.append(match[0].decode())
        if self.cuts and data.startswith(self.cuts[0].after):
            return self.cuts.pop(0)
        return None


class _Connection:
    def __init__(self, line: Line, near: socket.socket, far: socket.socket) -> None:
        self._line = line
        self._near = near
        self._far = far
        self._up: int | None = None
        self._down: int | None = None
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._cut()
        self._thread.join()

    def _carry(self) -> None:
        downwards = threading.Thread(target=self._run, args=(self._downwards,), daemon=True)
        downwards.start()
        self._run(self._upwards)
        downwards.join()
        # Only now does a client notice that is still sending: what it sends is refused.
        self._near.close()
        self._far.close()

    def _run(self, way: Callable[[], None]) -> None:
        with suppress(OSError):
            way()
        self._cut()

    def _cut(self) -> None:
        for end in (self._near, self._far):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _upwards(self) -> None:
        while data := self._near.recv(_PIECE):
            if cut := self._line.take_cut(data):
                self._up, self._down = cut.up, cut.down
            if self._up is not None:
                self._up -= len(data)
                if self._up <= 0:
                    return
            self._far.sendall(data)

    def _downwards(self) -> None:
        while data := self._far.recv(_PIECE):
            self._near.sendall(data[: self._down])
            self._line.carried += len(data[: self._down])
            if self._down is not None:
                self._down -= len(data)
                if self._down <= 0:
                    return
