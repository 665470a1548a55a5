"""Heads of requests that proxies and servers read differently."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.endpoints.server.head import RefusedHeadError, parse_head
from airgap.limits import MAX_REQUEST_HEAD_BYTES, MAX_REQUEST_HEADERS

GET = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n"
PUT = b"PUT /v2/ HTTP/1.1\r\nHost: x\r\n"
PIECES = [
    GET, PUT, b"\r\n", b"\n", b"\r", b" ", b"A: b", b"A:", b":", b"Content-Length: 0\r\n", b"Content-Length: 5",
    b"Transfer-Encoding: chunked\r\n", b"Host: y\r\n", b"Range: bytes=0-\r\n", b"\0", b"\xff",
]  # fmt: skip


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /v2/ HTTP/1.1\nHost: x\n\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\n\r\n",
        GET + b"A: b\nC: d\r\n\r\n",
        GET + b"A: b\rC: d\r\n\r\n",
        GET + b"A: b\r\r\n\r\n",
        GET + b"A: b\r\n c\r\n\r\n",
        GET + b"A: b\r\n\tc\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\n Host: x\r\n\r\n",
        GET + b"A : b\r\n\r\n",
        GET + b"A\t: b\r\n\r\n",
        GET + b": b\r\n\r\n",
        GET + b"A\r\n\r\n",
        GET + b"A: \0\r\n\r\n",
        GET + b"A\x80: b\r\n\r\n",
        GET + b"A: b\x7f\r\n\r\n",
        GET + b"A: \x0b\r\n\r\n",
        GET + b"Host: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x, y z\x01\r\n\r\n",
        b"GET  /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/  HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET\t/v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1 \r\nHost: x\r\n\r\n",
        b" GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/\xa0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.10\r\nHost: x\r\n\r\n",
        b"GET /v2/ http/1.1\r\nHost: x\r\n\r\n",
        b"GET http://y/v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET y/v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT y:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/\r\n\r\n",
        b"\r\n",
        b"\r\n" + GET + b"\r\n",
        GET + b"\r\n" + GET + b"\r\n",
        PUT + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        PUT + b"Transfer-Encoding: chunked\r\ncontent-length: 0\r\n\r\n",
        PUT + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
        PUT + b"Content-Length: 0\r\ncontent-length: 9\r\n\r\n",
        PUT + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        PUT + b"Content-Length: 0, 0\r\nContent-Length: 1\r\n\r\n",
        PUT + b"Content-Length: 0, 9\r\n\r\n",
        PUT + b"Content-Length: +9\r\n\r\n",
        PUT + b"Content-Length: -1\r\n\r\n",
        PUT + b"Content-Length: 0x9\r\n\r\n",
        PUT + b"Content-Length: 1_0\r\n\r\n",
        PUT + b"Content-Length: \r\n\r\n",
        PUT + b"Content-Length: \xb2\r\n\r\n",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(raw: bytes):
    with pytest.raises(RefusedHeadError) as refused:
        parse_head(raw)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (PUT + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
        (PUT + b"Transfer-Encoding: chunked, identity\r\n\r\n", 501),
        (PUT + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400),
        (b"GET /v2/ HTTP/2.0\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (GET + b"A: b\r\n" * MAX_REQUEST_HEADERS + b"\r\n", 431),
        (GET + b"A: " + b"b" * MAX_REQUEST_HEAD_BYTES + b"\r\n\r\n", 431),
    ],
)
def test_unsupported_protocol_versions(raw: bytes, status: int):
    with pytest.raises(RefusedHeadError) as refused:
        parse_head(raw)
    assert refused.value.status == status


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 1", b"content-length:9", b"Transfer-Encoding: chunked", b"TRANSFER-ENCODING:chunked"],
)
@pytest.mark.parametrize("start", [GET, PUT])
def test_a_body_is_noticed(start: bytes, framing: bytes):
    assert parse_head(start + framing + b"\r\n\r\n").has_body


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 0\r\n", b"Content-Length: 00\r\n"])
def test_no_body(framing: bytes):
    request = parse_head(b"HEAD /v2/a?n=1 HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n")
    assert (request.method, request.target, request.has_body) == ("HEAD", "/v2/a?n=1", False)


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        (b"", None),
        (b"Range: bytes=0-1\r\n", "bytes=0-1"),
        (b"Range: bytes=0-1\r\nRANGE: bytes=5-\r\n", None),
    ],
)
def test_one_range_at_most(headers: bytes, wanted: str | None):
    assert parse_head(GET + headers + b"\r\n").range == wanted


@given(st.binary(max_size=300) | st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_any_bytes_are_a_request_or_refused(raw: bytes):
    try:
        request = parse_head(raw)
    except RefusedHeadError:
        return
    assert raw.endswith(b"\r\n\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n") == raw.count(b"\r")
    assert request.target.startswith("/") or request.target == "*"
