"""Clients that hold on to what they were given: others are served all the same, and every wait ends."""

import http.client
import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from airgap.endpoints.layout import Layout
from airgap.endpoints.server import ImageServer
from tests.support.images import Layer, make_image, noise, write_layout
from tests.support.waits import GENEROUS, wait_until

BIG = make_image([Layer.of({"big": noise(16 << 20, 1)}, "none")])
BLOB = f"/v2/acme/big/blobs/{BIG.layers[0]}"
GET_BLOB = f"GET {BLOB} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("layout"), {"docker.io/acme/big:1": BIG})


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def open_to() -> Iterator[Callable[..., socket.socket]]:
    """Opens a connection that sends `raw` and has little room for what comes back."""
    with ExitStack() as stack:

        def connect(server: ImageServer, raw: bytes) -> socket.socket:
            host, _, port = server.address.rpartition(":")
            found = stack.enter_context(socket.socket())
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            found.settimeout(GENEROUS)
            found.connect((host, int(port)))
            found.sendall(raw)
            return found

        yield connect


def is_served(server: ImageServer) -> bool:
    host, _, port = server.address.rpartition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=GENEROUS)) as connection:
        connection.request("GET", "/v2/")
        return connection.getresponse().read() == b"{}"


def ended(connection: socket.socket) -> bool:
    """Whether the server has closed; what it sent is passed over."""
    try:
        return not connection.recv(1)
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "raw", [b"", b"G", b"GET /v2/ HTTP/1.1\r\nHost:", b"GET /v2/ HTTP/1.1\r\nHost: x\r\n"]
)
def test_half_requests_keep_no_other_client_out(layout: Path, open_to, raw: bytes):
    with ImageServer([Layout(layout)], max_connections=16, idle_timeout=GENEROUS) as server:
        for _ in range(
            100
        ):  # fewer than the system queues: a connection that it drops is tried again after 1 s
            open_to(server, raw)
        assert is_served(server)


def test_kept_connections_keep_no_other_client_out(layout: Path, open_to):
    with ImageServer([Layout(layout)], max_connections=8, idle_timeout=GENEROUS) as server:
        for _ in range(20):
            open_to(server, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").recv(1)
        assert is_served(server)


def test_readers_that_do_not_read_keep_no_other_client_out(layout: Path, open_to, log: list[str]):
    limits = {"idle_timeout": GENEROUS, "stall_timeout": 0.1}
    with ImageServer([Layout(layout)], log=log.append, **limits) as server:
        for _ in range(130):
            open_to(server, GET_BLOB).recv(1)
        assert is_served(server)
    assert any("stalled while others wait" in line for line in log)


def test_a_reader_that_does_not_read_is_dropped(layout: Path, open_to, log: list[str]):
    with ImageServer([Layout(layout)], log=log.append, idle_timeout=0.2, min_rate=1e9) as server:
        open_to(server, GET_BLOB)
        wait_until(lambda: any("took the answer too slowly" in line for line in log), "the reader is dropped")


def test_a_reader_of_single_bytes_is_dropped(layout: Path, open_to, log: list[str]):
    with ImageServer([Layout(layout)], log=log.append, idle_timeout=0.2, min_rate=1e9) as server:
        connection = open_to(server, GET_BLOB)
        dropped = "127.0.0.1 error: took the answer too slowly; connection cut"
        wait_until(lambda: ended(connection) or dropped in log, "the reader is dropped")
    assert dropped in log


def test_a_request_that_comes_in_single_bytes_is_dropped(layout: Path, open_to):
    with ImageServer([Layout(layout)], idle_timeout=0.2) as server:
        connection = open_to(server, b"GET /v2/ HTTP/1.1\r\nA: ")
        connection.settimeout(0.01)

        def dropped() -> bool:
            try:
                connection.sendall(b"a")
                return ended(connection)
            except TimeoutError:
                return False
            except OSError:
                return True

        wait_until(dropped, "the request is dropped")


@pytest.mark.parametrize("raw", [b"GET /v2/ HTTP/1.1\n", b"\n", b"GET /v2/ HTTP/1.1\r\nHost: x\n"])
def test_a_bare_line_feed_is_answered_at_once(layout: Path, open_to, raw: bytes):
    with ImageServer([Layout(layout)], idle_timeout=GENEROUS) as server:
        assert open_to(server, raw).recv(12) == b"HTTP/1.1 400"


def test_headers_without_end_are_answered(layout: Path, open_to):
    with ImageServer([Layout(layout)], idle_timeout=GENEROUS) as server:
        connection = open_to(server, b"GET /v2/ HTTP/1.1\r\n")
        lines = itertools.repeat(b"A: b\r\n", 4000)
        connection.sendall(b"".join(lines))
        assert connection.recv(12) == b"HTTP/1.1 431"


def test_what_follows_a_body_is_not_a_request(layout: Path, open_to):
    inner = b"GET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\n"
    with ImageServer([Layout(layout)], idle_timeout=GENEROUS) as server:
        for framing in (
            b"Content-Length: 0\r\nContent-Length: 40",
            b"Content-Length: 4\r\nTransfer-Encoding: chunked",
        ):
            raw = b"POST /v2/ HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % framing
            connection = open_to(server, raw + inner)
            connection.shutdown(socket.SHUT_WR)
            got = connection.makefile("rb").read()
            assert got.startswith(b"HTTP/1.1 400")
            assert got.count(b"HTTP/1.1 ") == 1
