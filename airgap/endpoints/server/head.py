"""The head of one request, read so strictly that every proxy must have read the same. No sockets.

h11 parses it. Some forms that h11 accepts are read differently by servers and proxies (a bare LF, a folded
header, two framings of a body); they are refused first. No request here needs a body, so a request that
announces one gets an answer that closes the connection: the bytes that follow are never read as a request.
"""

import re
from http import HTTPStatus

import h11

from airgap.limits import MAX_REQUEST_HEAD_BYTES, MAX_REQUEST_HEADERS
from airgap.values import dataclass

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VERSION = re.compile(rb"[^\r]* HTTP/([0-9])\.[0-9]\r\n")
_HEAD = re.compile(
    rb"%s (?:/[\x21-\x7e]*|\*) HTTP/1\.[01]\r\n(?:%s:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n" % (_TOKEN, _TOKEN)
)
_FRAMING = re.compile(rb"\r\n(?:content-length|transfer-encoding):", re.IGNORECASE)


class RefusedHeadError(Exception):
    """A head that is answered with an error, after which the connection is closed."""

    def __init__(self, status: int, raw: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.line = _first_line(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequest:
    """`wire` is the h11 connection that has read the request, and writes its answer."""

    wire: h11.Connection
    line: str
    method: str
    target: str
    range: str | None
    """The value of Range; None if there are none or several."""
    has_body: bool


def parse_head(raw: bytes) -> ClientRequest:
    """Parse the request whose head is `raw`, including the empty line. Raises `RefusedHeadError`."""
    if len(raw) > MAX_REQUEST_HEAD_BYTES or raw.count(b"\n") > MAX_REQUEST_HEADERS + 2:
        raise RefusedHeadError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, raw)
    if (version := _VERSION.match(raw)) and version[1] != b"1":
        raise RefusedHeadError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, raw)
    if not _HEAD.fullmatch(raw) or len(_FRAMING.findall(raw)) > 1:
        raise RefusedHeadError(HTTPStatus.BAD_REQUEST, raw)
    wire = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST_HEAD_BYTES)
    try:
        wire.receive_data(raw)
        event = wire.next_event()
    except h11.RemoteProtocolError as error:
        raise RefusedHeadError(error.error_status_hint, raw) from error
    if not isinstance(event, h11.Request):
        raise RefusedHeadError(HTTPStatus.BAD_REQUEST, raw)
    return ClientRequest(
        wire=wire,
        line=_first_line(raw),
        method=event.method.decode("ascii"),
        target=event.target.decode("ascii"),
        range=_single(event, b"range"),
        has_body=wire.next_event() is h11.NEED_DATA,
    )


def _single(event: h11.Request, name: bytes) -> str | None:
    values = [value for key, value in event.headers if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else None


def _first_line(raw: bytes) -> str:
    return raw.partition(b"\r\n")[0].decode("latin-1")
