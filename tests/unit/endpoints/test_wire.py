"""Registries whose answers have no end, or come a byte at a time."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.errors import AirgapError, EndpointError, UnavailableError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_LAYER_GZIP, Descriptor
from airgap.oci.reference import ImageReference
from tests.support.registry import FakeRegistry
from tests.support.waits import GENEROUS
from tests.unit.endpoints.registry_support import Clock, client, drain, filled, named

MIB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "100 Continue": (b"", CONTINUE * 1000),
    "100 Continue with headers": (b"", b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" * 1000),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"A: b\r\n" * 10_000),
    "extensions of chunks": (CHUNKED, b"1;" + b"x" * 60_000 + b"\r\n \r\n"),
    "headers": (OK, b"A: b\r\n" * 10_000),
}


class Teller:
    """Answers each request with `first`, and then with `more` until the client goes away."""

    def __init__(self, first: bytes, more: bytes, pause: float) -> None:
        self._first, self._more = first, more
        self._pause, self._closed = pause, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65536)
                    connection.sendall(self._first)
                    while self._more and self.sent < 256 * MIB:  # a client that takes it all has no limit
                        connection.sendall(self._more)
                        self.sent += len(self._more)
                        self._closed.wait(self._pause)
                except OSError:
                    pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(GENEROUS)


@contextmanager
def telling(first: bytes, more: bytes, pause: float = 0) -> Iterator[Teller]:
    teller = Teller(first, more, pause)
    try:
        yield teller
    finally:
        teller.close()


def resolve(registry: Registry, host: str) -> object:
    return registry.resolve(ImageReference.parse(f"{host}/acme/api:1"))


def read_blob(registry: Registry, host: str) -> object:
    reference = ImageReference.parse(f"{host}/acme/api:1")
    return drain(registry.open_blob(reference, Descriptor(OCI_LAYER_GZIP, Digest.of(b"x"), 1 << 30)))


def tags(registry: Registry, host: str) -> object:
    return registry.tags(ImageReference.parse(f"{host}/acme/api:1"))


@pytest.mark.parametrize("ask", [resolve, read_blob, tags])
@pytest.mark.parametrize("lie", ["100 Continue", "100 Continue with headers", "headers"])
def test_heads_without_end(lie: str, ask: Callable[[Registry, str], object]) -> None:
    with telling(*ENDLESS[lie]) as teller:
        registry = Registry(teller.host, options=RegistryOptions(sleep=Clock().sleep))
        with pytest.raises(AirgapError):
            ask(registry, teller.host)
        assert teller.sent < 64 * MIB


@pytest.mark.parametrize("lie", ["trailers", "extensions of chunks"])
def test_bodies_without_end(lie: str) -> None:
    with telling(*ENDLESS[lie]) as teller:
        registry = Registry(teller.host, options=RegistryOptions(sleep=Clock().sleep))
        with pytest.raises(EndpointError, match=r"the answer does not end|more than 100 trailers") as caught:
            tags(registry, teller.host)
        if "100 trailers" not in str(caught.value):  # newer versions of http.client have a limit of their own
            assert "131,072" in str(caught.value)
            assert caught.value.hint is not None
        assert teller.sent < 64 * MIB


def test_interim_answers_are_taken() -> None:
    body = b'{"tags":["1"]}'
    with telling(CONTINUE * 3 + OK + b"Content-Length: %d\r\n\r\n" % len(body) + body, b"") as teller:
        assert tags(Registry(teller.host), teller.host) == ["1"]


@pytest.mark.parametrize("first", [b"", OK, OK + b"Content-Length: 999999\r\n\r\n", CHUNKED + b"f4240\r\n"])
def test_a_byte_at_a_time_is_given_up(first: bytes) -> None:
    """Each byte comes well within the read timeout; what ends the wait is the rate."""
    options = RegistryOptions(read_timeout=0.2, min_rate=1e9, retries=0, sleep=Clock().sleep)
    limit = pytest.raises(UnavailableError, match="1,000,000,000 bytes a second are the limit")
    with telling(first, b"x", 0.02) as teller, limit:
        tags(Registry(teller.host, options=options), teller.host)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


@pytest.mark.parametrize("connections", [1, 6])
def test_resumes_are_bounded_by_the_size(fake: FakeRegistry, connections: int) -> None:
    """Each brings enough to count as progress; a blob that is said to be large gets no more than its share."""
    blob = bytes(70_000) * 300
    descriptor = Descriptor(OCI_LAYER_GZIP, Digest.of(blob), len(blob))
    fake.blobs["acme/api", descriptor.digest] = blob
    fake.fault(method="GET", path="/blobs/", drop_at=70_000)
    with pytest.raises(UnavailableError, match="the connection broke too often") as caught:
        drain(client(fake, piece_connections=connections).open_blob(named(fake), descriptor))
    assert "at most 120 resumes for 21,000,000 bytes" in str(caught.value)
    assert caught.value.hint is not None
    assert len(fake.asked("GET", "/blobs/")) <= 121 + connections


def test_a_link_that_breaks_now_and_then_lives(fake: FakeRegistry) -> None:
    fake.fault(method="GET", path="/blobs/", drop_at=70_000, times=90)
    blob = bytes(7_000_000)
    descriptor = Descriptor(OCI_LAYER_GZIP, Digest.of(blob), len(blob))
    fake.blobs["acme/api", descriptor.digest] = blob
    assert drain(client(fake).open_blob(named(fake), descriptor)) == blob
