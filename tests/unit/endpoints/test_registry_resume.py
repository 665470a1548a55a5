"""Downloads that break and go on inside one stream."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from airgap.endpoints.logins import Credentials
from airgap.errors import AccessDeniedError, AirgapError, EndpointError, NotFoundError, UnavailableError
from airgap.oci.digest import CheckedReader, Digest, copy
from airgap.oci.documents import OCI_LAYER_GZIP, Descriptor
from tests.support.images import noise
from tests.support.registry import FakeRegistry
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
BIG = noise(600_000, 5)
BIG_DESCRIPTOR = Descriptor(OCI_LAYER_GZIP, Digest.of(BIG), len(BIG))
GET = {"method": "GET", "path": "/blobs/"}


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


@pytest.fixture
def storage(fake: FakeRegistry) -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake.storage:
        yield fake.storage


def ranges(fake: FakeRegistry) -> list[str | None]:
    return [r.headers.get("range") for r in fake.asked("GET", "/blobs/|/storage/")]


@pytest.mark.parametrize("drop_at", [0, 1, 12_345, SIZE - 1])
@pytest.mark.parametrize("offset", [0, 100])
def test_a_broken_connection_is_taken_up_again(fake: FakeRegistry, drop_at: int, offset: int) -> None:
    fake.fault(**GET, drop_at=drop_at, times=1)
    clock = Clock()
    stream = client(fake, sleep=clock.sleep).open_blob(named(fake), BLOB_DESCRIPTOR, offset)
    assert drain(stream) == BLOB[offset:]
    if offset + drop_at < SIZE:
        assert len(clock.slept) == 1
        start = offset + drop_at
        assert ranges(fake)[1] == (f"bytes={start}-" if start else None)


def test_received_bytes_are_not_fetched_twice(fake: FakeRegistry) -> None:
    for _ in range(4):
        fake.fault(**GET, drop_at=10_000, times=1)
    assert drain(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert ranges(fake) == [None, *(f"bytes={n}0000-" for n in (1, 2, 3, 4))]


@pytest.mark.parametrize("stall_at", [4096, 20_000])
def test_silence_breaks_a_connection_too(fake: FakeRegistry, stall_at: int) -> None:
    fake.fault(**GET, stall_at=stall_at, times=1)
    stream = client(fake, read_timeout=1).open_blob(named(fake), BLOB_DESCRIPTOR)
    assert drain(stream) == BLOB
    assert ranges(fake) == [None, f"bytes={stall_at}-"]


def test_progress_is_worth_new_patience(fake: FakeRegistry) -> None:
    fake.blobs["acme/api", BIG_DESCRIPTOR.digest] = BIG
    fake.fault(**GET, drop_at=70_000)
    assert drain(client(fake, retries=1).open_blob(named(fake), BIG_DESCRIPTOR)) == BIG
    assert len(ranges(fake)) == 9


def test_a_trickle_is_not_progress(fake: FakeRegistry) -> None:
    fake.blobs["acme/api", BIG_DESCRIPTOR.digest] = BIG
    fake.fault(**GET, drop_at=10_000)
    clock = Clock()
    stream = client(fake, retries=3, sleep=clock.sleep).open_blob(named(fake), BIG_DESCRIPTOR)
    with pytest.raises(UnavailableError, match="the connection broke"):
        drain(stream)
    assert len(ranges(fake)) == 4
    assert [low <= slept <= 2 * low for low, slept in zip((0.25, 0.5, 1), clock.slept, strict=True)]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_registry_is_waited_for(fake: FakeRegistry, status: int) -> None:
    clock = Clock()
    fake.fault(**GET, drop_at=1000, times=1)
    fake.fault(**GET, status=status, headers={"retry-after": "7"}, times=2)
    assert drain(client(fake, sleep=clock.sleep).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert clock.slept[1:] == [7, 7]


def test_a_token_that_runs_out_in_the_middle_is_renewed(fake: FakeRegistry) -> None:
    tokens = fake.require_bearer({"u": "p"})
    fake.fault(**GET, skip=1, drop_at=1000, times=1)
    stream = client(fake, credentials=Logins(Credentials("u", "p"))).open_blob(named(fake), BLOB_DESCRIPTOR)
    tokens.good.clear()
    assert drain(stream) == BLOB
    assert tokens.issued == 2


def test_a_login_that_is_taken_away_ends_it(fake: FakeRegistry) -> None:
    tokens = fake.require_bearer({"u": "p"})
    fake.fault(**GET, skip=1, drop_at=1000, times=1)
    stream = client(fake, credentials=Logins(Credentials("u", "p"))).open_blob(named(fake), BLOB_DESCRIPTOR)
    tokens.good.clear()
    tokens.users.clear()
    with pytest.raises(AccessDeniedError):
        drain(stream)


def test_a_link_to_storage_that_has_run_out_is_asked_for_again(
    fake: FakeRegistry, storage: FakeRegistry
) -> None:
    storage.fault(drop_at=1000, times=1)
    storage.fault(status=403, times=2)
    assert drain(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert len(fake.asked("GET", "/blobs/")) == 4
    assert ranges(storage) == [None, *["bytes=1000-"] * 3]
    assert all("authorization" not in request.headers for request in storage.requests)


def test_storage_that_refuses_for_good(fake: FakeRegistry, storage: FakeRegistry) -> None:
    storage.fault(drop_at=1000, times=1)
    storage.fault(status=403)
    with pytest.raises(UnavailableError, match=r"access denied: .*redirected to 127\.0\.0\.1") as caught:
        drain(client(fake, retries=2).open_blob(named(fake), BLOB_DESCRIPTOR))
    assert "signature" not in str(caught.value)
    assert len(storage.requests) == 3


def test_without_ranges_a_short_way_is_gone_twice(fake: FakeRegistry) -> None:
    fake.fault(**GET, drop_at=40_000, times=1)
    fake.fault(**GET, ignore_range=True, times=1, drop_at=20_000)
    fake.fault(**GET, ignore_range=True)
    assert drain(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB


def test_without_ranges_a_long_way_is_not(fake: FakeRegistry) -> None:
    fake.fault(**GET, drop_at=40_000, times=1)
    fake.fault(**GET, ignore_range=True)
    stream = client(fake, max_skip=39_999).open_blob(named(fake), BLOB_DESCRIPTOR)
    with pytest.raises(UnavailableError, match=r"cannot resume a download: .* got 40,000 bytes"):
        drain(stream)
    assert len(ranges(fake)) == 2


AFTERWARDS = [
    # the answer to the second request, the error, what its text holds
    ({"headers": {"content-range": "bytes 999-49999/50000"}}, EndpointError, "got bytes 999-"),
    ({"headers": {"content-range": "bytes 1000-49999/50001"}}, EndpointError, "want bytes 1000-49999/50000"),
    ({"headers": {"content-range": None}}, EndpointError, "got HTTP 206"),
    ({"status": 416}, EndpointError, "cannot resume the download"),
    ({"status": 404}, NotFoundError, "HTTP 404"),
    ({"status": 403}, AccessDeniedError, "HTTP 403"),
    ({"status": 200, "ignore_range": True, "body": b"short"}, EndpointError, "995 bytes missing"),
    ({"status": 302, "headers": {"location": "ftp://127.0.0.1/"}}, EndpointError, "usable address"),
]


@pytest.mark.parametrize(("rule", "error", "text"), AFTERWARDS)
def test_downloads_that_cannot_resume(
    fake: FakeRegistry, rule: dict[str, object], error: type[AirgapError], text: str
) -> None:
    fake.fault(**GET, drop_at=1000, times=1)
    fake.fault(**GET, **rule)
    stream = client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)
    with pytest.raises(error) as caught:
        drain(stream)
    assert type(caught.value) is error
    assert text in str(caught.value)
    assert len(ranges(fake)) == 2
    with pytest.raises(UnavailableError, match="closed"):
        stream.readinto(memoryview(bytearray(1)))


def test_other_content_after_the_break_is_seen(fake: FakeRegistry) -> None:
    fake.fault(**GET, drop_at=1000, times=1)
    fake.fault(**GET, body=bytes(SIZE - 1000))
    stream = client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)
    with pytest.raises(AirgapError, match="wrong digest"), closing(stream):
        copy(CheckedReader(stream, BLOB_DESCRIPTOR.digest, SIZE), len)


def test_a_message_without_its_end_is_enough(fake: FakeRegistry) -> None:
    body = b"c350\r\n" + BLOB + b"\r\n"  # the last, empty chunk never comes
    headers = {"transfer-encoding": "chunked", "content-length": None}
    fake.fault(**GET, body=body, headers=headers, drop_at=len(body))
    stream = client(fake, retries=0).open_blob(named(fake), BLOB_DESCRIPTOR)
    assert drain(stream) == BLOB
    assert len(ranges(fake)) == 1


def test_a_chunked_message_is_taken_up_again(fake: FakeRegistry) -> None:
    body = b"c350\r\n" + BLOB
    headers = {"transfer-encoding": "chunked", "content-length": None}
    fake.fault(**GET, body=body, headers=headers, drop_at=6 + 12_345, times=1)
    assert drain(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert ranges(fake) == [None, "bytes=12345-"]


def test_leaving_early_asks_no_more(fake: FakeRegistry) -> None:
    fake.fault(**GET, drop_at=1000, times=1)
    stream = client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)
    assert stream.readinto(memoryview(bytearray(500))) == 500
    stream.close()
    stream.close()
    assert len(ranges(fake)) == 1
