"""A stub of the Docker Engine API on a unix socket or on TCP: it answers what a test tells it to."""

import json
import ssl
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn, UnixStreamServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    daemon: "Daemon"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that cut the connection are part of the tests."""


class _TcpServer(ThreadingMixIn, TCPServer):
    daemon_threads = True
    daemon: "Daemon"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """As above."""


class Daemon:
    """`docker:unix://…` for one test, or `docker:tcp://…` with `tcp`, or with the certificate and key `tls`.
    Change the attributes before the client asks.
    """

    def __init__(
        self,
        folder: Path,
        *,
        api: str = "1.51",
        containerd: bool = False,
        tcp: bool = False,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.socket = folder / "stub.sock"
        self.version: dict[str, Any] = {
            "Version": "28.5.2",
            "ApiVersion": api,
            "Os": "linux",
            "Arch": "amd64",
        }
        driver = [["driver-type", "io.containerd.snapshotter.v1"]] if containerd else [["Backing", "extfs"]]
        self.info: dict[str, Any] = {"Architecture": "x86_64", "DriverStatus": driver}
        self.images: dict[str, Any] = {}
        self.failures: dict[str, tuple[int, str]] = {}
        self.elsewhere = ""
        """Where a client is sent for everything but the version."""
        self.lies: dict[str, Callable[[], Iterable[bytes]]] = {}
        """What comes over the connection in the place of an answer, head and all, for as long as the client
        takes it."""
        self.lied = 0
        """Bytes of lies that were taken."""
        self.saved: list[bytes] = []
        self.cut_save = False
        self.load_answer = b'{"stream":"Loaded image: x\\n"}\r\n'
        self.received = bytearray()
        self.received_all = threading.Event()
        self.die_after: int | None = None
        """In the middle of a load, when so many bytes have come, the connection ends without an answer."""
        self.broke_off = threading.Event()
        self.calls: list[str] = []
        self.queries: list[dict[str, list[str]]] = []
        self.headers: list[dict[str, str]] = []
        self._server, self.host = self._listen(tls, tcp=tcp)
        self.endpoint = f"docker:{self.host}"
        self._server.daemon = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.002,))

    def _listen(self, tls: tuple[Path, Path] | None, *, tcp: bool) -> tuple[_Server | _TcpServer, str]:
        if not (tcp or tls):
            return _Server(str(self.socket), _Handler), f"unix://{self.socket}"
        server = _TcpServer(("127.0.0.1", 0), _Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        return server, f"tcp://127.0.0.1:{server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass

    @property
    def daemon(self) -> Daemon:
        return self.server.daemon

    def do_GET(self) -> None:
        path = self._note()
        if self._failed(path):
            return
        if path == "/images/get":
            self._stream(self.daemon.saved, cut=self.daemon.cut_save)
        elif path == "/images/json":
            self._json(200, list(self.daemon.images.values()))
        elif path in ("/version", "/info"):
            self._json(200, getattr(self.daemon, path[1:]))
        else:
            name = path.removeprefix("/images/").removesuffix("/json")
            found = self.daemon.images.get(name)
            self._json(200, found) if found is not None else self._json(
                404, {"message": f"No such image: {name}"}
            )

    def do_POST(self) -> None:
        path = self._note()
        if path == "/images/load":
            self._receive()
        if not self._failed(path):
            self._stream([self.daemon.load_answer]) if path == "/images/load" else self._json(201, {})

    def do_DELETE(self) -> None:
        path = self._note()
        if not self._failed(path):
            self._json(200, [])

    def _note(self) -> str:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        self.daemon.calls.append(f"{self.command} {path}")
        self.daemon.queries.append(parse_qs(parts.query))
        self.daemon.headers.append(dict(self.headers))
        return path

    def _failed(self, path: str) -> bool:
        if path in self.daemon.lies:
            self.close_connection = True
            for piece in self.daemon.lies[path]():
                self.wfile.write(piece)
                self.daemon.lied += len(piece)
            return True
        if self.daemon.elsewhere and path != "/version":
            self.send_response(307)
            self.send_header("Location", self.daemon.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return True
        if path not in self.daemon.failures:
            return False
        status, message = self.daemon.failures[path]
        self._json(status, {"message": message})
        return True

    def _receive(self) -> None:
        assert self.headers["Transfer-Encoding"] == "chunked"
        while size := int(self.rfile.readline() or b"-1", 16):
            if size < 0:
                self.daemon.broke_off.set()
                raise ConnectionAbortedError
            self.daemon.received += self.rfile.read(size)
            self.rfile.readline()
            if self.daemon.die_after is not None and len(self.daemon.received) >= self.daemon.die_after:
                raise ConnectionAbortedError
        self.rfile.readline()
        self.daemon.received_all.set()

    def _json(self, status: int, value: object) -> None:
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, chunks: list[bytes], *, cut: bool = False) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in filter(None, chunks):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")
