"""Uploads that break and go on, and blobs that are mounted."""

import io
from collections.abc import Callable, Iterator

import pytest

from airgap.endpoints.logins import Credentials
from airgap.endpoints.registry import Registry
from airgap.errors import (
    AirgapError,
    DigestMismatchError,
    EndpointError,
    MediaError,
    SizeMismatchError,
    UnavailableError,
)
from airgap.oci.digest import ByteStream, CheckedReader, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from tests.support.registry import FakeRegistry
from tests.unit.endpoints.registry_support import (
    BLOB,
    BLOB_DESCRIPTOR,
    Clock,
    Logins,
    client,
    filled,
    named,
)
from tests.unit.endpoints.test_registry_push import BIG, BIG_DESCRIPTOR, KEY, Broken

SIZE = len(BIG)
PART = 1_200_000
ALICE = Credentials("alice", "secret")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


class Opener:
    """Opens the content, and notes where, and what was closed."""

    def __init__(self, content: bytes = BIG) -> None:
        self.content = content
        self.offsets: list[int] = []
        self.streams: list[CheckedReader] = []

    def __call__(self, offset: int) -> ByteStream:
        self.offsets.append(offset)
        stream = CheckedReader(io.BytesIO(self.content), BIG_DESCRIPTOR.digest, SIZE)
        stream.read(offset)
        self.streams.append(stream)
        return stream


def upload(
    fake: FakeRegistry, open_at: Callable[[int], ByteStream] | None = None, **options: object
) -> Opener:
    opener = Opener()
    client(fake, **options).upload(named(fake), BIG_DESCRIPTOR, open_at or opener)
    return opener


def sent(fake: FakeRegistry) -> list[str]:
    return [request.method for request in fake.requests]


def test_the_first_try_is_one_request(fake: FakeRegistry) -> None:
    opener = upload(fake)
    assert fake.blobs[KEY] == BIG
    assert sent(fake) == ["POST", "PUT"]
    assert opener.offsets == [0]
    assert opener.streams[0].closed


def test_an_empty_blob(fake: FakeRegistry) -> None:
    empty = Descriptor("application/x", Digest.of(b""), 0)
    client(fake, upload_chunk=10).upload(named(fake), empty, lambda _: io.BytesIO())
    assert fake.blobs["acme/api", empty.digest] == b""


def test_a_broken_upload_resumes_at_the_registrys_offset(fake: FakeRegistry) -> None:
    fake.fault(method="PUT", take=PART, times=1)
    clock = Clock()
    opener = upload(fake, sleep=clock.sleep)
    assert fake.blobs[KEY] == BIG
    assert sent(fake) == ["POST", "PUT", "GET", "PATCH", "PUT"]
    assert opener.offsets == [0, PART]
    assert all(stream.closed for stream in opener.streams)
    (patch,) = fake.asked("PATCH")
    assert patch.headers["content-range"] == f"{PART}-{SIZE - 1}"
    assert patch.headers["content-length"] == str(SIZE - PART)
    assert fake.requests[-1].headers["content-length"] == "0"
    assert len(clock.slept) == 1


def test_it_may_break_often(fake: FakeRegistry) -> None:
    fake.fault(method="PUT", take=1_000_000, times=1)
    fake.fault(method="PATCH", take=800_000, times=3)
    opener = upload(fake, retries=1)
    assert fake.blobs[KEY] == BIG
    assert opener.offsets == [0, 1_000_000, 1_800_000, 2_600_000, 3_400_000]


def test_without_progress_it_ends(fake: FakeRegistry) -> None:
    fake.fault(method="PUT", take=PART, times=1)
    fake.fault(method="PATCH", take=0)
    clock = Clock()
    with pytest.raises(UnavailableError, match=f"upload of {BIG_DESCRIPTOR.digest}"):
        upload(fake, retries=2, sleep=clock.sleep)
    assert len(fake.asked("PATCH")) == 3
    assert KEY not in fake.blobs


def test_an_upload_that_the_registry_dropped_starts_again(fake: FakeRegistry) -> None:
    fake.uploads.forgets = True  # as docker-registry 2.8
    fake.fault(method="PUT", take=PART, times=2)
    opener = upload(fake)
    assert fake.blobs[KEY] == BIG
    assert opener.offsets == [0, 0, 0]
    assert sent(fake) == ["POST", "PUT"] + ["GET", "HEAD", "POST", "PUT"] * 2


def test_one_that_is_given_up_between_chunks_too(fake: FakeRegistry) -> None:
    fake.fault(method="PATCH", skip=1, status=404, times=1)
    fake.fault(method="GET", status=404)
    opener = upload(fake, upload_chunk=1_000_000)
    assert fake.blobs[KEY] == BIG
    assert opener.offsets == [0, 0]
    assert len(fake.asked("POST")) == 2


def test_a_registry_that_does_not_come_back(fake: FakeRegistry) -> None:
    fake.fault(method="PUT", take=PART, times=1)
    fake.fault(method="GET", status=503)
    with pytest.raises(UnavailableError, match="HTTP 503"):
        upload(fake, retries=2)
    assert sent(fake) == ["POST", "PUT", "GET", "GET", "GET"]


def test_a_lost_answer_does_not_repeat_the_upload(fake: FakeRegistry) -> None:
    fake.fault(method="PUT", status=503, times=1)  # and yet it is done
    opener = upload(fake)
    assert opener.offsets == [0]
    assert sent(fake) == ["POST", "PUT", "GET", "HEAD"]


def test_the_commit_is_asked_for_again(fake: FakeRegistry) -> None:
    fake.fault(method="PUT", drop_at=-1, times=2)
    opener = upload(fake, upload_chunk=2_000_000)
    assert fake.blobs[KEY] == BIG
    assert sent(fake) == ["POST", "PATCH", "PATCH", "PUT", "PUT", "PUT"]
    assert opener.offsets == [0]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_registry_is_waited_for(fake: FakeRegistry, status: int) -> None:
    clock = Clock()
    fake.fault(method="PUT", status=status, body=b"", headers={"retry-after": "9"}, times=1)
    fake.fault(method="HEAD", status=404, times=1)
    upload(fake, sleep=clock.sleep)
    assert clock.slept == [9]
    assert fake.blobs[KEY] == BIG


def test_a_login_that_runs_out_in_the_middle(fake: FakeRegistry) -> None:
    tokens = fake.require_bearer({"alice": "secret"})
    registry = client(fake, credentials=Logins(ALICE))
    opener = Opener()

    def open_late(offset: int) -> ByteStream:
        if not opener.offsets:
            tokens.good.clear()
        return opener(offset)

    registry.upload(named(fake), BIG_DESCRIPTOR, open_late)
    assert fake.blobs[KEY] == BIG
    assert tokens.issued == 2


def test_chunks_for_proxies_with_a_limit(fake: FakeRegistry) -> None:
    upload(fake, upload_chunk=1_000_000)
    assert fake.blobs[KEY] == BIG
    sizes = [request.headers["content-length"] for request in fake.asked("PATCH")]
    assert sizes == ["1000000", "1000000", "1000000", "500000"]


def test_a_stream_in_chunks(fake: FakeRegistry) -> None:
    client(fake, upload_chunk=1_500_000).put_blob(named(fake), BIG_DESCRIPTOR, Opener()(0))
    assert fake.blobs[KEY] == BIG
    assert len(fake.asked("PATCH")) == 3


def test_chunks_go_where_the_registry_says(fake: FakeRegistry) -> None:
    location = f"{fake.url}/v2/acme/api/blobs/uploads/1?state=a/b&step=2"
    fake.fault(method="PATCH", headers={"location": location}, times=1)
    fake.fault(method="PATCH", headers={"location": None}, times=1)
    upload(fake, upload_chunk=1_500_000)
    assert fake.blobs[KEY] == BIG
    assert ["step=2" in request.path for request in fake.requests] == [False, False, True, True, False]


def test_a_chunk_that_is_out_of_order_is_put_right(fake: FakeRegistry) -> None:
    fake.fault(method="PATCH", skip=1, status=416, times=1)  # it was taken all the same
    opener = upload(fake, upload_chunk=1_000_000)
    assert fake.blobs[KEY] == BIG
    assert opener.offsets == [0, 2_000_000]


@pytest.mark.parametrize("found", [None, "", "0-0", "5-9", "0-3500000", "x", "bytes=0-", "0--1"])
def test_an_impossible_offset_starts_the_upload_again(fake: FakeRegistry, found: str | None) -> None:
    fake.fault(method="PUT", take=PART, times=1)
    fake.fault(method="GET", headers={"range": found})
    opener = upload(fake)
    assert fake.blobs[KEY] == BIG
    assert opener.offsets == [0, 0]


def test_a_registry_that_claims_more_than_it_has(fake: FakeRegistry) -> None:
    fake.fault(method="PUT", take=PART, times=1)
    fake.fault(method="GET", headers={"range": f"0-{SIZE - 1}"})
    with pytest.raises(EndpointError, match="DIGEST_INVALID"):
        upload(fake)
    assert KEY not in fake.blobs


@pytest.mark.parametrize(
    ("rule", "error", "text"),
    [
        ({"method": "POST", "status": 404}, EndpointError, "HTTP 404"),
        ({"method": "PUT", "status": 413}, EndpointError, "HTTP 413"),
        ({"method": "PUT", "status": 400}, EndpointError, "HTTP 400"),
        ({"method": "PUT", "headers": {"docker-content-digest": str(Digest.of(b"x"))}}, DigestMismatchError,
         "a different digest"),
        ({"method": "POST", "headers": {"location": "ftp://x/"}}, EndpointError, "usable address"),
    ],
)  # fmt: skip
def test_what_is_not_tried_again(
    fake: FakeRegistry, rule: dict[str, object], error: type[AirgapError], text: str
) -> None:
    fake.fault(**rule)
    with pytest.raises(error, match=text):
        upload(fake)
    assert len(fake.asked(str(rule["method"]))) == 1


@pytest.mark.parametrize(
    "error", [MediaError("unplugged"), DigestMismatchError("wrong"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("options", [{}, {"upload_chunk": 300_000}])
def test_an_error_of_the_stream_ends_the_upload(
    fake: FakeRegistry, error: BaseException, options: dict[str, object]
) -> None:
    with pytest.raises(type(error)) as caught:
        upload(fake, lambda _: Broken(1_000_000, error), **options)
    assert caught.value is error
    assert KEY not in fake.blobs
    assert not fake.asked("GET")


@pytest.mark.parametrize("content", [BIG[:-1], BIG + b"x", b""])
@pytest.mark.parametrize("chunk", [0, 1_000_000])
def test_a_stream_of_another_size(fake: FakeRegistry, content: bytes, chunk: int) -> None:
    with pytest.raises(SizeMismatchError):
        upload(fake, lambda _: io.BytesIO(content), upload_chunk=chunk, read_timeout=5)
    assert KEY not in fake.blobs


def other(fake: FakeRegistry) -> ImageReference:
    return ImageReference.parse(f"{fake.host}/acme/web:1.0")


def put(registry: Registry, reference: ImageReference) -> None:
    registry.put_blob(reference, BLOB_DESCRIPTOR, io.BytesIO(BLOB))


def held(registry: Registry, fake: FakeRegistry) -> None:
    filled(fake)
    assert registry.holds(named(fake), BLOB_DESCRIPTOR)


def was_put(registry: Registry, fake: FakeRegistry) -> None:
    put(registry, named(fake))


def was_uploaded(registry: Registry, fake: FakeRegistry) -> None:
    registry.upload(named(fake), BLOB_DESCRIPTOR, lambda _: io.BytesIO(BLOB))


@pytest.mark.parametrize("before", [held, was_put, was_uploaded])
def test_what_another_repository_has_is_mounted(
    fake: FakeRegistry, before: Callable[[Registry, FakeRegistry], None]
) -> None:
    registry = client(fake)
    before(registry, fake)
    fake.requests.clear()
    registry.put_blob(other(fake), BLOB_DESCRIPTOR, Broken(0, AssertionError("read")))
    assert fake.blobs["acme/web", BLOB_DESCRIPTOR.digest] == BLOB
    (post,) = fake.requests
    assert post.query == {"mount": [str(BLOB_DESCRIPTOR.digest)], "from": ["acme/api"]}


def test_upload_mounts_too(fake: FakeRegistry) -> None:
    registry = client(fake, prefix="team")
    put(registry, named(fake))
    registry.upload(other(fake), BLOB_DESCRIPTOR, lambda _: Broken(0, AssertionError("opened")))
    assert fake.blobs["team/acme/web", BLOB_DESCRIPTOR.digest] == BLOB
    assert len(fake.asked("PUT")) == 1


def test_the_same_repository_is_not_mounted_from(fake: FakeRegistry) -> None:
    registry = client(fake)
    put(registry, named(fake))
    put(registry, named(fake, ":2.0"))
    assert len(fake.asked("PUT")) == 2


@pytest.mark.parametrize("status", [400, 403, 404, 405])
def test_a_mount_that_is_refused_is_an_upload(fake: FakeRegistry, status: int) -> None:
    registry = client(fake)
    put(registry, named(fake))
    fake.fault(method="POST", path="mount=", status=status)
    put(registry, other(fake))
    assert fake.blobs["acme/web", BLOB_DESCRIPTOR.digest] == BLOB
    assert len(fake.asked("PUT")) == 2


def test_a_mount_that_is_not_made_is_the_start_of_an_upload(fake: FakeRegistry) -> None:
    fake.uploads.mounts = False
    registry = client(fake)
    put(registry, named(fake))
    put(registry, other(fake))
    assert fake.blobs["acme/web", BLOB_DESCRIPTOR.digest] == BLOB
    assert sent(fake) == ["POST", "PUT"] * 2


def test_a_mount_is_asked_for_when_the_registry_is_well(fake: FakeRegistry) -> None:
    registry = client(fake, retries=1)
    put(registry, named(fake))
    fake.fault(method="POST", status=503, times=1)
    put(registry, other(fake))
    assert len(fake.asked("PUT")) == 1
    fake.fault(method="POST", status=503)
    with pytest.raises(UnavailableError):
        put(registry, ImageReference.parse(f"{fake.host}/acme/third:1"))


def test_a_mount_needs_leave_for_both_repositories(fake: FakeRegistry) -> None:
    tokens = fake.require_bearer({"alice": "secret"})
    registry = client(fake, credentials=Logins(ALICE))
    put(registry, named(fake))
    put(registry, other(fake))
    assert len(fake.asked("PUT")) == 1
    assert list(tokens.good.values())[-1] == "repository:acme/web:pull,push repository:acme/api:pull"
    (asked,) = fake.asked("GET", "/token.*web")
    assert asked.query["scope"] == ["repository:acme/web:pull,push", "repository:acme/api:pull"]


def test_a_mount_with_an_identity_token(fake: FakeRegistry) -> None:
    fake.require_bearer(refresh_tokens={"refresh"})
    registry = client(fake, credentials=Logins(Credentials("", identity_token="refresh")))
    put(registry, named(fake))
    put(registry, other(fake))
    assert len(fake.asked("PUT")) == 1


@pytest.mark.parametrize("mounts", [True, False])
def test_mount_by_name(fake: FakeRegistry, *, mounts: bool) -> None:
    filled(fake).uploads.mounts = mounts
    registry = client(fake)
    assert registry.mount(other(fake), BLOB_DESCRIPTOR, named(fake)) is mounts
    assert (("acme/web", BLOB_DESCRIPTOR.digest) in fake.blobs) is mounts
    missing = Descriptor("application/x", Digest.of(b"missing"), 7)
    assert not registry.mount(other(fake), missing, named(fake))


def test_a_mount_of_something_else(fake: FakeRegistry) -> None:
    filled(fake)
    fake.fault(method="POST", headers={"docker-content-digest": str(Digest.of(b"x"))})
    with pytest.raises(DigestMismatchError):
        client(fake).mount(other(fake), BLOB_DESCRIPTOR, named(fake))
