import io
from collections.abc import Iterator

import pytest

from airgap.endpoints.logins import Credentials
from airgap.errors import (
    AirgapError,
    DigestMismatchError,
    EndpointError,
    MediaError,
    NotFoundError,
    SizeMismatchError,
    UnavailableError,
)
from airgap.oci.digest import CheckedReader, Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from tests.support.images import noise
from tests.support.registry import FakeRegistry
from tests.unit.endpoints.registry_support import BLOB, BLOB_DESCRIPTOR, IMAGE, Logins, client, filled, named

BIG = noise(3_500_000, 3)
BIG_DESCRIPTOR = Descriptor("application/x", Digest.of(BIG), len(BIG))
KEY = ("acme/api", BIG_DESCRIPTOR.digest)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def put(fake: FakeRegistry, content: bytes = BIG, **options: object) -> None:
    stream = CheckedReader(io.BytesIO(content), BIG_DESCRIPTOR.digest, BIG_DESCRIPTOR.size)
    client(fake, **options).put_blob(named(fake), BIG_DESCRIPTOR, stream)


def test_put_blob(fake: FakeRegistry) -> None:
    put(fake)
    assert fake.blobs[KEY] == BIG
    post, request = fake.requests
    assert (post.method, post.path) == ("POST", "/v2/acme/api/blobs/uploads/")
    assert request.headers["content-length"] == str(len(BIG))
    assert request.path.count("?") == 1


def test_put_an_empty_blob(fake: FakeRegistry) -> None:
    empty = Descriptor("application/x", Digest.of(b""), 0)
    client(fake).put_blob(named(fake), empty, CheckedReader(io.BytesIO(), empty.digest, 0))
    assert fake.blobs["acme/api", empty.digest] == b""


@pytest.mark.parametrize("form", ["{url}/v2/acme/api/blobs/uploads/1?state=a/b", "1?state=a%2Fb"])
def test_an_upload_goes_where_the_registry_says(fake: FakeRegistry, form: str) -> None:
    fake.fault(method="POST", headers={"location": form.format(url=fake.url)})
    put(fake)
    assert fake.blobs[KEY] == BIG


def test_a_prefix_goes_before_the_repository(fake: FakeRegistry) -> None:
    put(fake, prefix="mirror/team")
    assert ("mirror/team/acme/api", BIG_DESCRIPTOR.digest) in fake.blobs


LOCATIONS = [
    (None, "got no address"),
    ("ftp://127.0.0.1/x", "got ftp:"),
    ("http://user:secret@127.0.0.1/x", "usable address"),
    ("http://[::1/x", "usable address"),
    ("http://127.0.0.1:99999/x", "usable address"),
    ("http://127.0.0.1:0/x", "usable address"),
    ("/v2/a b", "usable address"),
    ("http://registry.example/x", "plain HTTP, which is refused"),
]


@pytest.mark.parametrize(("location", "text"), LOCATIONS)
def test_a_bad_upload_location(fake: FakeRegistry, location: str | None, text: str) -> None:
    fake.fault(method="POST", headers={"location": location})
    with pytest.raises(EndpointError) as caught:
        put(fake)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not fake.asked("PUT")


def test_a_login_does_not_go_to_another_upload_host(fake: FakeRegistry) -> None:
    fake.require_basic("u", "p")
    with FakeRegistry() as other:
        fake.fault(
            method="POST",
            skip=1,
            headers={"location": f"{other.url}/v2/acme/api/blobs/uploads/1?state=a%2Fb"},
        )
        put(fake, credentials=Logins(Credentials("u", "p")), trusted_hosts=(other.host,))
        assert other.blobs[KEY] == BIG
        assert "authorization" not in other.requests[0].headers
    assert "authorization" in fake.requests[-1].headers


ANSWERS = [
    ({"method": "POST", "status": 200}, EndpointError, "HTTP 200"),
    ({"method": "POST", "status": 404}, NotFoundError, "HTTP 404"),
    ({"method": "POST", "status": 307, "headers": {"location": "/x"}}, EndpointError, "HTTP 307"),
    ({"method": "PUT", "status": 202}, EndpointError, "HTTP 202"),
    ({"method": "PUT", "status": 413}, EndpointError, "HTTP 413"),
    ({"method": "PUT", "headers": {"docker-content-digest": str(Digest.of(b"x"))}}, DigestMismatchError,
     str(Digest.of(b"x"))),
    ({"method": "PUT", "headers": {"docker-content-digest": "md5:1"}}, EndpointError, "the registry sent an invalid digest"),
    ({"method": "PUT", "status": 503}, UnavailableError, "HTTP 503"),
    ({"method": "PUT", "drop_at": -1}, UnavailableError, "cannot reach"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "error", "text"), ANSWERS)
def test_answers_to_an_upload(
    fake: FakeRegistry, rule: dict[str, object], error: type[AirgapError], text: str
) -> None:
    fake.fault(**rule)
    with pytest.raises(error) as caught:
        put(fake)
    assert text in str(caught.value)
    assert f"upload of {BIG_DESCRIPTOR.digest}" in str(caught.value)
    assert len(fake.asked("PUT")) <= 1  # a stream is sent once


def test_an_upload_is_not_started_while_the_registry_is_busy(fake: FakeRegistry) -> None:
    fake.fault(method="POST", status=503, times=2)
    put(fake)
    assert len(fake.asked("POST")) == 3
    assert fake.blobs[KEY] == BIG


class Broken(io.RawIOBase):
    """Gives `good` bytes, then raises."""

    def __init__(self, good: int, error: BaseException) -> None:
        super().__init__()
        self._left = good
        self._error = error

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self._left == 0:
            raise self._error
        got = min(self._left, len(buffer))
        self._left -= got
        return got


@pytest.mark.parametrize("good", [0, 1000, 2_000_000])
@pytest.mark.parametrize(
    "error",
    [
        MediaError("unplugged"), DigestMismatchError("wrong digest"), OSError(5, "I/O"), BrokenPipeError(32, "x"),
        ConnectionResetError(104, "x"), TimeoutError(), KeyboardInterrupt(), UnavailableError("again"),
    ],
)  # fmt: skip
def test_what_the_stream_raises_passes_unchanged(fake: FakeRegistry, good: int, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        client(fake, read_timeout=5).put_blob(named(fake), BIG_DESCRIPTOR, Broken(good, error))
    assert caught.value is error
    assert caught.value.__cause__ is None
    assert KEY not in fake.blobs


@pytest.mark.parametrize(
    ("content", "got"), [(BIG[:-1], "3,499,999 bytes"), (BIG + b"x", "more"), (b"", "0")]
)
def test_a_plain_stream_of_another_size(fake: FakeRegistry, content: bytes, got: str) -> None:
    with pytest.raises(SizeMismatchError, match=got):
        client(fake, read_timeout=5).put_blob(named(fake), BIG_DESCRIPTOR, io.BytesIO(content))
    assert KEY not in fake.blobs


def test_wrong_content_is_cut_before_its_last_byte(fake: FakeRegistry) -> None:
    with pytest.raises(DigestMismatchError, match="wrong digest"):
        put(fake, bytes(len(BIG)))
    assert KEY not in fake.blobs
    assert all(len(request.body) < len(BIG) for request in fake.asked("PUT"))


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ({}, True),
        ({"status": 404}, False),
        ({"headers": {"content-length": "49999"}}, False),
        ({"headers": {"content-length": None}}, False),
        ({"headers": {"content-length": "9" * 30}}, False),
    ],
)
def test_holds_is_true_only_for_a_blob_of_the_right_size(
    fake: FakeRegistry, rule: dict[str, object], *, holds: bool
) -> None:
    filled(fake)
    fake.fault(**rule)
    assert client(fake).holds(named(fake), BLOB_DESCRIPTOR) is holds
    assert fake.requests[0].method == "HEAD"


def test_holds_in_blob_storage(fake: FakeRegistry) -> None:
    filled(fake)
    with FakeRegistry() as fake.storage:
        assert client(fake).holds(named(fake), BLOB_DESCRIPTOR)


def test_find(fake: FakeRegistry) -> None:
    filled(fake)
    registry, digest = client(fake), IMAGE.descriptor.digest
    assert registry.find(named(fake)) == digest
    assert registry.find(named(fake, f"@{digest}")) == digest
    assert registry.find(named(fake, f":2.0@{digest}")) is None  # the tag decides
    assert registry.find(named(fake, ":2.0")) is None
    fake.manifests["acme/api", "odd"] = ("application/vnd.example", b"{}")
    assert registry.find(named(fake, ":odd")) == Digest.of(b"{}")


def test_find_does_not_take_trouble_for_absence(fake: FakeRegistry) -> None:
    fake.fault(status=500)
    with pytest.raises(UnavailableError):
        client(fake).find(named(fake))


def test_put_document_then_tag(fake: FakeRegistry) -> None:
    registry, digest = client(fake), IMAGE.descriptor.digest
    registry.put_document(named(fake), IMAGE.descriptor, IMAGE.raw)
    assert fake.manifests == {("acme/api", str(digest)): (OCI_MANIFEST, IMAGE.raw)}
    registry.tag(named(fake), IMAGE.descriptor, IMAGE.raw)
    assert fake.manifests["acme/api", "1.0"] == (OCI_MANIFEST, IMAGE.raw)


def test_a_reference_without_tag_is_put_by_digest(fake: FakeRegistry) -> None:
    digest = IMAGE.descriptor.digest
    client(fake).tag(named(fake, f"@{digest}"), IMAGE.descriptor, IMAGE.raw)
    assert set(fake.manifests) == {("acme/api", str(digest))}


def test_a_document_is_sent_again_when_the_connection_breaks(fake: FakeRegistry) -> None:
    fake.fault(method="PUT", drop_at=-1, times=1)
    client(fake).tag(named(fake), IMAGE.descriptor, IMAGE.raw)
    assert fake.manifests["acme/api", "1.0"] == (OCI_MANIFEST, IMAGE.raw)


@pytest.mark.parametrize(
    ("rule", "error", "text"),
    [
        ({"status": 400}, EndpointError, "HTTP 400"),
        (
            {"headers": {"docker-content-digest": str(Digest.of(b"x"))}},
            DigestMismatchError,
            "a different digest",
        ),
        ({"status": 200}, EndpointError, "HTTP 200"),
    ],
)
def test_a_refused_document(
    fake: FakeRegistry, rule: dict[str, object], error: type[AirgapError], text: str
) -> None:
    fake.fault(method="PUT", **rule)
    with pytest.raises(error, match=text):
        client(fake).tag(named(fake), IMAGE.descriptor, IMAGE.raw)


def test_the_registrys_reason_is_reported(fake: FakeRegistry) -> None:
    with pytest.raises(EndpointError, match=r"HTTP 400 \(MANIFEST_INVALID: media type\)"):
        client(fake).tag(named(fake), BLOB_DESCRIPTOR, BLOB)
