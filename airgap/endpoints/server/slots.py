"""Chooses the connections to serve if there are more than can be served at a time. No I/O.

A slot is given first to the client with the fewest slots, so that many connections from one address cannot
exclude another. A connection that waits for a request gives way at once to one that waits for a slot, and so
does a reader that has read no bytes for `stall_timeout`: the oldest of the client with the most slots first.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import field

from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The limits of connections. Times are in seconds, and `min_rate` is in bytes a second."""

    connections: int
    """Connections served at a time, at most half of them for one client. The same number may wait for a slot;
    further ones are closed. Each takes two file descriptors at most, and a process usually has 1,024.
    """
    idle_timeout: float
    """The limit for the whole head of a request, including the wait for its first byte; for the wait for a
    slot; and for each piece of an answer, in addition to its time at `min_rate`.
    """
    stall_timeout: float
    """A reader without progress for this long gives way if others wait."""
    min_rate: float
    """An answer may take `idle_timeout` and the time of its bytes at this rate: 5 GB take six days."""

    @property
    def per_client(self) -> int:
        """Connections of one client that are served at a time."""
        return max(1, self.connections // 2)

    def seconds(self, size: int) -> float:
        """Return the time within which `size` bytes must have been read."""
        return self.idle_timeout + size / self.min_rate


@dataclass(eq=False, slots=True)
class ClientConnection:
    """One connection, with what decides about its slot."""

    host: str
    cut: Callable[[], object]
    """Called if the connection loses its slot, or does not get one."""
    pending: Callable[[], int] = int
    """Returns the bytes of the answer that wait for the reader: as long as the number changes, it reads."""
    piece_bytes: Callable[[], int] = lambda: 256 << 10
    """Returns how much of a blob is read and sent at a time; an answer has two buffers of this size."""
    admitted: asyncio.Event = field(default_factory=asyncio.Event)
    busy: bool = False
    """True if a request is being answered."""
    progressed: float = 0.0
    client: str = field(init=False)
    _seen: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.client = client_of(self.host)

    def update_progress(self, now: float) -> None:
        """Record whether the reader has made progress since the last call."""
        if (pending := self.pending()) != self._seen:
            self._seen, self.progressed = pending, now


class ConnectionSlots:
    """The connections that are served, and those that wait; for one event loop."""

    def __init__(self, limits: ServerLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._served: list[ClientConnection] = []
        self._waiting: list[ClientConnection] = []

    def arrive(self, connection: ClientConnection) -> None:
        """Give a connection a slot, now or later. If too many wait, the client with the most waiting ones
        loses one.
        """
        connection.progressed = self._clock()
        self._waiting.append(connection)
        self.admit()
        if len(self._waiting) > self._limits.connections:
            count = Counter(waiting.client for waiting in self._waiting)
            last = max(reversed(self._waiting), key=lambda waiting: count[waiting.client])
            self._waiting.remove(last)
            last.cut()

    def leave(self, connection: ClientConnection) -> None:
        """Remove a connection that has ended; idempotent."""
        for group in (self._served, self._waiting):
            if connection in group:
                group.remove(connection)
        self.admit()

    def admit(self) -> None:
        """Give slots to waiting connections, as long as there are free slots or others must give way."""
        held = Counter(connection.client for connection in self._served)
        for connection in sorted(self._waiting, key=lambda waiting: held[waiting.client]):
            own = connection.client
            if held[own] >= self._limits.per_client:
                if not self._give_way(held, own):
                    continue
            elif len(self._served) >= self._limits.connections and not self._give_way(held):
                return
            self._waiting.remove(connection)
            self._served.append(connection)
            held[own] += 1
            connection.progressed = self._clock()
            connection.admitted.set()

    def _give_way(self, held: Counter[str], client: str | None = None) -> bool:
        """Take a slot from a connection that may lose it, of `client` if one is given; return False if there
        is none.
        """
        now = self._clock()
        for connection in self._served:
            connection.update_progress(now)
        since = now - self._limits.stall_timeout
        candidates = [
            connection
            for connection in self._served
            if client in (None, connection.client) and (not connection.busy or connection.progressed <= since)
        ]
        if not candidates:
            return False
        victim = min(
            candidates,
            key=lambda connection: (-held[connection.client], connection.busy, connection.progressed),
        )
        self._served.remove(victim)
        held[victim.client] -= 1
        victim.cut()
        return True


def client_of(host: str) -> str:
    """Return the client of an address: an IPv4 address, or the /64 from which an IPv6 host chooses its
    addresses. Connections without a known address, as they have already closed, count as one client.
    """
    if not host:
        return ""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)
