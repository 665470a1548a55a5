"""Who is served when more connections come than are served at a time. No I/O.

A slot is given first to the client that holds fewest, so that many connections from one address do not keep
another out. A connection that waits for a request gives way at once to one that waits for a slot, and a
reader that has taken nothing for `stall_timeout` gives way too, the oldest of the client with most first.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Of connections, in number and in time: in seconds, `min_rate` in bytes a second."""

    connections: int
    """Served at a time, of one client at most half of them; as many may wait for a slot, and the others are
    closed. Each takes two file descriptors at most, and a process usually has 1,024.
    """
    idle_timeout: float
    """For the whole head of a request, the time before its first byte included; for the wait for a slot; and
    for each piece of an answer, besides the time that `min_rate` gives it.
    """
    stall_timeout: float
    """Without progress for so long, a reader gives way when others wait."""
    min_rate: float
    """An answer may take `idle_timeout` and the time of its bytes at this rate: 5 GB take six days."""

    @property
    def per_client(self) -> int:
        """Connections of one client that are served at a time."""
        return max(1, self.connections // 2)

    def seconds(self, size: int) -> float:
        """The longest time in which `size` bytes must have been taken."""
        return self.idle_timeout + size / self.min_rate


@dataclass(eq=False, slots=True)
class Connection:
    """One connection, as far as its right to a slot is concerned."""

    host: str
    cut: Callable[[], object]
    """Called when the connection loses its slot, or gets none."""
    pending: Callable[[], int] = int
    """Bytes of the answer that wait for the reader: as long as they change, it reads."""
    admitted: asyncio.Event = field(default_factory=asyncio.Event)
    busy: bool = False
    """True if there is a request that is being answered."""
    progressed: float = 0.0
    client: str = field(init=False)
    _seen: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.client = client_of(self.host)

    def look(self, now: float) -> None:
        """Note whether the reader has taken something since the last look."""
        if (pending := self.pending()) != self._seen:
            self._seen, self.progressed = pending, now


class Slots:
    """The connections that are served, and those that wait; for one event loop."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._served: list[Connection] = []
        self._waiting: list[Connection] = []

    def arrive(self, connection: Connection) -> None:
        """Give it a slot, now or later. Without room to wait, the client with most that wait loses one."""
        connection.progressed = self._clock()
        self._waiting.append(connection)
        self.admit()
        if len(self._waiting) > self._limits.connections:
            count = Counter(each.client for each in self._waiting)
            last = max(reversed(self._waiting), key=lambda each: count[each.client])
            self._waiting.remove(last)
            last.cut()

    def leave(self, connection: Connection) -> None:
        """The connection has ended; idempotent."""
        for group in (self._served, self._waiting):
            if connection in group:
                group.remove(connection)
        self.admit()

    def admit(self) -> None:
        """Give slots to those who wait, as far as there are any or others must give way."""
        held = Counter(each.client for each in self._served)
        for connection in sorted(self._waiting, key=lambda each: held[each.client]):
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
        """Take the slot of one that may lose it, of `client` where one is given; False without such."""
        now = self._clock()
        for each in self._served:
            each.look(now)
        since = now - self._limits.stall_timeout
        found = [
            each
            for each in self._served
            if client in (None, each.client) and (not each.busy or each.progressed <= since)
        ]
        if not found:
            return False
        victim = min(found, key=lambda each: (-held[each.client], each.busy, each.progressed))
        self._served.remove(victim)
        held[victim.client] -= 1
        victim.cut()
        return True


def client_of(host: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that an IPv6 host chooses its addresses from.
    All whose address is not known, as they have gone already, are one.
    """
    if not host:
        return ""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)
