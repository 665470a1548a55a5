"""One connection: requests, one after the other, and their answers, each within its time limit."""

import asyncio
import contextlib
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import TypeVar, TypeVarTuple

import h11

from airgap.endpoints.server.api import Blob, Reply, answer, problem
from airgap.endpoints.server.catalogue import Catalogue
from airgap.endpoints.server.head import ClientRequest, RefusedHeadError, parse_head
from airgap.endpoints.server.slots import ClientConnection, ServerLimits
from airgap.errors import AirgapError, SizeMismatchError, printable
from airgap.limits import MAX_LINGER_BYTES, MAX_LINGER_SECONDS, MAX_REQUEST_HEAD_BYTES

Log = Callable[[str], None]
T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_PIECE_BYTES = 256 << 10
"""What is read of a blob and sent at a time."""
_SHOWN = 300
_READS = frozenset({"GET", "HEAD"})
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Exchange:
    """Answers the requests of one connection from `catalogue`; `log` gets a line for each."""

    def __init__(
        self,
        catalogue: Catalogue,
        limits: ServerLimits,
        connection: ClientConnection,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        log: Log,
    ) -> None:
        self._catalogue = catalogue
        self._limits = limits
        self._connection = connection
        self._reader, self._writer = streams
        self._log = log
        self._writer.transport.set_write_buffer_limits(high=0)  # `drain` waits until the kernel has all bytes

    async def run(self) -> None:
        """Answer requests until either side closes. Raises `TimeoutError`, `OSError`, and `AirgapError` for
        content that fails in the middle of an answer; then the connection must be cut.
        """
        while await self._next():
            self._connection.busy = False
        await self._linger()

    async def _next(self) -> bool:
        """Answer one request; return whether another may follow."""
        try:
            async with asyncio.timeout(self._limits.idle_timeout):
                raw = await _read_head(self._reader)
            if not raw:
                return False
            self._connection.busy = True
            request = parse_head(raw)
        except RefusedHeadError as refused:
            await self._refuse(refused)
            return False
        reply = await self._reply(request)
        self._log(f"{self._connection.host} {printable(request.line[:_SHOWN])} {reply.status}")
        async with asyncio.timeout(self._limits.seconds(reply.length)):
            await self._send(request, reply)
        return request.wire.our_state is h11.DONE and request.wire.their_state is h11.DONE

    async def _refuse(self, refused: RefusedHeadError) -> None:
        self._log(f"{self._connection.host} {printable(refused.line[:_SHOWN])} {refused.status}")
        wire = h11.Connection(h11.SERVER)
        reply = problem(refused.status, "UNSUPPORTED", HTTPStatus(refused.status).phrase)
        await self._write(wire, _head(reply, close=True), h11.Data(data=reply.raw), h11.EndOfMessage())

    async def _reply(self, request: ClientRequest) -> Reply:
        if request.method in _WRITES:
            return problem(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", "read only", Allow="GET, HEAD")
        if request.method not in _READS:
            return problem(HTTPStatus.NOT_IMPLEMENTED, "UNSUPPORTED", "no such method")
        if request.has_body:
            return problem(HTTPStatus.BAD_REQUEST, "UNSUPPORTED", "a request body is not allowed")
        wanted = request.range if request.method == "GET" else None
        try:
            return await _in_thread(answer, self._catalogue, request.target, wanted)
        except AirgapError as error:
            return self._unreadable(error)

    def _unreadable(self, error: AirgapError) -> Reply:
        self._log(f"error: {error}")
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "UNKNOWN", "the content cannot be read")

    async def _send(self, request: ClientRequest, reply: Reply) -> None:
        if reply.blob is not None:
            with contextlib.closing(reply.blob.stream):
                if request.method == "GET":
                    await self._send_blob(request, reply, reply.blob)
                    return
        body = [h11.Data(data=reply.raw)] if reply.raw and request.method != "HEAD" else []
        close = request.has_body or request.method not in _READS | _WRITES
        await self._write(request.wire, _head(reply, close=close), *body, h11.EndOfMessage())

    async def _send_blob(self, request: ClientRequest, reply: Reply, blob: Blob) -> None:
        """Send a blob. The head is sent after the first read, so that it can still become an error. After
        that, an error cuts the connection: a wrong blob is never completed.
        """
        buffer = memoryview(bytearray(min(_PIECE_BYTES, max(blob.length, 1))))
        try:
            count = await _in_thread(_fill, blob, buffer, blob.length)
        except AirgapError as error:
            await self._send(request, self._unreadable(error))
            return
        await self._write(request.wire, _head(reply, close=False))
        left = blob.length
        while left:
            await self._write(request.wire, h11.Data(data=bytes(buffer[:count])))
            left -= count
            count = await _in_thread(_fill, blob, buffer, left)
        await self._write(request.wire, h11.EndOfMessage())

    async def _write(self, wire: h11.Connection, *events: h11.Event) -> None:
        raw = b"".join(filter(None, map(wire.send, events)))
        self._writer.write(raw)
        async with asyncio.timeout(self._limits.seconds(len(raw))):
            await self._writer.drain()
        self._connection.progressed = asyncio.get_running_loop().time()

    async def _linger(self) -> None:
        """Read remaining bytes: closing with unread bytes would reset the connection, and the client might
        lose the answer.
        """
        self._connection.busy = False
        self._writer.write_eof()
        left = MAX_LINGER_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_LINGER_SECONDS):
                while left > 0 and (count := await self._reader.read(left)):
                    left -= len(count)


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """Read the lines up to the empty one; returns no bytes if the client closes instead. Raises
    `RefusedHeadError` as soon as a line ends wrongly or the head is too long.
    """
    raw = bytearray()
    while not raw.endswith(b"\r\n\r\n"):
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if raw else HTTPStatus.REQUEST_URI_TOO_LONG
            raise RefusedHeadError(status, bytes(raw)) from error
        except asyncio.IncompleteReadError as error:
            raw += error.partial
            if raw.strip():
                raise RefusedHeadError(HTTPStatus.BAD_REQUEST, bytes(raw)) from error
            return b""
        raw += line
        if not line.endswith(b"\r\n"):
            raise RefusedHeadError(HTTPStatus.BAD_REQUEST, bytes(raw))
        if len(raw) > MAX_REQUEST_HEAD_BYTES:
            raise RefusedHeadError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, bytes(raw))
    return bytes(raw.removeprefix(b"\r\n"))  # RFC 9112, 2.2: an empty line before a request is ignored


def _head(reply: Reply, *, close: bool) -> h11.Response:
    headers = {
        "Server": "airgap",
        "Date": formatdate(usegmt=True),
        "Docker-Distribution-Api-Version": "registry/2.0",
        **reply.headers,
        "Content-Length": str(reply.length),
        **({"Connection": "close"} if close else {}),
    }
    reason = HTTPStatus(reply.status).phrase
    return h11.Response(status_code=reply.status, headers=list(headers.items()), reason=reason)


async def _in_thread(work: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Return the result of `work`. Waits for it even if this task is cancelled: it uses an open stream."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _fill(blob: Blob, buffer: memoryview, left: int) -> int:
    if not left:
        return 0
    count = blob.stream.readinto(buffer[: min(left, len(buffer))])
    if not count:
        raise SizeMismatchError("content ends early", want=f"{left:,} bytes more")
    return count
