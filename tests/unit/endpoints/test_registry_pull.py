import io
import socket
import threading
from collections.abc import Iterator

import pytest

from airgap.endpoints.ports import ContentSource, ContentTarget
from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.errors import (
    AirgapError,
    DigestMismatchError,
    EndpointError,
    NotFoundError,
    SizeMismatchError,
    UnavailableError,
)
from airgap.oci.digest import CheckedReader, Digest
from airgap.oci.documents import OCI_INDEX, OCI_MANIFEST, Descriptor
from tests.support.images import make_index, simple_image
from tests.support.registry import FakeRegistry
from tests.unit.endpoints.registry_support import (
    BLOB,
    BLOB_DESCRIPTOR,
    IMAGE,
    Clock,
    client,
    drain,
    filled,
    named,
)

OTHER = Digest.of(b"other")
RAW = IMAGE.raw


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


def test_it_is_a_source_and_a_target(fake: FakeRegistry) -> None:
    source: ContentSource = client(fake)
    target: ContentTarget = client(fake, prefix="mirror/team")
    assert source.name == f"registry:{fake.host}"
    assert target.name == f"registry:{fake.host}/mirror/team"


def test_resolve_by_tag_asks_once_and_for_every_type(fake: FakeRegistry) -> None:
    found = client(fake).resolve(named(fake))
    assert (found.digest, found.size, found.media_type) == (Digest.of(RAW), len(RAW), OCI_MANIFEST)
    (request,) = fake.requests
    assert request.method == "HEAD"
    assert OCI_INDEX in request.headers["accept"]
    assert request.headers["user-agent"].startswith("airgap/")
    assert request.headers["accept-encoding"] == "identity"


def test_resolve_prefers_the_digest(fake: FakeRegistry) -> None:
    other = simple_image("other")
    fake.add("acme/api", "2.0", other)
    found = client(fake).resolve(named(fake, f":1.0@{other.descriptor.digest}"))
    assert found.digest == other.descriptor.digest


def test_resolve_an_index_and_ignore_parameters_of_the_type(fake: FakeRegistry) -> None:
    index = make_index([simple_image("a"), simple_image("a", platform="linux/arm64")])
    fake.add("acme/api", "multi", index)
    fake.fault(method="HEAD", headers={"content-type": f"{OCI_INDEX.upper()} ; charset=utf-8"})
    assert client(fake).resolve(named(fake, ":multi")).media_type == OCI_INDEX


@pytest.mark.parametrize(
    "rule",
    [
        {"headers": {"docker-content-digest": None}},
        {"headers": {"content-length": None}},
        {"headers": {"content-length": "-1"}},
        {"status": 405},
        {"status": 501},
    ],
)
@pytest.mark.parametrize("rest", [":1.0", f"@{IMAGE.descriptor.digest}"])
def test_resolve_falls_back_to_get(fake: FakeRegistry, rule: dict[str, object], rest: str) -> None:
    fake.fault(method="HEAD", **rule)
    fake.fault(method="GET", headers={"docker-content-digest": None})
    found = client(fake).resolve(named(fake, rest))
    assert (found.digest, found.size) == (Digest.of(RAW), len(RAW))
    assert [r.method for r in fake.requests] == ["HEAD", "GET"]


def test_resolve_by_sha512_hashes_itself(fake: FakeRegistry) -> None:
    digest = Digest.of(RAW, "sha512")
    fake.manifests["acme/api", str(digest)] = (OCI_MANIFEST, RAW)
    assert client(fake).resolve(named(fake, f"@{digest}")).digest == digest


PINNED = f"@{IMAGE.descriptor.digest}"

LIES = [
    # what the registry does, what is asked, error, what its text holds
    ({"headers": {"docker-content-digest": str(OTHER)}}, PINNED, DigestMismatchError,
     f"want {IMAGE.descriptor.digest}, got {OTHER}"),
    ({"body": b"{}", "headers": {"docker-content-digest": None}}, PINNED, DigestMismatchError,
     str(Digest.of(b"{}"))),
    ({"body": b"{}", "method": "GET"}, ":1.0", DigestMismatchError, str(Digest.of(b"{}"))),
    ({"headers": {"docker-content-digest": "sha256:../.."}}, ":1.0", EndpointError, "the registry sent an invalid digest"),
    ({"headers": {"content-type": "text/html"}}, ":1.0", EndpointError, "got text/html"),
    ({"headers": {"content-type": None}}, ":1.0", EndpointError, "no Content-Type"),
    ({"headers": {"content-type": "application/vnd.docker.distribution.manifest.v1+prettyjws"}}, ":1.0",
     EndpointError, "schema 2"),
    ({"body": b" " * ((4 << 20) + 1), "method": "GET"}, ":1.0", EndpointError, "at most 4,194,304 bytes"),
    ({"status": 418}, ":1.0", EndpointError, "HTTP 418"),
    ({"status": 204}, ":1.0", EndpointError, "HTTP 204"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "rest", "error", "text"), LIES)
def test_resolve_refuses_lies(
    fake: FakeRegistry, rule: dict[str, object], rest: str, error: type[AirgapError], text: str
) -> None:
    if rule.get("method") == "GET":
        fake.fault(method="HEAD", status=405)
    fake.fault(**rule)
    with pytest.raises(error) as caught:
        client(fake).resolve(named(fake, rest))
    assert type(caught.value) is error
    assert text in str(caught.value)
    assert f"{fake.host}/acme/api{rest}" in str(caught.value)


def test_nothing_there(fake: FakeRegistry) -> None:
    with pytest.raises(NotFoundError, match=r"not found: .*/acme/api:9.9, got HTTP 404$"):
        client(fake).resolve(named(fake, ":9.9"))
    with pytest.raises(NotFoundError, match=r"HTTP 404 \(MANIFEST_UNKNOWN: manifest unknown\)"):
        client(fake).read_document(named(fake), Descriptor(OCI_MANIFEST, OTHER, 5))


def test_read_document(fake: FakeRegistry) -> None:
    assert client(fake).read_document(named(fake), IMAGE.descriptor) == RAW
    assert fake.requests[0].path.endswith(f"/manifests/{IMAGE.descriptor.digest}")


def test_a_document_is_bounded(fake: FakeRegistry) -> None:
    fake.fault(body=b" " * (5 << 20))
    with pytest.raises(EndpointError, match="answer too large"):
        client(fake).read_document(named(fake), IMAGE.descriptor)


def test_a_document_that_stops_short_is_read_again(fake: FakeRegistry) -> None:
    fake.fault(method="GET", drop_at=10, times=2)
    assert client(fake).read_document(named(fake), IMAGE.descriptor) == RAW
    assert len(fake.requests) == 3


@pytest.mark.parametrize("offset", [0, 1, 4096, len(BLOB) - 1])
def test_open_blob_from_an_offset(fake: FakeRegistry, offset: int) -> None:
    assert drain(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR, offset)) == BLOB[offset:]
    assert fake.requests[0].headers.get("range") == (f"bytes={offset}-" if offset else None)


def test_open_blob_at_its_end_sends_no_request(fake: FakeRegistry) -> None:
    assert drain(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR, len(BLOB))) == b""
    assert not fake.requests


def test_an_empty_blob(fake: FakeRegistry) -> None:
    fake.blobs["acme/api", Digest.of(b"")] = b""
    empty = Descriptor("application/x", Digest.of(b""), 0)
    assert drain(client(fake).open_blob(named(fake), empty)) == b""


def test_a_chunked_blob(fake: FakeRegistry) -> None:
    body = b"c350\r\n" + BLOB + b"\r\n0\r\n\r\n"
    fake.fault(body=body, headers={"transfer-encoding": "chunked", "content-length": None})
    assert drain(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB


@pytest.mark.parametrize(
    ("rule", "got"),
    [
        ({"ignore_range": True}, "HTTP 200"),
        ({"headers": {"content-range": "bytes 9-49999/50000"}}, "bytes 9-"),
        ({"headers": {"content-range": "bytes 10-49998/50000"}}, "bytes 10-49998"),
        ({"headers": {"content-range": "bytes 10-49999/50001"}}, "50001"),
        ({"headers": {"content-range": "items 10-49999/50000"}}, "items"),
        ({"headers": {"content-range": None}}, "HTTP 206"),
        ({"headers": {"content-range": "bytes 10-49999/50000, bytes 0-9/50000"}}, ", bytes"),
        ({"status": 416, "body": b""}, "bytes 10-"),
    ],
)
def test_a_range_that_is_not_given_is_said_before_a_byte(
    fake: FakeRegistry, rule: dict[str, object], got: str
) -> None:
    fake.fault(**rule)
    with pytest.raises(EndpointError, match="cannot resume the download") as caught:
        client(fake).open_blob(named(fake), BLOB_DESCRIPTOR, 10)
    assert type(caught.value) is EndpointError
    assert got in str(caught.value)
    assert "want bytes 10-49999/50000" in str(caught.value)


def test_a_range_with_unknown_total_is_fine(fake: FakeRegistry) -> None:
    fake.fault(headers={"content-range": "bytes 10-49999/*"})
    assert drain(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR, 10)) == BLOB[10:]


@pytest.mark.parametrize(
    "rule",
    [
        {"drop_at": 0},
        {"drop_at": 1000},
        {"drop_at": len(BLOB) - 1},
        {"drop_at": 1000, "headers": {"content-length": None}},
        {"body": b"c350\r\nabc", "headers": {"transfer-encoding": "chunked", "content-length": None},
         "drop_at": 9},
        {"body": b"zz\r\nabc", "headers": {"transfer-encoding": "chunked", "content-length": None},
         "drop_at": 7},
    ],
)  # fmt: skip
def test_a_blob_that_stops_short_never_looks_complete(fake: FakeRegistry, rule: dict[str, object]) -> None:
    fake.fault(**rule)
    stream = client(fake, retries=0).open_blob(named(fake), BLOB_DESCRIPTOR)
    with pytest.raises(UnavailableError, match=f"the connection broke: .*{BLOB_DESCRIPTOR.digest}"):
        drain(stream)
    with pytest.raises(UnavailableError, match="closed"):
        stream.readinto(memoryview(bytearray(1)))


CONTENT_LIES = [
    ({"body": BLOB[:-1]}, SizeMismatchError),
    ({"body": BLOB + b"x"}, SizeMismatchError),
    ({"body": bytes(len(BLOB))}, DigestMismatchError),
]


@pytest.mark.parametrize(("rule", "error"), CONTENT_LIES)
def test_the_checked_reader_sees_what_the_registry_sends(
    fake: FakeRegistry, rule: dict[str, object], error: type[AirgapError]
) -> None:
    fake.fault(**rule)
    stream = client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)
    with pytest.raises(error):
        drain(CheckedReader(stream, BLOB_DESCRIPTOR.digest, BLOB_DESCRIPTOR.size))


def test_connections_are_used_again(fake: FakeRegistry) -> None:
    opened: list[object] = []
    process = fake._server.process_request

    def counted(request: socket.socket, address: object) -> None:
        opened.append(address)
        process(request, address)

    fake._server.process_request = counted  # type: ignore[method-assign, assignment]
    registry = client(fake)
    for _ in range(3):
        registry.resolve(named(fake))
        with pytest.raises(NotFoundError):
            registry.read_document(named(fake), Descriptor(OCI_MANIFEST, OTHER, 5))
        drain(registry.open_blob(named(fake), BLOB_DESCRIPTOR))
        registry.open_blob(named(fake, ":1.0"), BLOB_DESCRIPTOR, len(BLOB))
        assert not registry.holds(named(fake), Descriptor("x", OTHER, 5))
    assert len(opened) == 1
    registry.open_blob(named(fake), BLOB_DESCRIPTOR).close()  # not read to its end, so it cannot go back
    registry.resolve(named(fake))
    assert len(opened) == 2
    registry.close()


def test_many_threads(fake: FakeRegistry) -> None:
    registry, found = client(fake), []
    threads = [
        threading.Thread(
            target=lambda: found.append(drain(registry.open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB)
        )
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 12


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_failures_are_tried_again(fake: FakeRegistry, status: int) -> None:
    clock = Clock()
    fake.fault(status=status, times=3)
    client(fake, sleep=clock.sleep).resolve(named(fake))
    assert len(fake.requests) == 4
    assert [low <= slept <= 2 * low for low, slept in zip((0.25, 0.5, 1), clock.slept, strict=True)]


def test_a_dead_registry_ends_in_unavailable(fake: FakeRegistry) -> None:
    clock = Clock()
    fake.fault(method="GET", status=503, body=b'{"errors":[{"code":"DOWN","message":"\x1b[31mred"}]}')
    with pytest.raises(UnavailableError) as caught:
        client(fake, sleep=clock.sleep, retries=2).read_document(named(fake), IMAGE.descriptor)
    assert len(fake.requests) == 3
    assert len(clock.slept) == 2
    assert "HTTP 503" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_retry_after_is_honoured(fake: FakeRegistry) -> None:
    clock = Clock()
    fake.fault(status=429, times=1, headers={"retry-after": "7"})
    fake.fault(status=429, times=1, headers={"retry-after": "75"})
    client(fake, sleep=clock.sleep).resolve(named(fake))
    assert clock.slept == [7, 75]


def test_a_rate_limit_names_the_login(fake: FakeRegistry) -> None:
    fake.fault(status=429)
    with pytest.raises(UnavailableError) as caught:
        client(fake, retries=0).resolve(named(fake))
    assert f"docker login {fake.host}" in (caught.value.hint or "")


def test_a_connection_cut_before_the_answer_is_tried_again(fake: FakeRegistry) -> None:
    fake.fault(drop_at=-1, times=2)
    assert client(fake).resolve(named(fake)).digest == IMAGE.descriptor.digest


def test_a_registry_that_does_not_listen() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        clock = Clock()
        registry = Registry(host, options=RegistryOptions(sleep=clock.sleep, retries=1))
        with pytest.raises(
            UnavailableError, match=r"cannot reach the registry: .*Connection refused"
        ) as caught:
            registry.resolve(named(FakeHost(host)))  # type: ignore[arg-type]
    assert len(clock.slept) == 1
    assert host in str(caught.value)


class FakeHost:
    def __init__(self, host: str) -> None:
        self.host = host


def test_silence_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        registry = Registry(host, options=RegistryOptions(read_timeout=0.05, retries=0))
        with pytest.raises(UnavailableError, match="no answer in time"):
            registry.resolve(named(FakeHost(host)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer", [b"not http\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200, b""]
)
def test_what_is_not_http(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        host = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="cannot reach the registry"):
            Registry(host, options=RegistryOptions(retries=0)).resolve(named(FakeHost(host)))  # type: ignore[arg-type]
        thread.join()


def test_the_stream_is_a_raw_io(fake: FakeRegistry) -> None:
    with io.BufferedReader(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)) as stream:  # type: ignore[type-var]
        assert stream.read() == BLOB
