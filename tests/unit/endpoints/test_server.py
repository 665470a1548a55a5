"""The server as its clients see it, over sockets."""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from airgap.endpoints.layout import Layout
from airgap.endpoints.server import ImageServer
from airgap.errors import EndpointError
from airgap.oci.digest import CHUNK, Digest
from airgap.oci.documents import DOCKER_MANIFEST, OCI_INDEX
from tests.support.images import Image, Layer, make_image, make_index, noise, simple_image, write_layout

API = simple_image("api")
OLD = simple_image("old", docker=True)
BIG = make_image([Layer.of({"big": noise(3 * CHUNK, 1)}, "none")])
INDEX = make_index([API, simple_image("arm", platform="linux/arm64")])
SIGNATURE_TYPE = "application/vnd.example.signature"
NAMES = {
    "ghcr.io/acme/api:2.3": API,
    "ghcr.io/acme/api:latest": INDEX,
    "docker.io/library/old:1": OLD,
    "docker.io/acme/big:1": BIG,
}
LAYER = API.contents[API.layers[0]]
MISSING = Digest.of(b"not there")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("layout"), NAMES)


@pytest.fixture(scope="module")
def server(layout: Path) -> Iterator[ImageServer]:
    """For tests that change nothing."""
    with ImageServer([Layout(layout)], idle_timeout=60) as server:
        yield server


@pytest.fixture
def own_layout(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "layout", NAMES)


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def own_server(own_layout: Path, log: list[str]) -> Iterator[ImageServer]:
    with ImageServer([Layout(own_layout)], log=log.append, idle_timeout=60) as server:
        yield server


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def code(self) -> str:
        [error] = json.loads(self.body)["errors"]
        assert isinstance(error["message"], str)
        return error["code"]


def connect(server: ImageServer) -> http.client.HTTPConnection:
    host, _, port = server.address.rpartition(":")
    return http.client.HTTPConnection(host, int(port), timeout=60)


def ask(server: ImageServer, path: str, method: str = "GET", **headers: str) -> Answer:
    with closing(connect(server)) as connection:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        return Answer(connection.getresponse())


def say(server: ImageServer, raw: bytes) -> bytes:
    """What comes back until the server closes."""
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def path_of(kind: str, digest: object, name: str = "acme/api") -> str:
    return f"/v2/{name}/{kind}/{digest}"


# --- what is there


def test_base(server: ImageServer):
    answer = ask(server, "/v2/")
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert answer.headers["Server"] == "airgap"


@pytest.mark.parametrize("name", ["acme/api", "ghcr.io/acme/api"])
@pytest.mark.parametrize("reference", ["2.3", str(API.descriptor.digest)])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_manifests(server: ImageServer, name: str, reference: str, method: str):
    answer = ask(server, path_of("manifests", reference, name), method)
    assert answer.status == 200
    assert answer.body == (API.raw if method == "GET" else b"")
    assert answer.headers["Content-Length"] == str(len(API.raw))
    assert answer.headers["Content-Type"] == API.descriptor.media_type
    assert answer.headers["Docker-Content-Digest"] == str(API.descriptor.digest)


@pytest.mark.parametrize(
    ("path", "image", "media_type"),
    [
        ("/v2/library/old/manifests/1", OLD, DOCKER_MANIFEST),
        ("/v2/acme/api/manifests/latest", INDEX, OCI_INDEX),
    ],
)
def test_media_types_are_kept(server: ImageServer, path: str, image: Image, media_type: str):
    answer = ask(server, path)
    assert answer.headers["Content-Type"] == media_type
    assert answer.body == image.raw


@pytest.mark.parametrize("digest", list(INDEX.contents))
def test_everything_below_an_index_is_there(server: ImageServer, digest: Digest):
    assert ask(server, path_of("blobs", digest)).body == INDEX.contents[digest]


def test_blob_head(server: ImageServer):
    answer = ask(server, path_of("blobs", API.layers[0]), "HEAD", Range="bytes=1-2")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(LAYER))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Docker-Content-Digest"] == str(API.layers[0])


def test_a_blob_of_many_chunks(server: ImageServer):
    assert ask(server, path_of("blobs", BIG.layers[0], "acme/big")).body == BIG.contents[BIG.layers[0]]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("bytes=0-", slice(0, None)),
        ("bytes=0-99", slice(0, 100)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-7", slice(-7, None)),
    ],
)
def test_range(server: ImageServer, wanted: str, found: slice):
    answer = ask(server, path_of("blobs", API.layers[0]), Range=wanted)
    start, end, _ = found.indices(len(LAYER))
    assert (answer.status, answer.body) == (206, LAYER[found])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(LAYER)}"


def test_a_range_over_chunks(server: ImageServer):
    answer = ask(server, path_of("blobs", BIG.layers[0], "acme/big"), Range=f"bytes=5-{2 * CHUNK + 5}")
    assert answer.body == BIG.contents[BIG.layers[0]][5 : 2 * CHUNK + 6]


def test_several_ranges_give_the_whole(server: ImageServer):
    answer = ask(server, path_of("blobs", API.layers[0]), Range="bytes=0-1,4-5")
    assert (answer.status, answer.body) == (200, LAYER)


def test_lists(server: ImageServer):
    assert json.loads(ask(server, "/v2/acme/api/tags/list").body) == {
        "name": "acme/api",
        "tags": ["2.3", "latest"],
    }
    found = json.loads(ask(server, "/v2/_catalog").body)
    assert found == {"repositories": sorted(server.repositories)}
    assert {"acme/api", "ghcr.io/acme/api", "library/old", "docker.io/library/old"} <= set(
        server.repositories
    )


def test_pages_are_linked(server: ImageServer):
    found, path = [], "/v2/_catalog?n=4"
    for _ in range(2):
        answer = ask(server, path)
        found += json.loads(answer.body)["repositories"]
        link = answer.headers["Link"]
        if link:
            assert link.endswith('>; rel="next"')
            path = link[1:].partition(">")[0]
    assert link is None
    assert found == sorted(server.repositories)


def test_no_referrers(server: ImageServer):
    answer = ask(server, path_of("referrers", API.descriptor.digest))
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert json.loads(answer.body) == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


def signature_of(image: Image) -> Image:
    raw = json.loads(simple_image("signature").raw) | {
        "artifactType": SIGNATURE_TYPE,
        "subject": image.descriptor.to_json(),
    }
    signed = json.dumps(raw).encode()
    below = simple_image("signature").contents
    descriptor = type(image.descriptor)(image.descriptor.media_type, Digest.of(signed), len(signed))
    return Image(descriptor, signed, below | {descriptor.digest: signed})


@pytest.mark.parametrize(
    ("query", "count"),
    [("", 1), (f"?artifactType={SIGNATURE_TYPE}", 1), ("?artifactType=application/other", 0)],
)
def test_referrers(tmp_path: Path, query: str, count: int):
    signature = signature_of(API)
    images = {"a/x:1": API, "a/x:sig": signature}
    with ImageServer([Layout(write_layout(tmp_path / "l", images))]) as server:
        answer = ask(server, path_of("referrers", API.descriptor.digest, "a/x") + query)
    found = [(e["digest"], e["artifactType"]) for e in json.loads(answer.body)["manifests"]]
    assert found == [(str(signature.descriptor.digest), SIGNATURE_TYPE)] * count
    assert answer.headers["OCI-Filters-Applied"] == ("artifactType" if query else None)


# --- connections


def test_one_connection_takes_many_requests(server: ImageServer):
    with closing(connect(server)) as connection:
        for path in (
            "/v2/",
            "/v2/acme/api/manifests/2.3",
            "/v2/nothing/manifests/1",
            path_of("blobs", MISSING),
        ) * 2:
            connection.request("GET", path)
            port = connection.sock.getsockname()
            connection.getresponse().read()
            assert connection.sock.getsockname() == port


def test_pipelined_requests_are_answered_in_order(server: ImageServer):
    wanted = [("GET", ""), ("HEAD", "acme/api/manifests/2.3"), ("GET", "no/tags/list"), ("GET", "_catalog")]
    requests = [f"{method} /v2/{path} HTTP/1.1\r\nHost: x\r\n\r\n" for method, path in wanted]
    got = say(server, "".join(requests).encode())
    assert re.findall(rb"HTTP/1\.1 (\d+)", got) == [b"200", b"200", b"404", b"200"]
    assert got.endswith(b"]}")


def test_http_1_0_closes(server: ImageServer):
    got = say(server, b"GET /v2/ HTTP/1.0\r\n\r\nGET /v2/ HTTP/1.0\r\n\r\n")
    assert got.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in got


def test_a_body_is_not_read_as_a_request(server: ImageServer):
    inner = "GET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\n"
    for framing in (f"Content-Length: {len(inner)}", "Transfer-Encoding: chunked"):
        for method in ("GET", "POST"):
            got = say(server, f"{method} /v2/ HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n{inner}".encode())
            assert got.count(b"HTTP/1.1 ") == 1
            assert b"Connection: close" in got


def test_no_body_is_asked_for(server: ImageServer):
    got = say(
        server,
        b"PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    )
    assert got.startswith(b"HTTP/1.1 405 ")


def test_an_idle_connection_is_closed(layout: Path):
    with ImageServer([Layout(layout)], idle_timeout=0.05) as server:
        host, _, port = server.address.rpartition(":")
        for start in (b"", b"GET /v2/ HT", b"GET /v2/ HTTP/1.1\r\nHost: x\r\n"):
            with socket.create_connection((host, int(port)), timeout=60) as connection:
                connection.sendall(start)
                assert connection.recv(1) == b""


def test_close_does_not_wait_for_clients(layout: Path):
    with ImageServer([Layout(layout)], max_connections=1, idle_timeout=600) as server:
        connections = [connect(server) for _ in range(3)]
        connections[0].request("GET", "/v2/")
        connections[0].getresponse().read()
        for connection in connections[1:]:
            connection.connect()
    server.close()
    for connection in connections:
        connection.close()
    with pytest.raises(OSError):
        ask(server, "/v2/")


def test_a_client_that_goes_away_is_logged(own_server: ImageServer, log: list[str]):
    host, _, port = own_server.address.rpartition(":")
    path = path_of("blobs", BIG.layers[0], "acme/big")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connection.recv(1)
    own_server.close()
    assert any("error: " in line for line in log)


def test_serve_forever_closes_at_the_end(layout: Path):
    def interrupt(_line: str) -> None:
        raise KeyboardInterrupt

    server = ImageServer([Layout(layout)], log=interrupt)
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(KeyboardInterrupt):
            server.serve_forever()
    with pytest.raises(OSError):
        ask(server, "/v2/")


def test_the_address_of_ipv6(layout: Path):
    try:
        server = ImageServer([Layout(layout)], ("::1", 0))
    except EndpointError:
        pytest.skip("no IPv6 here")
    with server:
        assert server.address.startswith("[::1]:")
        host, _, port = server.address.rpartition(":")
        with closing(http.client.HTTPConnection(host.strip("[]"), int(port), timeout=60)) as connection:
            connection.request("GET", "/v2/")
            assert connection.getresponse().read() == b"{}"


@pytest.mark.parametrize("bind", [("127.0.0.1", 70000), ("192.0.2.1", 0), ("no such host", 0)])
def test_an_address_that_cannot_be_had(layout: Path, bind: tuple[str, int]):
    with pytest.raises(EndpointError, match="cannot listen"):
        ImageServer([Layout(layout)], bind)


def test_a_taken_address(layout: Path, server: ImageServer):
    with pytest.raises(EndpointError, match="cannot listen"):
        ImageServer([Layout(layout)], ("127.0.0.1", int(server.address.rpartition(":")[2])))


def test_requests_are_logged_without_tricks(own_server: ImageServer, log: list[str]):
    say(own_server, b"GET /v2/\x1b[2J\xe2\x80\xae HTTP/1.1\r\nHost: x\r\n\r\n")
    own_server.close()
    [line] = log
    assert line.startswith("127.0.0.1 GET /v2/\\x1b[2J")
    assert line.endswith(" 400")


# --- bad requests


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/", 404, "UNSUPPORTED"),
        ("/v1/", 404, "UNSUPPORTED"),
        ("/index.json", 404, "UNSUPPORTED"),
        ("/v2/../index.json", 404, "UNSUPPORTED"),
        ("/v2/acme/api/../../index.json", 404, "UNSUPPORTED"),
        ("/v2/acme/api/manifests/../../../index.json", 404, "UNSUPPORTED"),
        ("/v2/acme/api/blobs/..%2f..%2findex.json", 404, "UNSUPPORTED"),
        ("/v2/../tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/acme/api/manifests/..", 404, "MANIFEST_UNKNOWN"),
        ("/v2/acme/api/manifests/2.4", 404, "MANIFEST_UNKNOWN"),
        ("/v2/acme/api/manifests/2.3%00", 404, "MANIFEST_UNKNOWN"),
        ("/v2/ACME/api/manifests/2.3", 404, "NAME_UNKNOWN"),
        ("/v2/api/manifests/2.3", 404, "NAME_UNKNOWN"),
        ("/v2/nobody/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/acme/api/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/_catalog?n=x", 400, "PAGINATION_NUMBER_INVALID"),
        (path_of("manifests", MISSING), 404, "MANIFEST_UNKNOWN"),
        (path_of("manifests", API.layers[0]), 404, "MANIFEST_UNKNOWN"),
        (path_of("manifests", API.descriptor.digest, "library/old"), 404, "MANIFEST_UNKNOWN"),
        (path_of("blobs", MISSING), 404, "BLOB_UNKNOWN"),
        (path_of("blobs", BIG.layers[0]), 404, "BLOB_UNKNOWN"),
        (path_of("manifests", "sha256:.."), 400, "DIGEST_INVALID"),
        (path_of("manifests", "sha256:" + "A" * 64), 400, "DIGEST_INVALID"),
        (path_of("blobs", "sha256:%2e%2e"), 400, "DIGEST_INVALID"),
        (path_of("blobs", "sha256:" + "a" * 63), 400, "DIGEST_INVALID"),
        (path_of("blobs", "md5:" + "a" * 32), 400, "DIGEST_INVALID"),
        (path_of("blobs", "latest"), 400, "DIGEST_INVALID"),
        (path_of("blobs", "uploads"), 400, "DIGEST_INVALID"),
        (path_of("referrers", "latest"), 400, "DIGEST_INVALID"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_refused_paths(server: ImageServer, path: str, status: int, code: str, method: str):
    answer = ask(server, path, method)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"
    if method == "GET":
        assert answer.code == code
    else:
        assert answer.body == b""


@pytest.mark.parametrize("wanted", ["bytes=999999-", "bytes=5-4", "bytes=-0", "bytes=x-y", "bytes=-"])
def test_refused_ranges(server: ImageServer, wanted: str):
    answer = ask(server, path_of("blobs", API.layers[0]), Range=wanted)
    assert (answer.status, answer.code) == (416, "RANGE_INVALID")
    assert answer.headers["Content-Range"] == f"bytes */{len(LAYER)}"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/v2/acme/api/manifests/2.3", "/v2/acme/api/blobs/uploads/", "/"])
def test_writing_is_refused(server: ImageServer, layout: Path, method: str, path: str):
    before = sorted((path, path.stat().st_mtime_ns) for path in layout.rglob("*"))
    answer = ask(server, path, method)
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert answer.headers["Allow"] == "GET, HEAD"
    assert sorted((path, path.stat().st_mtime_ns) for path in layout.rglob("*")) == before


def test_a_large_upload_is_refused_with_an_answer(server: ImageServer):
    with closing(connect(server)) as connection:
        connection.request("PUT", "/v2/acme/api/manifests/2.3", body=noise(300_000, 1))
        assert Answer(connection.getresponse()).code == "UNSUPPORTED"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /v2/" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"G" * 70_000, 414),
        (b"GET /v2/ HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /v2/ HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431),
        (b"GET /v2/ HTTP/1.1\r\n" + (b"X: " + b"a" * 1000 + b"\r\n") * 20 + b"\r\n", 431),
        (b"GET /v2/ HTTP/2.0\r\n\r\n", 505),
        (b"GET /v2/\r\n", 400),
        (b"GET /v2/ HTTP/1.x\r\n\r\n", 400),
        (b"GET /v2/ a HTTP/1.1\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"TRACE /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"get /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"__init__ /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    ],
)
def test_refused_requests(server: ImageServer, raw: bytes, status: int):
    got = say(server, raw)
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in head
    assert json.loads(body)["errors"][0]["code"] == "UNSUPPORTED"


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"GET /v2/ HTTP/1.1\r\nHost:"])
def test_half_a_request_does_not_affect_other_clients(server: ImageServer, raw: bytes):
    say(server, raw)
    assert ask(server, "/v2/").status == 200


# --- content that went wrong after the start


def change(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("at", [0, CHUNK, -1])
@pytest.mark.parametrize("wanted", [None, "bytes=0-"])
def test_a_wrong_blob_is_never_completed(
    own_server: ImageServer, own_layout: Path, log: list[str], at: int, wanted: str | None
):
    change(own_layout / BIG.layers[0].path, at)
    headers = {"Range": wanted} if wanted else {}
    with pytest.raises(http.client.IncompleteRead):
        ask(own_server, path_of("blobs", BIG.layers[0], "acme/big"), **headers)
    own_server.close()
    assert any("wrong digest" in line and "connection cut" in line for line in log)


@pytest.mark.parametrize(
    ("path", "file"),
    [
        (path_of("blobs", API.layers[0]), API.layers[0].path),
        (path_of("manifests", API.descriptor.digest), API.descriptor.digest.path),
        (path_of("manifests", "2.3"), API.descriptor.digest.path),
    ],
)
@pytest.mark.parametrize(
    "harm",
    [lambda path: change(path, 3), Path.unlink, lambda path: path.write_bytes(b"short")],
    ids=["flipped", "gone", "short"],
)
def test_what_is_small_and_wrong_is_an_error(
    own_server: ImageServer, own_layout: Path, path: str, file: str, harm
):
    harm(own_layout / file)
    answer = ask(own_server, path)
    assert (answer.status, answer.code) == (500, "UNKNOWN")
    assert str(own_layout).encode() not in answer.body


def test_the_log_says_why_content_cannot_be_read(own_server: ImageServer, own_layout: Path, log: list[str]):
    (own_layout / API.layers[0].path).unlink()
    ask(own_server, path_of("blobs", API.layers[0]))
    own_server.close()
    assert f"error: no such file: {own_layout}/{API.layers[0].path}" in log


def test_a_blob_that_shrinks_while_a_part_is_sent(own_layout: Path, log: list[str]):
    class Shrinking(Layout):
        def open_blob(self, reference, descriptor, offset=0):
            stream = super().open_blob(reference, descriptor, offset)
            if descriptor.size > CHUNK:
                (own_layout / descriptor.digest.path).write_bytes(b"x" * (CHUNK + 10))
            return stream

    with (
        ImageServer([Shrinking(own_layout)], log=log.append) as server,
        pytest.raises(http.client.IncompleteRead),
    ):
        ask(server, path_of("blobs", BIG.layers[0], "acme/big"), Range="bytes=1-2500000")
    assert any("content ends early" in line for line in log)
