"""Mirrors: asked first, believed last."""

import io
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from airgap.endpoints.logins import Credentials
from airgap.endpoints.registry import Registry
from airgap.errors import AirgapError, DigestMismatchError, NotFoundError, UnavailableError, UsageError
from airgap.oci.digest import CheckedReader, copy
from tests.support.images import simple_image
from tests.support.registry import FakeRegistry
from tests.unit.endpoints.registry_support import (
    BLOB,
    BLOB_DESCRIPTOR,
    IMAGE,
    Logins,
    client,
    drain,
    filled,
    named,
)

SIZE = len(BLOB)


@pytest.fixture
def home() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


@pytest.fixture
def near() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


@pytest.fixture
def mirrored(home: FakeRegistry, near: FakeRegistry, other: FakeRegistry) -> Registry:
    """`home` behind `near`, then `other`."""
    return client(home, mirrors=(near.host, other.host))


def checked(registry: Registry, home: FakeRegistry) -> bytes:
    out = bytearray()
    stream = registry.open_blob(named(home), BLOB_DESCRIPTOR)
    with closing(CheckedReader(stream, BLOB_DESCRIPTOR.digest, SIZE)) as reader:
        copy(reader, out.extend)
    return bytes(out)


def test_all_pulls_go_to_the_first_mirror(
    mirrored: Registry, home: FakeRegistry, near: FakeRegistry, other: FakeRegistry
) -> None:
    assert mirrored.resolve(named(home)).digest == IMAGE.descriptor.digest
    assert mirrored.read_document(named(home), IMAGE.descriptor) == IMAGE.raw
    assert checked(mirrored, home) == BLOB
    assert len(near.requests) == 3
    assert not home.requests
    assert not other.requests
    assert mirrored.name == f"registry:{home.host}"
    mirrored.close()


def test_pushes_and_what_belongs_to_them_go_home(mirrored: Registry, home: FakeRegistry, near: FakeRegistry):
    assert mirrored.find(named(home)) == IMAGE.descriptor.digest
    assert mirrored.holds(named(home), BLOB_DESCRIPTOR)
    mirrored.put_blob(named(home), BLOB_DESCRIPTOR, io.BytesIO(BLOB))
    mirrored.tag(named(home), IMAGE.descriptor, IMAGE.raw)
    assert mirrored.referrers(named(home), IMAGE.descriptor.digest) == []
    assert not near.requests


FAILURES = [
    {"status": 404}, {"status": 401}, {"status": 403}, {"status": 429}, {"status": 500}, {"status": 418},
    {"drop_at": -1}, {"drop_at": 5}, {"status": 302, "headers": {"location": "ftp://127.0.0.1/"}},
    {"headers": {"docker-content-digest": "sha256:" + "0" * 64}, "body": b"{}"},
]  # fmt: skip


@pytest.mark.parametrize("rule", FAILURES)
def test_a_failing_mirror_is_passed_over(
    mirrored: Registry, home: FakeRegistry, near: FakeRegistry, other: FakeRegistry, rule: dict[str, object]
) -> None:
    near.fault(**rule)
    pinned = named(home, f"@{IMAGE.descriptor.digest}")
    assert mirrored.resolve(pinned).digest == IMAGE.descriptor.digest
    assert mirrored.read_document(named(home), IMAGE.descriptor) == IMAGE.raw
    assert near.requests
    assert not home.requests
    if rule.get("body") is None:
        assert checked(mirrored, home) == BLOB
        assert other.asked("GET", "/blobs/")


def test_home_has_the_last_word(
    mirrored: Registry, home: FakeRegistry, near: FakeRegistry, other: FakeRegistry
) -> None:
    for fake in (near, other):
        fake.fault(status=404)
    assert mirrored.resolve(named(home)).digest == IMAGE.descriptor.digest
    assert checked(mirrored, home) == BLOB
    home.fault(status=404)
    with pytest.raises(NotFoundError, match=home.host):
        mirrored.resolve(named(home))
    with pytest.raises(NotFoundError, match=home.host):
        mirrored.open_blob(named(home, ":2.0"), BLOB_DESCRIPTOR)


def test_a_mirror_that_cannot_be_reached_is_asked_once(home: FakeRegistry) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        registry = client(home, mirrors=(f"127.0.0.1:{closed.getsockname()[1]}",))
        assert registry.resolve(named(home)).digest == IMAGE.descriptor.digest
    assert checked(registry, home) == BLOB


def test_a_busy_mirror_is_tried_twice_and_left(
    mirrored: Registry, home: FakeRegistry, near: FakeRegistry
) -> None:
    near.fault(status=503)
    for _ in range(3):
        mirrored.resolve(named(home))
    assert len(near.requests) == 2


def test_a_mirror_that_lacks_something_is_asked_for_the_rest(
    mirrored: Registry, home: FakeRegistry, near: FakeRegistry
) -> None:
    near.blobs.clear()
    assert checked(mirrored, home) == BLOB
    mirrored.resolve(named(home))
    assert len(near.requests) == 2


@pytest.mark.parametrize("rule", [{"drop_at": 20_000}, {"body": BLOB[:20_000]}, {"stall_at": 20_000}])
def test_a_blob_resumes_at_another_mirror(
    home: FakeRegistry, near: FakeRegistry, rule: dict[str, object]
) -> None:
    near.fault(method="GET", times=1, **rule)
    near.fault(method="GET", status=404)
    registry = client(home, mirrors=(near.host,), read_timeout=1)
    assert checked(registry, home) == BLOB
    (request,) = home.asked("GET", "/blobs/")
    assert request.headers["range"] == "bytes=20000-"


def test_a_blob_starts_at_an_offset(mirrored: Registry, home: FakeRegistry, near: FakeRegistry) -> None:
    assert drain(mirrored.open_blob(named(home), BLOB_DESCRIPTOR, 100)) == BLOB[100:]
    assert drain(mirrored.open_blob(named(home), BLOB_DESCRIPTOR, SIZE)) == b""
    assert near.requests[0].headers["range"] == "bytes=100-"


def test_when_all_break_the_last_one_is_heard(home: FakeRegistry, near: FakeRegistry) -> None:
    for fake in (near, home):
        fake.fault(method="GET", drop_at=10)
    stream = client(home, mirrors=(near.host,)).open_blob(named(home), BLOB_DESCRIPTOR)
    with pytest.raises(UnavailableError, match=f"broke: {home.host}"):
        drain(stream)


def test_a_lying_mirror_is_not_asked_for_the_same_blob_again(home: FakeRegistry, near: FakeRegistry) -> None:
    near.fault(method="GET", path="/blobs/", body=bytes(SIZE))
    registry = client(home, mirrors=(near.host,))
    with pytest.raises(DigestMismatchError):
        checked(registry, home)
    assert checked(registry, home) == BLOB


def test_a_mirror_says_what_a_tag_means(mirrored: Registry, home: FakeRegistry, near: FakeRegistry) -> None:
    older = simple_image("older")
    near.add("acme/api", "1.0", older)
    assert mirrored.resolve(named(home)).digest == older.descriptor.digest


def test_a_mirror_gets_its_own_login(home: FakeRegistry, near: FakeRegistry) -> None:
    near.require_basic("u", "p")
    logins = Logins(Credentials("u", "p"))
    client(home, mirrors=(near.host,), credentials=logins).resolve(named(home))
    assert logins.asked == [near.host]


@pytest.mark.parametrize("form", ["{}/hub/cache", "http://{}/hub/cache", "http://{}/hub/cache/"])
def test_a_mirror_below_a_path(home: FakeRegistry, near: FakeRegistry, form: str) -> None:
    near.add("hub/cache/acme/api", "1.0", IMAGE)
    client(home, mirrors=(form.format(near.host),)).resolve(named(home))
    assert near.requests[0].path == "/v2/hub/cache/acme/api/manifests/1.0"
    assert not home.requests


def test_a_mirror_with_tls_is_not_asked_without(home: FakeRegistry, near: FakeRegistry) -> None:
    client(home, mirrors=(f"https://{near.host}",)).resolve(named(home))
    assert home.requests
    assert not [request for request in near.requests if request.path.startswith("/v2")]


@pytest.mark.parametrize(
    "text", ["", "ftp://host", "host/../x?y", "user:secret@host", "host:port", "http://", "ho st", "host/A"]
)
def test_invalid_mirrors_are_refused(home: FakeRegistry, text: str) -> None:
    with pytest.raises(UsageError, match="not a mirror"):
        client(home, mirrors=(text,))


def test_errors_of_every_kind_are_ours(home: FakeRegistry, near: FakeRegistry) -> None:
    near.fault(method="HEAD", headers={"docker-content-digest": "md5:1"})
    home.fault(method="HEAD", headers={"docker-content-digest": "md5:1"})
    with pytest.raises(AirgapError, match="the registry sent an invalid digest"):
        client(home, mirrors=(near.host,)).resolve(named(home))
