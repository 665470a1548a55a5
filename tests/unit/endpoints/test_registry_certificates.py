"""Certificates: Docker's folder of them, and those that we show."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.errors import EndpointError, UsageError
from tests.support.certificates import self_signed
from tests.support.registry import FakeRegistry
from tests.unit.endpoints.registry_support import (
    BLOB,
    BLOB_DESCRIPTOR,
    IMAGE,
    client,
    drain,
    filled,
    named,
)

Pair = tuple[Path, Path]


@pytest.fixture(scope="module")
def server_pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return self_signed(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def client_pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return self_signed(tmp_path_factory.mktemp("client"))


def demanding(server_pair: Pair, client_pair: Pair) -> FakeRegistry:
    """A registry that talks only to the holder of the client certificate."""
    fake = filled(FakeRegistry(tls=server_pair))
    assert fake._server.context is not None
    fake._server.context.verify_mode = ssl.CERT_REQUIRED
    fake._server.context.load_verify_locations(client_pair[0])
    return fake


@pytest.fixture
def strict(server_pair: Pair, client_pair: Pair) -> Iterator[FakeRegistry]:
    with demanding(server_pair, client_pair) as fake:
        yield fake


def test_a_client_certificate_is_shown(strict: FakeRegistry, server_pair: Pair, client_pair: Pair) -> None:
    registry = client(
        strict, ca_file=server_pair[0], client_cert=client_pair[0], client_key=client_pair[1], retries=0
    )
    assert drain(registry.open_blob(named(strict), BLOB_DESCRIPTOR)) == BLOB
    registry.close()


def test_certificate_and_key_may_be_one_file(
    strict: FakeRegistry, server_pair: Pair, client_pair: Pair, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(client_pair[0].read_bytes() + client_pair[1].read_bytes())
    registry = client(strict, ca_file=server_pair[0], client_cert=both, retries=0)
    assert registry.resolve(named(strict)).digest == IMAGE.descriptor.digest


def test_without_one_the_remedy_is_named(strict: FakeRegistry, server_pair: Pair) -> None:
    assert strict._server.context is not None
    strict._server.context.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 tells only after the handshake
    with pytest.raises(EndpointError, match="TLS failed") as caught:
        client(strict, ca_file=server_pair[0], retries=0).resolve(named(strict))
    assert "client.cert" in (caught.value.hint or "")
    assert not strict.requests


def test_it_is_shown_to_no_other_host(strict: FakeRegistry, server_pair: Pair, client_pair: Pair) -> None:
    with demanding(server_pair, client_pair) as strict.storage:
        registry = client(
            strict, ca_file=server_pair[0], client_cert=client_pair[0], client_key=client_pair[1], retries=0
        )
        registry.resolve(named(strict))
        with pytest.raises(EndpointError):
            registry.open_blob(named(strict), BLOB_DESCRIPTOR)
        assert strict.asked("GET", "/blobs/")
        assert not strict.storage.requests


def test_it_is_shown_to_no_mirror(strict: FakeRegistry, server_pair: Pair, client_pair: Pair) -> None:
    with demanding(server_pair, client_pair) as mirror:
        registry = client(
            strict, mirrors=(f"https://{mirror.host}",), ca_file=server_pair[0],
            client_cert=client_pair[0], client_key=client_pair[1], retries=0,
        )  # fmt: skip
        registry.resolve(named(strict))
        assert not mirror.requests


def docker_folder(tmp_path: Path, fake: FakeRegistry, **files: Path) -> Path:
    folder = tmp_path / "certs.d" / fake.host
    folder.mkdir(parents=True)
    for name, path in files.items():
        (folder / name.replace("_", ".")).write_bytes(path.read_bytes())
    return folder.parent


def test_dockers_folder(strict: FakeRegistry, server_pair: Pair, client_pair: Pair, tmp_path: Path) -> None:
    folder = docker_folder(
        tmp_path, strict, ca_crt=server_pair[0], client_cert=client_pair[0], client_key=client_pair[1]
    )
    registry = client(strict, certs_folder=folder, retries=0)
    assert drain(registry.open_blob(named(strict), BLOB_DESCRIPTOR)) == BLOB


def test_dockers_folder_is_for_that_host_only(server_pair: Pair, tmp_path: Path) -> None:
    with filled(FakeRegistry(tls=server_pair)) as fake, filled(FakeRegistry(tls=server_pair)) as other:
        folder = docker_folder(tmp_path, fake, ca_crt=server_pair[0])
        client(fake, certs_folder=folder).resolve(named(fake))
        with pytest.raises(EndpointError, match="TLS failed"):
            client(other, certs_folder=folder, plain_http=False).resolve(named(other))


def test_options_win_over_dockers_folder(server_pair: Pair, client_pair: Pair, tmp_path: Path) -> None:
    with filled(FakeRegistry(tls=server_pair)) as fake:
        folder = docker_folder(tmp_path, fake, ca_crt=client_pair[0])
        client(fake, certs_folder=folder, ca_file=server_pair[0]).resolve(named(fake))
        with pytest.raises(EndpointError, match="TLS failed"):
            client(fake, certs_folder=folder).resolve(named(fake))


def test_a_folder_that_holds_half_of_a_pair(
    strict: FakeRegistry, server_pair: Pair, client_pair: Pair, tmp_path: Path
) -> None:
    folder = docker_folder(tmp_path, strict, ca_crt=server_pair[0], client_cert=client_pair[0])
    with pytest.raises(UsageError, match="cannot use the client certificate"):
        client(strict, certs_folder=folder)


def encrypted(path: Path, pair: Pair) -> Path:
    key = serialization.load_pem_private_key(pair[1].read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pass"),
        )
    )
    return path


@pytest.mark.parametrize("kind", ["missing", "no pem", "another's", "encrypted"])
def test_a_key_that_cannot_be_used(kind: str, server_pair: Pair, client_pair: Pair, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    if kind == "no pem":
        key.write_bytes(b"no key")
    elif kind == "another's":
        key.write_bytes(server_pair[1].read_bytes())
    elif kind == "encrypted":
        encrypted(key, client_pair)
    options = RegistryOptions(client_cert=client_pair[0], client_key=key)
    with pytest.raises(UsageError, match="cannot use the client certificate") as caught:
        Registry("registry.example", options=options)
    assert "not encrypted" in str(caught.value)
