"""HTTP/1.1 on sockets: bounded requests, replies, connections (RFC 9112)."""

import contextlib
import io
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from airgap.endpoints.server.api import Blob, Reply, answer, problem
from airgap.endpoints.server.catalogue import Catalogue
from airgap.errors import AirgapError, SizeMismatchError, printable
from airgap.oci.digest import CHUNK

MAX_HEAD = 16 << 10
"""Bytes of request line and headers together."""

_SHOWN = 300
_LINGER_BYTES = 64 << 10
_LINGER_READS = 16
_LINGER_SECONDS = 0.5

Log = Callable[[str], None]


class HttpServer(ThreadingHTTPServer):
    """A thread a connection, at most `max_connections`; further ones wait until one ends."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        bind: tuple[str, int],
        catalogue: Catalogue,
        log: Log,
        *,
        idle_timeout: float,
        max_connections: int,
    ) -> None:
        self.catalogue = catalogue
        self.log = log
        self.idle_timeout = idle_timeout
        self.address_family = socket.AF_INET6 if ":" in bind[0] else socket.AF_INET
        self._slots = threading.BoundedSemaphore(max_connections)
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        super().__init__(bind, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks a name server for the host's full name.
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        while not self._slots.acquire(timeout=0.1):
            if self._closing.is_set():
                self.close_request(request)
                return
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()
            with self._changed:
                self._open.discard(request)
                self._changed.notify_all()

    def shutdown_request(self, request: Any) -> None:
        # Closing with unread bytes would reset the connection, and the client might lose the answer.
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
            request.settimeout(_LINGER_SECONDS)
            for _ in range(_LINGER_READS):
                if self._closing.is_set() or not request.recv(_LINGER_BYTES):
                    break
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        self.log(f"{client_address[0]} error: {printable(sys.exc_info()[1])}")

    def prepare_close(self) -> None:
        """To be called before `shutdown`: no connection is waited for any more."""
        self._closing.set()

    def close_connections(self, timeout: float) -> None:
        """Cut all connections and wait for their threads, at most `timeout` seconds."""
        with self._changed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, timeout)


class _Head:
    """The receiving side of a connection; one request's lines may take `MAX_HEAD` bytes."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._left = MAX_HEAD

    def restart(self) -> None:
        self._left = MAX_HEAD

    def readline(self, limit: int) -> bytes:
        line = self._stream.readline(min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("request")
        return line

    def close(self) -> None:
        self._stream.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpServer
    rfile: Any

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.idle_timeout)
        self.rfile = _Head(self.rfile)

    def handle_one_request(self) -> None:
        self.rfile.restart()
        try:
            super().handle_one_request()
        except LineTooLong:
            self.requestline, self.command = "", ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.request_version == "HTTP/0.9":  # an answer without a length could be cut unnoticed
            self.send_error(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
            return False
        return True

    def handle_expect_100(self) -> bool:
        return True  # no request's body is wanted: the final answer comes at once

    def version_string(self) -> str:
        return "airgap"

    def do_GET(self) -> None:
        self._send(self._answer(self.headers.get("Range")))

    def do_HEAD(self) -> None:
        self._send(self._answer(None))

    def _refuse(self) -> None:
        self._send(problem(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", "read only", Allow="GET, HEAD"))

    do_POST = do_PUT = do_PATCH = do_DELETE = _refuse  # noqa: N815 - the names that http.server looks for

    def _answer(self, wanted_range: str | None) -> Reply:
        try:
            return answer(self.server.catalogue, self.path, wanted_range)
        except AirgapError as error:
            return self._unreadable(error)

    def _unreadable(self, error: AirgapError) -> Reply:
        self.server.log(f"error: {error}")
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "UNKNOWN", "the content cannot be read")

    def _send(self, reply: Reply) -> None:
        if reply.blob is None:
            self._send_head(reply)
            if self.command != "HEAD":
                self.wfile.write(reply.raw)
            return
        with contextlib.closing(reply.blob.stream):
            if self.command == "HEAD":
                self._send_head(reply)
            else:
                self._send_blob(reply, reply.blob)

    def _send_blob(self, reply: Reply, blob: Blob) -> None:
        """The head goes out after the first read, so that it can still become an error. After that, an
        error cuts the connection: a wrong blob is never completed.
        """
        buffer = memoryview(bytearray(min(CHUNK, max(blob.length, 1))))
        try:
            got = _fill(blob, buffer, blob.length)
        except AirgapError as error:
            self._send(self._unreadable(error))
            return
        self._send_head(reply)
        left = blob.length
        try:
            while left:
                self.wfile.write(buffer[:got])
                left -= got
                got = _fill(blob, buffer, left)
        except AirgapError as error:
            self.server.log(f"error: {error}; connection cut")
            self.close_connection = True

    def _send_head(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(reply.length))
        if self._has_body() or self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _has_body(self) -> bool:
        """Whether bytes follow the head that are not the next request."""
        headers = getattr(self, "headers", None)
        if headers is None:
            return True
        return "Transfer-Encoding" in headers or headers.get("Content-Length", "0") != "0"

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        self.close_connection = True
        self.request_version = self.protocol_version
        self._send(problem(code, "UNSUPPORTED", HTTPStatus(code).phrase))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002
        self.server.log(f"{self.client_address[0]} {printable(self.requestline[:_SHOWN])} {int(code)}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        self.server.log(f"{self.client_address[0]} {printable(format % args)}")


def _fill(blob: Blob, buffer: memoryview, left: int) -> int:
    if not left:
        return 0
    got = blob.stream.readinto(buffer[: min(left, len(buffer))])
    if not got:
        raise SizeMismatchError("content ends early", want=f"{left:,} bytes more")
    return got
