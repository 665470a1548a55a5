"""Requests that are refused, and content that went wrong after the start."""

import http.client
import json
from contextlib import closing
from pathlib import Path

import pytest

from airgap.endpoints.layout import Layout
from airgap.endpoints.server import ImageServer
from airgap.oci.digest import CHUNK
from tests.support.damage import flip
from tests.support.images import noise
from tests.unit.endpoints.server_support import API, BIG, LAYER, MISSING, Answer, ask, connect, path_of, say

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


@pytest.mark.parametrize("at", [0, CHUNK, -1])
@pytest.mark.parametrize("wanted", [None, "bytes=0-"])
def test_a_wrong_blob_is_never_completed(
    own_server: ImageServer, own_layout: Path, log: list[str], at: int, wanted: str | None
):
    flip(own_layout / BIG.layers[0].path, at)
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
    [lambda path: flip(path, 3), Path.unlink, lambda path: path.write_bytes(b"short")],
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
