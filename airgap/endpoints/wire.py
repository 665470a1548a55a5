"""Limits on the size and slowness of HTTP answers from registries and engines.

http.client limits the length of a line and the headers of one answer. It accepts any number of interim
answers (`100 Continue`) and trailers, and an endless answer of one byte a minute. So this module counts
lines, and the time spent waiting for bytes, below http.client.
"""

import io
import socket
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from airgap.limits import MAX_ANSWER_LINE_BYTES, MIN_ANSWER_BYTES_PER_SECOND

CheckAddress = Callable[[str, str], object]
"""Called with the peer's address, and the URL of the host that was requested."""
Clock = Callable[[], float]


class EndlessAnswerError(HTTPException):
    """The answer has more lines around its content than any legitimate answer."""


class SlowAnswerError(TimeoutError):
    """The answer is slower than `min_rate`, after two read timeouts of silence in all."""


class _Metered(io.RawIOBase):
    """Counts the bytes of a connection, and the time spent waiting for them."""

    def __init__(self, raw: io.RawIOBase, silence: float, min_rate: float, clock: Clock) -> None:
        super().__init__()
        self._raw = raw
        self._silence = silence
        self._min_rate = min_rate
        self._clock = clock
        self.received = 0
        self._waited = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        start = self._clock()
        count = self._raw.readinto(buffer)
        self._waited += self._clock() - start
        self.received += count or 0
        if self._waited > self._silence + self.received / self._min_rate:
            raise SlowAnswerError(
                f"{self.received:,} bytes in {self._waited:,.0f} s;"
                f" {self._silence:,.0f} s and {self._min_rate:,.0f} bytes a second are the limit"
            )
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Lines(io.BufferedReader):
    """Counts the bytes of lines: http.client reads lines by `readline` and content by the other methods."""

    def __init__(self, raw: _Metered) -> None:
        super().__init__(raw)
        self._metered = raw
        self._lines = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(-1 if size is None else size)
        self._lines += len(line)
        if self._lines > MAX_ANSWER_LINE_BYTES + self._metered.received // 2:
            raise EndlessAnswerError(
                f"{self._lines:,} bytes of headers, interim answers and trailers;"
                f" the limit is {MAX_ANSWER_LINE_BYTES:,} and as many as there is content"
            )
        return line


class _Opener:
    """The part of a socket that HTTPResponse uses."""

    def __init__(self, sock: Any, min_rate: float, clock: Clock) -> None:
        self._sock = sock
        self._min_rate = min_rate
        self._clock = clock

    def makefile(self, _mode: str) -> io.BufferedReader:
        silence = 2 * (self._sock.gettimeout() or 60.0)  # the read timeout, which urllib3 has just set
        raw = self._sock.makefile("rb").detach()
        return _Lines(_Metered(raw, silence, self._min_rate, self._clock))


def bounded_response(
    min_rate: float = MIN_ANSWER_BYTES_PER_SECOND, clock: Clock = time.monotonic
) -> type[HTTPResponse]:
    """Return the `response_class` of a connection with these limits."""

    class Response(HTTPResponse):
        def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
            super().__init__(_Opener(sock, min_rate, clock), *arguments, **options)  # type: ignore[arg-type]

    return Response


def bounded_pools(
    min_rate: float = MIN_ANSWER_BYTES_PER_SECOND,
    check: CheckAddress | None = None,
    clock: Clock = time.monotonic,
) -> dict[str, type[HTTPConnectionPool]]:
    """Return the classes of a pool manager whose connections have these limits. `check` is called for each
    new connection before anything is sent on it.
    """
    response = bounded_response(min_rate, clock)

    class Plain(HTTPConnection):
        response_class = response

        def _new_conn(self) -> socket.socket:
            return _checked(super()._new_conn(), f"http://{self.host}:{self.port}", check)

    class Secure(HTTPSConnection):
        response_class = response

        def _new_conn(self) -> socket.socket:
            return _checked(super()._new_conn(), f"https://{self.host}:{self.port}", check)

    return {
        "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": Plain}),
        "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": Secure}),
    }


def _checked(sock: socket.socket, url: str, check: CheckAddress | None) -> socket.socket:
    if check is not None:
        try:
            check(sock.getpeername()[0], url)
        except BaseException:
            sock.close()
            raise
    return sock
