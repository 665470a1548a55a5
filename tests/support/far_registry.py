"""A way to a registry as over a long line: each direction is delayed, and each connection is paced.

with FarProxy(registry_port, round_trip=0.04, rate=25_000_000) as far:
    ...  # talk to far.host

`python -m tests.support.far_registry PORT` is such a line in a process of its own.
"""

import asyncio
import contextlib
import sys
import threading
from typing import Self

_CHUNK = 1 << 16


class FarProxy:
    """A TCP proxy on loopback, in a thread of its own."""

    def __init__(self, port: int, *, round_trip: float, rate: float) -> None:
        """`round_trip` is in seconds, `rate` in bytes a second for each connection and direction."""
        self._port = port
        self._delay = round_trip / 2
        self._rate = rate
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.connections = 0
        """How many were opened."""

    def __enter__(self) -> Self:
        self._thread.start()
        opening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(opening, self._loop).result()
        self.host = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.closing(writer), contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(2 * self._delay)  # the handshake
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
            with contextlib.closing(far_writer):
                await asyncio.gather(self._pipe(reader, far_writer), self._pipe(far_reader, writer))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bytes in order, each chunk `delay` later than it came, and no faster than `rate`."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)
        sender = asyncio.ensure_future(self._send(line, writer))
        free = 0.0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                now = self._loop.time()
                free = max(now, free) + len(data) / self._rate
                await line.put((free + self._delay, data))
        await line.put((0.0, b""))
        await sender

    async def _send(self, line: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                due, data = await line.get()
                if not data:
                    break
                await asyncio.sleep(max(due - self._loop.time(), 0))
                writer.write(data)
                await writer.drain()
        writer.close()


if __name__ == "__main__":
    with FarProxy(int(sys.argv[1]), round_trip=0.04, rate=25_000_000) as line:
        print(f"listening on {line.host}", flush=True)
        threading.Event().wait()
