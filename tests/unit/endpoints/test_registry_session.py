"""Redirects, TLS, and which scheme is spoken."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from airgap.endpoints.logins import Credentials
from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.errors import AccessDeniedError, EndpointError, UnavailableError, UsageError
from tests.support.certificates import self_signed
from tests.support.registry import FakeRegistry
from tests.unit.endpoints.registry_support import (
    BLOB,
    BLOB_DESCRIPTOR,
    IMAGE,
    Clock,
    Logins,
    client,
    drain,
    filled,
    named,
)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


@pytest.fixture
def storage(fake: FakeRegistry) -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake.storage:
        yield fake.storage


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("kind", ["basic", "bearer"])
@pytest.mark.parametrize("offset", [0, 100])
def test_blob_storage_gets_the_range_and_no_login(
    fake: FakeRegistry, storage: FakeRegistry, kind: str, offset: int
) -> None:
    login = Credentials("u", "p")
    if kind == "basic":
        fake.require_basic("u", "p")
    else:
        fake.require_bearer({"u": "p"})
    registry = client(fake, credentials=Logins(login))
    assert drain(registry.open_blob(named(fake), BLOB_DESCRIPTOR, offset)) == BLOB[offset:]
    (request,) = storage.requests
    assert "authorization" not in request.headers
    assert "cookie" not in request.headers
    assert request.headers.get("range") == (f"bytes={offset}-" if offset else None)
    assert "authorization" in fake.requests[-1].headers


def test_another_port_or_scheme_is_another_host(fake: FakeRegistry) -> None:
    fake.require_basic("u", "p")
    with filled(FakeRegistry()) as other:
        fake.fault(
            method="HEAD", skip=1, status=302, headers={"location": f"{other.url}/v2/acme/api/manifests/1.0"}
        )
        registry = client(fake, credentials=Logins(Credentials("u", "p")), trusted_hosts=(other.host,))
        registry.resolve(named(fake))
        assert "authorization" not in other.requests[0].headers


def test_the_login_is_kept_on_the_same_host(fake: FakeRegistry) -> None:
    fake.require_basic("u", "p")
    fake.fault(method="HEAD", path="1.0", skip=1, status=308, headers={"location": "latest"})
    fake.add("acme/api", "latest", IMAGE)
    client(fake, credentials=Logins(Credentials("u", "p"))).resolve(named(fake))
    assert "authorization" in fake.requests[-1].headers


@pytest.mark.parametrize("status", [401, 403])
def test_a_login_that_storage_asks_for_is_not_given(
    fake: FakeRegistry, storage: FakeRegistry, status: int
) -> None:
    storage.fault(status=status, headers={"www-authenticate": 'Basic realm="give"'})
    logins = Logins(Credentials("u", "p"))
    with pytest.raises(AccessDeniedError, match=r"redirected to 127\.0\.0\.1\)") as caught:
        client(fake, credentials=logins).open_blob(named(fake), BLOB_DESCRIPTOR)
    assert "signature" not in str(caught.value)
    assert not logins.asked


def test_storage_that_is_busy_is_asked_again_from_the_start(
    fake: FakeRegistry, storage: FakeRegistry
) -> None:
    storage.fault(status=503, times=1)
    assert drain(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert [len(fake.requests), len(storage.requests)] == [2, 2]


def test_five_redirects_are_followed(fake: FakeRegistry) -> None:
    path = f"/v2/acme/api/blobs/{BLOB_DESCRIPTOR.digest}"
    fake.fault(status=302, times=5, headers={"location": f"{fake.url}{path}"})
    assert drain(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB


REDIRECTS = [
    ("/v2/acme/api/manifests/1.0", "too many redirects"),
    (None, "got no address"),
    ("file:///etc/passwd", "got file:"),
    ("gopher://127.0.0.1/", "got gopher:"),
    ("http://metadata.example/latest", "plain HTTP, which is refused"),
    ("http://u:p@127.0.0.1/", "usable address"),
    ("http://127.0.0.1\\@evil.example/", "usable address"),
    ("//metadata.example/x", "plain HTTP, which is refused"),
    ("http://[::1", "usable address"),
]


@pytest.mark.parametrize(("location", "text"), REDIRECTS)
def test_bad_redirects(fake: FakeRegistry, location: str | None, text: str) -> None:
    fake.fault(status=307, headers={"location": location})
    with pytest.raises(EndpointError) as caught:
        client(fake).resolve(named(fake))
    assert type(caught.value) is EndpointError
    assert text in str(caught.value)


def tls_client(fake: FakeRegistry, ca_file: Path | None, **options: object) -> Registry:
    return client(fake, ca_file=ca_file, plain_http=False, retries=0, **options)


def test_a_private_ca(certificate: tuple[Path, Path]) -> None:
    with filled(FakeRegistry(tls=certificate)) as fake:
        registry = tls_client(fake, certificate[0])
        assert drain(registry.open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
        plain_none = Registry(fake.host, options=RegistryOptions(ca_file=certificate[0]))
        assert plain_none.resolve(named(fake)).digest == IMAGE.descriptor.digest


def test_an_upload_over_tls(certificate: tuple[Path, Path]) -> None:
    import io

    with FakeRegistry(tls=certificate) as fake:
        tls_client(fake, certificate[0]).put_blob(named(fake), BLOB_DESCRIPTOR, io.BytesIO(BLOB))
        assert fake.blobs["acme/api", BLOB_DESCRIPTOR.digest] == BLOB


def test_an_unknown_ca(certificate: tuple[Path, Path]) -> None:
    with filled(FakeRegistry(tls=certificate)) as fake:
        with pytest.raises(EndpointError, match=r"TLS failed: .*self-signed certificate") as caught:
            tls_client(fake, None).resolve(named(fake))
        assert "--ca-file" in (caught.value.hint or "")
        assert not fake.requests


def test_a_certificate_for_another_name(certificate: tuple[Path, Path]) -> None:
    with filled(FakeRegistry(tls=certificate)) as fake:
        host = fake.host.replace("127.0.0.1", "127.0.0.2")
        fake.host = host
        with pytest.raises(EndpointError, match=r"TLS failed|cannot reach") as caught:
            tls_client(fake, certificate[0]).resolve(named(fake))
        assert "--ca-file" not in (caught.value.hint or "")


def test_tls_to_a_plain_registry_does_not_fall_back(fake: FakeRegistry) -> None:
    with pytest.raises(EndpointError, match="TLS failed") as caught:
        tls_client(fake, None).resolve(named(fake))
    assert "--plain-http" in (caught.value.hint or "")
    assert not [r for r in fake.requests if r.path.startswith("/v2")]


def test_plain_http_to_a_tls_registry(certificate: tuple[Path, Path]) -> None:
    with filled(FakeRegistry(tls=certificate)) as fake, pytest.raises(UnavailableError):
        client(fake, retries=0).resolve(named(fake))


def test_tls_is_not_given_up_on_a_redirect(fake: FakeRegistry, certificate: tuple[Path, Path]) -> None:
    with filled(FakeRegistry(tls=certificate)) as secure:
        secure.storage = fake
        with pytest.raises(EndpointError, match="plain HTTP, which is refused") as caught:
            tls_client(secure, certificate[0]).open_blob(named(secure), BLOB_DESCRIPTOR)
        assert "X-Forwarded-Proto" in (caught.value.hint or "")
    assert not fake.requests


def test_a_redirect_from_plain_to_tls(fake: FakeRegistry, certificate: tuple[Path, Path]) -> None:
    with FakeRegistry(tls=certificate) as fake.storage:
        registry = client(fake, ca_file=certificate[0], plain_http=True)
        assert drain(registry.open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_a_ca_file_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="cannot read CA certificates"):
        Registry("registry.example", options=RegistryOptions(ca_file=path))


def test_no_sleep_after_the_last_try(fake: FakeRegistry) -> None:
    clock = Clock()
    fake.fault(status=500)
    with pytest.raises(UnavailableError):
        client(fake, retries=0, sleep=clock.sleep).resolve(named(fake))
    assert clock.slept == []
