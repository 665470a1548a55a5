"""Who gets a slot: no sockets, and a clock that stands where the test puts it."""

import pytest

from airgap.endpoints.server.slots import ClientConnection, ConnectionSlots, ServerLimits, client_of


class Room:
    """Slots with a clock, and connections that note that they were cut."""

    def __init__(self, connections: int) -> None:
        self.now = 100.0
        self.cut: list[ClientConnection] = []
        limits = ServerLimits(connections, idle_timeout=60, stall_timeout=5, min_rate=1000)
        self.slots = ConnectionSlots(limits, lambda: self.now)

    def come(self, host: str = "192.0.2.1", *, busy: bool = False) -> ClientConnection:
        connection = ClientConnection(host, lambda: self.cut.append(connection))
        self.slots.arrive(connection)
        connection.busy = busy
        return connection


def served(*connections: ClientConnection) -> list[bool]:
    return [each.admitted.is_set() for each in connections]


def test_many_half_requests_keep_no_slot():
    room = Room(128)
    halves = [room.come() for _ in range(1000)]
    assert all(served(*halves))
    assert room.come().admitted.is_set()
    assert room.cut == halves[: 1001 - 64]


def test_one_client_has_half_of_the_slots():
    room = Room(128)
    readers = [room.come(busy=True) for _ in range(130)]
    assert served(*readers) == [True] * 64 + [False] * 66
    assert room.come("192.0.2.2").admitted.is_set()
    assert not room.cut


def test_readers_that_do_not_read_give_way():
    room = Room(8)
    readers = [room.come(busy=True) for _ in range(4)]
    last = room.come()
    room.now += 4.9
    readers[2].progressed = room.now
    room.slots.admit()
    assert not last.admitted.is_set()
    room.now += 0.2
    room.slots.admit()
    assert last.admitted.is_set()
    assert room.cut == readers[:1]


def test_readers_that_read_are_left_alone():
    room = Room(8)
    readers = [room.come(busy=True) for _ in range(4)]
    last = room.come()
    for _ in range(20):
        room.now += 4
        for each in readers:
            each.progressed = room.now
        room.slots.admit()
    assert not room.cut
    room.slots.leave(readers[0])
    assert last.admitted.is_set()


def test_a_slow_reader_that_reads_is_left_alone():
    room = Room(2)
    slow = room.come(busy=True)
    slow.pending = iter(range(1000, 0, -1)).__next__
    last = room.come()
    for _ in range(20):
        room.now += 4
        room.slots.admit()
    assert not room.cut
    slow.pending = lambda: 7
    room.slots.admit()
    room.now += 6
    room.slots.admit()
    assert room.cut == [slow]
    assert last.admitted.is_set()


def test_the_client_that_holds_most_gives_way():
    room = Room(8)
    small = [room.come("192.0.2.2") for _ in range(3)]
    room.now += 1
    large = [room.come("192.0.2.1") for _ in range(4)]
    third = room.come("192.0.2.3")
    assert not room.cut
    fourth = room.come("192.0.2.4")
    assert room.cut == large[:1]
    assert all(served(*small, third, fourth))


def test_who_holds_fewest_is_next():
    room = Room(4)
    held = [room.come("192.0.2.1", busy=True) for _ in range(2)]
    held += [room.come("192.0.2.2", busy=True) for _ in range(2)]
    greedy, modest = room.come("192.0.2.1", busy=True), room.come("192.0.2.3", busy=True)
    assert served(greedy, modest) == [False, False]
    room.slots.leave(held[0])
    assert served(greedy, modest) == [False, True]


def test_the_places_to_wait_are_bounded():
    room = Room(4)
    for host in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"):
        room.come(host, busy=True)
    flood = [room.come("192.0.2.1") for _ in range(50)]
    other = room.come("192.0.2.3")
    assert len(room.cut) == 51 - 4
    assert other not in room.cut
    assert set(room.cut) < set(flood)


def test_leaving_twice_frees_one_slot():
    room = Room(2)
    first, _second = room.come("192.0.2.1", busy=True), room.come("192.0.2.2", busy=True)
    waiting = [room.come("192.0.2.3", busy=True), room.come("192.0.2.4", busy=True)]
    room.slots.leave(first)
    room.slots.leave(first)
    assert served(*waiting) == [True, False]


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_clients(host: str, client: str):
    assert client_of(host) == client


def test_the_time_for_an_answer_grows_with_it():
    limits = ServerLimits(4, idle_timeout=60, stall_timeout=5, min_rate=10_000)
    assert limits.seconds(0) == 60
    assert limits.seconds(5_000_000_000) == 60 + 500_000
