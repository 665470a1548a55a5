"""The registry on the network: asyncio keeps the connections, h11 reads and writes HTTP/1.1; the limits and
the registry's answers are our own.

Complete servers were tried with their default settings, on loopback, and rejected. With 200 incomplete
requests, or 130 clients that do not read, waitress 3.0 and cheroot 11.1 no longer answer other clients, and
still hold all these connections after 25 s. uvicorn 0.54 and hypercorn 0.18 answer, but keep the clients that
do not read and have no limit for each client; uvicorn also keeps the incomplete requests. cheroot accepts a
space before a colon and two Content-Length headers, waitress and uvicorn accept a folded header, and all
three accept Content-Length together with Transfer-Encoding. Limiting them from outside would replace more of
their code than h11 (MIT, pure Python, without dependencies, the parser of uvicorn and httpx) leaves to write.
"""

import asyncio
import signal
import socket
import threading
from collections.abc import Sequence
from typing import Self

from airgap.endpoints.ports import NamedSource
from airgap.endpoints.server.catalogue import build_catalogue
from airgap.endpoints.server.exchange import Exchange, Log
from airgap.endpoints.server.slots import ClientConnection, ConnectionSlots, ServerLimits
from airgap.errors import AirgapError, EndpointError, describe_cause
from airgap.limits import MAX_REQUEST_HEAD_BYTES

_CLOSE_SECONDS = 5.0
_BACKLOG = 128
_TICK_SECONDS = 0.05
_MAX_PIECE_BYTES = 512 << 10
_BUFFER_BYTES = 24 << 20
"""The buffers of all connections together; shares are equal, so that no client is faster than another."""


class ImageServer:
    """Serves what `sources` hold, read only, without a login and in plain HTTP.

    Sources are read once at the start for their names and image manifests; blobs are read and checked when
    they are requested. A bundle must have been verified before. As a context manager it serves from its own
    thread; otherwise `serve_forever` serves until it is interrupted. `log` gets one line for each request and
    error. See `ServerLimits` for the limits.

    Raises what the sources raise, and `EndpointError` if the address is not available.
    """

    def __init__(
        self,
        sources: Sequence[NamedSource],
        bind: tuple[str, int] = ("127.0.0.1", 0),
        *,
        log: Log = lambda _line: None,
        idle_timeout: float = 60.0,
        max_connections: int = 256,
        stall_timeout: float = 3.0,
        min_rate: float = 10_000,
    ) -> None:
        self._catalogue = build_catalogue(sources)
        self._log = log
        self._limits = ServerLimits(max_connections, idle_timeout, stall_timeout, min_rate)
        self.repositories = tuple(sorted(self._catalogue.repositories))
        """The names under which images are served."""
        self.registries = self._catalogue.registries
        """The registries that the images are named after."""
        self.notes = self._catalogue.notes
        """One line for each image that is not served, with the reason."""
        try:
            self._listener = _listen(bind)
        except (OSError, OverflowError) as error:
            raise EndpointError(
                "cannot listen", subject=f"{bind[0]}:{bind[1]}", got=describe_cause(error)
            ) from error
        self._bound = self._listener.getsockname()[:2]
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """`HOST:PORT`, as in image names."""
        host, port = self._bound
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def serve_forever(self) -> None:
        """Serve in the main thread until SIGTERM or an exception, such as `KeyboardInterrupt`, then close. A
        handler of SIGTERM that raises is replaced meanwhile: Python drops an exception in a callback of the
        garbage collector, and the server would continue.
        """
        before = signal.signal(signal.SIGTERM, lambda *_: self._stopped.set())
        try:
            asyncio.run(self._serve())
        finally:
            signal.signal(signal.SIGTERM, before)
            self.close()

    def close(self) -> None:
        """Stop listening, cut all connections, and wait for them to end. May be called twice."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._listener.close()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _serve(self) -> None:
        slots = ConnectionSlots(self._limits, asyncio.get_running_loop().time)
        server = await asyncio.start_server(
            lambda reader, writer: self._start(slots, reader, writer),
            sock=self._listener,
            limit=MAX_REQUEST_HEAD_BYTES,
        )
        try:
            while not self._stopped.is_set():
                await asyncio.sleep(_TICK_SECONDS)
                slots.admit()  # a reader may have stalled meanwhile
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_CLOSE_SECONDS)

    def _start(
        self, slots: ConnectionSlots, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.get_running_loop().create_task(self._connected(slots, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log(f"error: {describe_cause(error)}; connection cut")

    async def _connected(
        self, slots: ConnectionSlots, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        peer = writer.get_extra_info("peername") or ("",)
        cut = task.cancel if task else writer.transport.abort
        pending = writer.transport.get_write_buffer_size
        connection = ClientConnection(peer[0], cut, pending, self._piece_bytes)
        try:
            slots.arrive(connection)
            async with asyncio.timeout(self._limits.idle_timeout):
                await connection.admitted.wait()
            await Exchange(self._catalogue, self._limits, connection, (reader, writer), self._log).run()
        except TimeoutError:
            self._log_cut(connection, "took the answer too slowly")
        except asyncio.CancelledError:
            self._log_cut(connection, "stopped, or stalled while others wait")
        except AirgapError as error:
            self._log(f"error: {error}; connection cut")
        except OSError as error:
            self._log(f"{connection.host} error: {describe_cause(error)}; connection cut")
        finally:
            slots.leave(connection)
            writer.transport.abort()

    def _piece_bytes(self) -> int:
        return min(_MAX_PIECE_BYTES, _BUFFER_BYTES // (2 * len(self._tasks)))

    def _log_cut(self, connection: ClientConnection, why: str) -> None:
        if connection.busy:  # one that waits for a request is closed without a log line
            self._log(f"{connection.host} error: {why}; connection cut")


def _listen(bind: tuple[str, int]) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in bind[0] else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(bind)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
