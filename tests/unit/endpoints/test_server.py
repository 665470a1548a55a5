"""The server: what it answers, and its connections."""

import http.client
import json
import os
import re
import signal
import socket
from contextlib import closing
from pathlib import Path

import pytest

from airgap.endpoints.layout import Layout
from airgap.endpoints.server import ImageServer
from airgap.errors import EndpointError
from airgap.oci.digest import CHUNK, Digest
from airgap.oci.documents import DOCKER_MANIFEST, OCI_INDEX
from tests.support.images import Image, simple_image, write_layout
from tests.unit.endpoints.server_support import (
    API,
    BIG,
    INDEX,
    LAYER,
    MISSING,
    OLD,
    ask,
    connect,
    path_of,
    say,
)

SIGNATURE_TYPE = "application/vnd.example.signature"


# --- what is there


def test_the_base_path_answers_with_the_version(server: ImageServer):
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
def test_a_range_is_answered_with_its_bytes(server: ImageServer, wanted: str, found: slice):
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


def test_tags_and_repositories_are_listed(server: ImageServer):
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


def test_serve_forever_ends_with_sigterm_whatever_handles_it_outside(layout: Path):
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server = ImageServer([Layout(layout)], log=lambda _line: os.kill(os.getpid(), signal.SIGTERM))
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            server.serve_forever()
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


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
