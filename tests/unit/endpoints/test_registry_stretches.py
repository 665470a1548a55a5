"""Large blobs from fast registries: one connection as long as it is fast, and stretches that lie or fail."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from airgap.endpoints.registry import Registry
from airgap.errors import AirgapError, NotFoundError, UnavailableError
from airgap.oci.digest import CheckedReader, copy, read_up_to
from tests.support.registry import Answer, FakeRegistry
from tests.support.registry_parts import Request, content
from tests.support.waits import wait_until
from tests.unit.endpoints.registry_support import (
    BLOB,
    BLOB_DESCRIPTOR,
    Clock,
    client,
    drain,
    filled,
    named,
)

SIZE = len(BLOB)
PIECE = 2000
FIRST = "bytes=0-1999"
SECOND = "bytes=2000-41999"
THIRD = "bytes=42000-49999"
"""What follows two stretches: the first is a piece, and each other one as long as twenty."""


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


def near(fake: FakeRegistry, **options: object) -> Registry:
    """Time stands still unless a test moves its clock, so that every connection is fast."""
    return client(fake, **{"piece_size": PIECE, "piece_connections": 4, **options})


def ranges(fake: FakeRegistry) -> list[str | None]:
    return [request.headers.get("range") for request in fake.asked("GET", "/blobs/")]


def spoil(fake: FakeRegistry, **rule: object) -> None:
    """Let the answer to the second stretch be another one."""
    fake.fault(method="GET", path="/blobs/", skip=1, times=1, **rule)


def test_a_fast_connection_is_asked_for_one_stretch_after_the_other(fake: FakeRegistry) -> None:
    assert drain(near(fake).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert ranges(fake) == [FIRST, SECOND, THIRD]


def test_a_fast_download_resumes(fake: FakeRegistry) -> None:
    assert drain(near(fake).open_blob(named(fake), BLOB_DESCRIPTOR, 8000)) == BLOB[8000:]
    assert ranges(fake) == ["bytes=8000-9999", "bytes=10000-49999"]


class Waits(Clock):
    """A clock on which a read takes `seconds`, and other work no time."""

    seconds = 0.0

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


def test_a_connection_that_becomes_slow_gets_help(fake: FakeRegistry) -> None:
    clock = Waits()
    with closing(near(fake, clock=clock).open_blob(named(fake), BLOB_DESCRIPTOR)) as stream:
        begun = read_up_to(stream, 5000)
        assert ranges(fake) == [FIRST, SECOND]
        clock.seconds = 1.0
        begun += read_up_to(stream, 2000)
        begun += read_up_to(stream, 10)
        wait_until(lambda: len(ranges(fake)) == 5, "three pieces")
        clock.seconds = 0.0
        assert begun + read_up_to(stream, SIZE) == BLOB
    pieces = [f"bytes={start}-{start + PIECE - 1}" for start in range(42_000, SIZE, PIECE)]
    assert sorted(map(str, ranges(fake)[2:])) == pieces


def test_time_before_the_first_byte_does_not_count(fake: FakeRegistry) -> None:
    """The way to a fast registry may be long."""
    clock = Clock()

    def late(_: Request) -> None:
        clock.now += 60

    fake.habits.append(late)
    assert drain(near(fake, clock=clock).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert ranges(fake) == [FIRST, SECOND, THIRD]


def test_a_reader_that_is_busy_gets_no_help(fake: FakeRegistry) -> None:
    clock = Clock()
    with closing(near(fake, clock=clock).open_blob(named(fake), BLOB_DESCRIPTOR)) as stream:
        found = b""
        while chunk := read_up_to(stream, 500):
            found += chunk
            clock.now += 60
    assert found == BLOB
    assert ranges(fake) == [FIRST, SECOND, THIRD]


LIES: dict[str, dict[str, object]] = {
    "everything": {"ignore_range": True},
    "another status": {"status": 416},
    "shifted": {"headers": {"content-range": "bytes 2001-42000/50000"}},
    "another total": {"headers": {"content-range": "bytes 2000-41999/50001"}},
    "another version": {"headers": {"etag": '"2"'}},
    "short": {"body": BLOB[2000:41_999], "headers": {"content-length": "39999"}},
    "long": {"body": BLOB[2000:42_001], "headers": {"content-length": "40001"}},
    "long in chunks": {
        "body": b"9c41\r\n" + BLOB[2000:42_001] + b"\r\n0\r\n\r\n",
        "headers": {"transfer-encoding": "chunked", "content-length": None},
    },
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_after_a_wrong_stretch_the_rest_is_requested_without_an_end(
    fake: FakeRegistry, lie: dict[str, object]
) -> None:
    spoil(fake, **lie)
    assert drain(near(fake).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    [rest] = ranges(fake)[2:]
    assert rest is not None
    assert rest.endswith("-")


@pytest.mark.parametrize("rule", [{"drop_at": 1234}, {"stall_at": 1234}], ids=["cut", "silence"])
def test_a_broken_stretch_resumes(fake: FakeRegistry, rule: dict[str, int]) -> None:
    spoil(fake, **rule)
    assert drain(near(fake, read_timeout=1).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert ranges(fake)[:3] == [FIRST, SECOND, "bytes=3234-41999"]


def test_a_lost_blob_is_final(fake: FakeRegistry) -> None:
    spoil(fake, status=404)
    stream = near(fake).open_blob(named(fake), BLOB_DESCRIPTOR)
    with pytest.raises(NotFoundError):
        drain(stream)
    with pytest.raises(UnavailableError, match="closed"):
        stream.readinto(memoryview(bytearray(1)))
    assert len(ranges(fake)) == 2


def test_other_bytes_are_detected(fake: FakeRegistry) -> None:
    spoil(fake, body=bytes(40_000))
    refused(fake)


def test_a_change_of_the_object_is_detected(fake: FakeRegistry) -> None:
    """All of it is another one after the first stretch, also for who asks without a range's end."""

    def changed(request: Request) -> Answer | None:
        later = request.headers.get("range") not in (None, FIRST)
        return content(bytes(SIZE), {"etag": '"2"'}) if later and "/blobs/" in request.path else None

    fake.habits.append(changed)
    refused(fake)


def refused(fake: FakeRegistry) -> None:
    stream = near(fake).open_blob(named(fake), BLOB_DESCRIPTOR)
    with closing(stream), pytest.raises(AirgapError, match="wrong digest"):
        copy(CheckedReader(stream, BLOB_DESCRIPTOR.digest, SIZE), len)
