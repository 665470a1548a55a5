"""Large blobs over several connections: what is requested, and registries whose ranges lie or fail."""

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from airgap.endpoints.logins import Credentials
from airgap.endpoints.registry import Registry
from airgap.endpoints.registry.pieces import PieceConnections
from airgap.errors import AccessDeniedError, AirgapError, NotFoundError, UnavailableError
from airgap.oci.digest import CheckedReader, copy
from tests.support.registry import Answer, FakeRegistry, Fault
from tests.support.registry_parts import Request, content
from tests.support.waits import wait_until
from tests.unit.endpoints.registry_support import (
    BLOB,
    BLOB_DESCRIPTOR,
    Clock,
    Logins,
    client,
    drain,
    filled,
    named,
)

SIZE = len(BLOB)
PIECE = 5000
ALL = [f"bytes={start}-{start + PIECE - 1}" for start in range(0, SIZE, PIECE)]
THIRD = ALL[2]
GET = {"method": "GET", "path": "/blobs/|/storage/"}


@dataclass
class PieceFault(Fault):
    """A fault of the answers to one range."""

    range: str = THIRD

    def takes(self, request: Request) -> bool:
        return request.headers.get("range") == self.range and super().takes(request)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


@pytest.fixture
def storage(fake: FakeRegistry) -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake.storage:
        yield fake.storage


def spoil(fake: FakeRegistry, **rule: object) -> None:
    fake.faults.append(PieceFault(**{**GET, **rule}))  # type: ignore[arg-type]


def in_pieces(fake: FakeRegistry, **options: object) -> Registry:
    return client(fake, **{"piece_size": PIECE, "fast_rate": math.inf, **options})


def fetched(fake: FakeRegistry, offset: int = 0, **options: object) -> bytes:
    return drain(in_pieces(fake, **options).open_blob(named(fake), BLOB_DESCRIPTOR, offset))


def ranges(fake: FakeRegistry) -> list[str | None]:
    return [request.headers.get("range") for request in fake.asked("GET", "/blobs/|/storage/")]


def test_each_piece_is_requested_once(fake: FakeRegistry) -> None:
    assert fetched(fake) == BLOB
    assert sorted(map(str, ranges(fake))) == sorted(ALL)


@pytest.mark.parametrize("offset", [1, PIECE, SIZE - 4 * PIECE])
def test_a_download_resumes_in_pieces(fake: FakeRegistry, offset: int) -> None:
    assert fetched(fake, offset) == BLOB[offset:]
    assert f"bytes={offset}-{offset + PIECE - 1}" in ranges(fake)


@pytest.mark.parametrize(
    ("offset", "options"),
    [(SIZE - 4 * PIECE + 1, {}), (0, {"piece_size": SIZE}), (0, {"piece_connections": 1})],
)
def test_one_connection_is_enough(fake: FakeRegistry, offset: int, options: dict[str, int]) -> None:
    assert fetched(fake, offset, **options) == BLOB[offset:]
    assert ranges(fake) == [f"bytes={offset}-" if offset else None]


def test_pieces_wait_for_the_reader(fake: FakeRegistry) -> None:
    with closing(in_pieces(fake, piece_connections=3).open_blob(named(fake), BLOB_DESCRIPTOR)) as stream:
        assert stream.readinto(memoryview(bytearray(10))) == 10
        wait_until(lambda: len(ranges(fake)) == 3, "three requests")
    assert sorted(map(str, ranges(fake))) == sorted(ALL[:3])


def test_a_registry_without_ranges_is_asked_once(fake: FakeRegistry) -> None:
    fake.fault(**GET, ignore_range=True)
    registry = in_pieces(fake)
    for _ in range(2):
        assert drain(registry.open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert ranges(fake) == [ALL[0], None, None]


def chunked(body: bytes) -> dict[str, object]:
    body = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    return {"body": body, "headers": {"transfer-encoding": "chunked", "content-length": None}}


PART = BLOB[2 * PIECE : 3 * PIECE]
LIES: dict[str, dict[str, object]] = {
    "everything": {"ignore_range": True},
    "another status": {"status": 416},
    "no longer supported": {"status": 501},
    "no range": {"headers": {"content-range": None}},
    "shifted": {"headers": {"content-range": "bytes 10001-15000/50000"}},
    "overlapping": {"headers": {"content-range": "bytes 9999-14999/50000"}},
    "to the end": {"headers": {"content-range": "bytes 10000-49999/50000"}},
    "another total": {"headers": {"content-range": "bytes 10000-14999/50001"}},
    "not a range": {"headers": {"content-range": "bytes 10000-1e4/*"}},
    "several": {"headers": {"content-type": "multipart/byteranges; boundary=x", "content-range": None}},
    "compressed": {"headers": {"content-encoding": "gzip"}},
    "another version": {"headers": {"etag": '"2"'}},
    "another digest": {"headers": {"docker-content-digest": f"sha256:{'0' * 64}"}},
    "short": {"body": PART[:-1], "headers": {"content-length": str(PIECE - 1)}},
    "long": {"body": PART + b"x", "headers": {"content-length": str(PIECE + 1)}},
    "short in chunks": chunked(PART[:-1]),
    "long in chunks": chunked(PART + b"x"),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_after_a_wrong_range_the_rest_comes_over_one_connection(
    fake: FakeRegistry, lie: dict[str, object]
) -> None:
    spoil(fake, **lie)
    registry = in_pieces(fake)
    assert drain(registry.open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert "bytes=10000-" in ranges(fake)
    assert drain(registry.open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert ranges(fake).count(None) == ranges(fake).count(ALL[0]) == 1


FIRST = [
    name
    for name in LIES
    if name not in ("another version", "another digest", "short in chunks", "long in chunks")
]


@pytest.mark.parametrize("name", FIRST)
def test_after_a_wrong_first_range_one_connection_is_used(fake: FakeRegistry, name: str) -> None:
    spoil(fake, range=ALL[0], **LIES[name])
    assert fetched(fake) == BLOB
    assert ranges(fake) == [ALL[0], None]


def test_a_registry_that_gives_up_ranges_sends_everything(fake: FakeRegistry) -> None:
    """All that precedes is skipped, however much it is."""
    spoil(fake, range="bytes=10000-", ignore_range=True)
    spoil(fake, ignore_range=True)
    assert fetched(fake, max_skip=1) == BLOB


def test_a_piece_with_other_bytes_is_detected(fake: FakeRegistry) -> None:
    spoil(fake, body=bytes(PIECE))
    with (
        closing(in_pieces(fake).open_blob(named(fake), BLOB_DESCRIPTOR)) as stream,
        pytest.raises(AirgapError, match="wrong digest"),
    ):
        copy(CheckedReader(stream, BLOB_DESCRIPTOR.digest, SIZE), len)


@pytest.mark.parametrize("rule", [{"drop_at": 1234}, {"stall_at": 1234}], ids=["cut", "silence"])
def test_a_broken_piece_resumes_by_itself(fake: FakeRegistry, rule: dict[str, int]) -> None:
    spoil(fake, **rule, times=1)
    assert fetched(fake, read_timeout=1) == BLOB
    assert sorted(map(str, ranges(fake))) == sorted([*ALL, "bytes=11234-14999"])


@pytest.mark.parametrize("status", [429, 503])
def test_a_registry_that_asks_for_a_pause_gets_it(fake: FakeRegistry, status: int) -> None:
    clock = Clock()
    spoil(fake, status=status, headers={"retry-after": "7"}, times=1)
    assert fetched(fake, sleep=clock.sleep, clock=lambda: 0.0) == BLOB
    assert 7 in clock.slept
    assert ranges(fake).count(THIRD) == 2
    assert len(ranges(fake)) == len(ALL) + 1


def test_a_registry_may_refuse_further_connections(fake: FakeRegistry) -> None:
    for number in range(1, len(ALL)):
        spoil(fake, range=ALL[number], status=503)
    assert fetched(fake, retries=1) == BLOB
    assert f"bytes={PIECE}-" in ranges(fake)


FINAL: list[tuple[dict[str, object], type[AirgapError], str]] = [
    ({"status": 404}, NotFoundError, "HTTP 404"),
    ({"status": 403}, AccessDeniedError, "HTTP 403"),
    ({"stall_at": 100}, UnavailableError, "timed out"),
    ({"status": 429, "headers": {"retry-after": "4000"}}, UnavailableError, "too long a wait"),
]


@pytest.mark.parametrize(("rule", "error", "text"), FINAL)
def test_other_failures_of_a_piece_are_final(
    fake: FakeRegistry, rule: dict[str, object], error: type[AirgapError], text: str
) -> None:
    spoil(fake, **rule)
    spoil(fake, range="bytes=10100-14999", stall_at=0)
    stream = in_pieces(fake, read_timeout=0.2, retries=1).open_blob(named(fake), BLOB_DESCRIPTOR)
    with pytest.raises(error, match=text):
        drain(stream)
    assert "bytes=10000-" not in ranges(fake)
    with pytest.raises(UnavailableError, match="closed"):
        stream.readinto(memoryview(bytearray(1)))


@pytest.mark.parametrize(("status", "error"), [(404, NotFoundError), (403, AccessDeniedError)])
def test_a_refusal_is_not_taken_for_a_lack_of_ranges(
    fake: FakeRegistry, status: int, error: type[AirgapError]
) -> None:
    fake.fault(**GET, status=status, times=1)
    registry = in_pieces(fake)
    with pytest.raises(error):
        registry.open_blob(named(fake), BLOB_DESCRIPTOR)
    assert drain(registry.open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert None not in ranges(fake)


def test_a_link_to_storage_is_used_for_all_pieces(fake: FakeRegistry, storage: FakeRegistry) -> None:
    fake.require_bearer({"u": "p"})
    assert fetched(fake, credentials=Logins(Credentials("u", "p"))) == BLOB
    assert len(fake.asked("GET", "/blobs/")) == 2  # the first one asks for a login
    assert sorted(map(str, ranges(storage))) == sorted(ALL)
    assert all("authorization" not in request.headers for request in storage.requests)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_an_expired_link_is_asked_for_again(fake: FakeRegistry, storage: FakeRegistry, status: int) -> None:
    spoil(storage, status=status, times=1)
    assert fetched(fake) == BLOB
    assert ranges(fake)[0] == ALL[0]
    assert THIRD in ranges(fake)
    assert None not in ranges(storage)
    assert "bytes=10000-" not in ranges(storage)


def test_storage_that_refuses_ranges_serves_one_connection(fake: FakeRegistry, storage: FakeRegistry) -> None:
    spoil(storage, range=ALL[0], status=403)
    assert fetched(fake) == BLOB
    assert ranges(storage) == [ALL[0], None]


def test_after_a_mirror_the_registry_resumes(fake: FakeRegistry) -> None:
    with FakeRegistry() as near:
        filled(near)
        spoil(near, status=404)
        assert fetched(fake, mirrors=(near.host,)) == BLOB
    assert f"bytes={2 * PIECE}-{3 * PIECE - 1}" in ranges(fake)
    assert ALL[0] not in ranges(fake)


def test_leaving_early_lets_others_use_the_connections(fake: FakeRegistry) -> None:
    registry = in_pieces(fake, piece_connections=2)
    with closing(registry.open_blob(named(fake), BLOB_DESCRIPTOR)):
        assert drain(registry.open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
        assert ranges(fake) == [ALL[0], None]  # two connections are for one blob
    assert drain(registry.open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert ranges(fake).count(None) == 1


def test_a_change_in_the_middle_is_detected(fake: FakeRegistry) -> None:
    """The whole blob is another one after the first piece."""
    other = bytes(SIZE)

    def changed(request: Request) -> Answer | None:
        later = request.headers.get("range") not in (None, ALL[0])
        return content(other, {"etag": '"2"'}) if later and "/blobs/" in request.path else None

    fake.habits.append(changed)
    stream = in_pieces(fake).open_blob(named(fake), BLOB_DESCRIPTOR)
    with closing(stream), pytest.raises(AirgapError, match="wrong digest"):
        copy(CheckedReader(stream, BLOB_DESCRIPTOR.digest, SIZE), len)


def takes(connections: PieceConnections, own: int) -> Callable[[], None] | None:
    buffer = connections.take(own)
    return None if buffer is None else lambda: connections.give_back(buffer)


def test_connections_are_divided_evenly() -> None:
    connections = PieceConnections(4, 10)
    assert not connections.join(39)
    assert connections.join(40)
    given = [takes(connections, own) for own in range(4)]
    assert all(given)
    assert takes(connections, 4) is None
    assert connections.join(40)
    assert not connections.join(40)
    assert takes(connections, 0), "the second one does not wait for the first"
    assert takes(connections, 1) is None
    for give_back in filter(None, given[:3]):
        give_back()
    assert takes(connections, 1)
    assert takes(connections, 2) is None
    connections.leave()
    assert takes(connections, 2)
    connections.stop()
    assert not connections.join(40)
    assert takes(connections, 1) is None
    assert takes(connections, 0), "one that has begun ends"
