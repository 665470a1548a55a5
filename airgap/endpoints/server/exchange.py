"""One connection: requests, one after the other, and their answers, each within its time limit."""

import asyncio
import contextlib
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

import h11

from airgap.endpoints.server.api import Blob, Reply, answer, problem
from airgap.endpoints.server.catalogue import Catalogue
from airgap.endpoints.server.head import ClientRequest, RefusedHeadError, parse_head
from airgap.endpoints.server.slots import ClientConnection, ServerLimits
from airgap.errors import AirgapError, RecalledError, SizeMismatchError, printable
from airgap.limits import MAX_LINGER_BYTES, MAX_LINGER_SECONDS, MAX_REQUEST_HEAD_BYTES
from airgap.oci.digest import fill

Log = Callable[[str], None]

_NOTHING = memoryview(b"")
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
        reply, first = await self._reply(request)
        try:
            self._log(f"{self._connection.host} {printable(request.line[:_SHOWN])} {reply.status}")
            async with asyncio.timeout(self._limits.seconds(reply.length)):
                await self._send(request, reply, first)
        finally:
            if reply.blob is not None:
                reply.blob.stream.close()
        return request.wire.our_state is h11.DONE and request.wire.their_state is h11.DONE

    async def _refuse(self, refused: RefusedHeadError) -> None:
        self._log(f"{self._connection.host} {printable(refused.line[:_SHOWN])} {refused.status}")
        wire = h11.Connection(h11.SERVER)
        reply = problem(refused.status, "UNSUPPORTED", HTTPStatus(refused.status).phrase)
        await self._write(
            _frame(wire, _head(reply, close=True), h11.Data(data=reply.raw), h11.EndOfMessage())
        )

    async def _reply(self, request: ClientRequest) -> tuple[Reply, memoryview]:
        """Return the reply, and the first piece of its blob."""
        if request.method in _WRITES:
            return problem(
                HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", "read only", Allow="GET, HEAD"
            ), _NOTHING
        if request.method not in _READS:
            return problem(HTTPStatus.NOT_IMPLEMENTED, "UNSUPPORTED", "no such method"), _NOTHING
        if request.has_body:
            return problem(HTTPStatus.BAD_REQUEST, "UNSUPPORTED", "a request body is not allowed"), _NOTHING
        try:
            return await _prepared(self._catalogue, request, self._connection.piece_bytes())
        except RecalledError as error:
            self._log(f"error: {error}")
            return problem(HTTPStatus.FORBIDDEN, "DENIED", "the bundle is recalled"), _NOTHING
        except AirgapError as error:
            self._log(f"error: {error}")
            why = "the content cannot be read"
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "UNKNOWN", why), _NOTHING

    async def _send(self, request: ClientRequest, reply: Reply, first: memoryview) -> None:
        """Send the reply, which begins with the piece `first` if it has a blob. Once the head is sent, an
        error cuts the connection: a wrong blob is never completed.
        """
        close = request.has_body or request.method not in _READS | _WRITES
        head, blob = _head(reply, close=close), reply.blob
        if blob is not None and request.method == "GET":
            await self._send_blob(request.wire, head, blob, first)
        else:
            body = [h11.Data(data=reply.raw)] if reply.raw and request.method != "HEAD" else []
            await self._write(_frame(request.wire, head, *body))
        request.wire.send(h11.EndOfMessage())  # no bytes follow a body whose length was announced

    async def _send_blob(
        self, wire: h11.Connection, head: h11.Response, blob: Blob, first: memoryview
    ) -> None:
        """Send a blob piece by piece; while one is sent, a thread reads and checks the next."""
        left = blob.length - len(first)
        used, spare = first, memoryview(bytearray(min(len(first), left)))
        raw: bytes | memoryview = _frame(wire, head, h11.Data(data=first))  # type: ignore[arg-type]  # any buffer will do
        while left:
            size = min(left, len(spare), self._connection.piece_bytes())
            ahead = asyncio.ensure_future(asyncio.to_thread(_fill, blob, spare[:size]))
            try:
                await self._write(raw)
            finally:
                await asyncio.wait([ahead])  # even after an error: the thread uses the stream
                ahead.exception()
            used, spare, raw = spare, used, ahead.result()
            left -= len(raw)
            wire.send_with_data_passthrough(h11.Data(data=raw))  # type: ignore[arg-type]  # h11 counts them
        await self._write(raw)

    async def _write(self, raw: bytes | memoryview) -> None:
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


def _frame(wire: h11.Connection, *events: h11.Event) -> bytes:
    return b"".join(filter(None, map(wire.send, events)))


async def _prepared(
    catalogue: Catalogue, request: ClientRequest, piece_bytes: int
) -> tuple[Reply, memoryview]:
    """Make the reply in a thread, with the first piece of its blob. Waits for the thread even if this task is
    cancelled, and closes what it has opened.
    """
    task = asyncio.ensure_future(asyncio.to_thread(_prepare, catalogue, request, piece_bytes))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if task.exception() is None and (blob := task.result()[0].blob) is not None:
            blob.stream.close()
        raise


def _prepare(catalogue: Catalogue, request: ClientRequest, piece_bytes: int) -> tuple[Reply, memoryview]:
    """Make the reply to GET or HEAD. The first piece of a blob is read here, as its error can still be the
    answer.
    """
    wanted = request.range if request.method == "GET" else None
    reply = answer(catalogue, request.target, wanted)
    if reply.blob is None or request.method == "HEAD":
        return reply, _NOTHING
    try:
        return reply, _fill(reply.blob, memoryview(bytearray(min(piece_bytes, reply.blob.length))))
    except BaseException:
        reply.blob.stream.close()
        raise


def _fill(blob: Blob, buffer: memoryview) -> memoryview:
    """Read the next piece of a blob, of the buffer's size."""
    if count := len(buffer) - fill(blob.stream, buffer):
        raise SizeMismatchError("content ends early", want=f"{count:,} bytes more")
    return buffer
