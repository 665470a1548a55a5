"""The registry on the network: asyncio keeps the connections, h11 reads and writes HTTP/1.1; the limits and
the registry's answers are our own.

Complete servers were attacked with their default settings, on loopback. After 200 half requests, or 130
readers that do not read, waitress 3.0 and cheroot 11.1 answer no other client, and still hold all of them
after 25 s. uvicorn 0.54 and hypercorn 0.18 answer; both keep the readers and have no limit by client, uvicorn
the half requests too. cheroot takes a space before a colon and two lengths, waitress and uvicorn a folded
header, all three CL beside TE. Bounding them from outside replaces more of their insides than h11 (MIT, pure
Python, without dependencies, the parser of uvicorn and httpx) leaves to do.
"""

import asyncio
import socket
import threading

from airgap.endpoints.server.catalogue import Catalogue
from airgap.endpoints.server.exchange import Exchange, Log
from airgap.endpoints.server.head import MAX_HEAD
from airgap.endpoints.server.slots import Connection, Limits, Slots
from airgap.errors import AirgapError, describe_cause

_CLOSE_SECONDS = 5.0
_BACKLOG = 128
_TICK = 0.05


class HttpServer:
    """Answers from `catalogue` at `bind`. Raises `OSError` and `OverflowError` if that address is not
    available.
    """

    def __init__(self, bind: tuple[str, int], catalogue: Catalogue, log: Log, limits: Limits) -> None:
        self._listener = _listen(bind)
        self.host, self.port = self._listener.getsockname()[:2]
        self._catalogue = catalogue
        self._log = log
        self._limits = limits
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = threading.Event()

    def run(self) -> None:
        """Serve until `stop` is called or an exception is raised, then cut all connections."""
        asyncio.run(self._serve())

    def stop(self) -> None:
        """Make `run` return; from any thread. Without `run`, stop listening."""
        self._stopped.set()

    def close(self) -> None:
        """Stop listening; idempotent."""
        self._listener.close()

    async def _serve(self) -> None:
        slots = Slots(self._limits, asyncio.get_running_loop().time)
        server = await asyncio.start_server(
            lambda reader, writer: self._start(slots, reader, writer), sock=self._listener, limit=MAX_HEAD
        )
        try:
            while not self._stopped.is_set():
                await asyncio.sleep(_TICK)
                slots.admit()  # a reader may have stalled meanwhile
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_CLOSE_SECONDS)

    def _start(self, slots: Slots, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._connected(slots, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log(f"error: {describe_cause(error)}; connection cut")

    async def _connected(
        self, slots: Slots, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        peer = writer.get_extra_info("peername") or ("",)
        cut = task.cancel if task else writer.transport.abort
        connection = Connection(peer[0], cut, writer.transport.get_write_buffer_size)
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

    def _log_cut(self, connection: Connection, why: str) -> None:
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
