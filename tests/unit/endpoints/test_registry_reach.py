"""Registries that point inside, or to somebody else's token service."""

from collections.abc import Iterator

import pytest

from airgap.endpoints.logins import Credentials
from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.endpoints.registry.config import trusted_hosts
from airgap.endpoints.registry.masking import SecretMask
from airgap.endpoints.registry.pool import ConnectionPool
from airgap.endpoints.registry.reach import Zone, is_trusted, may_connect, may_log_in, may_reach, zone_of
from airgap.endpoints.registry.request import RegistryRequest
from airgap.errors import EndpointError, LoginError
from tests.support.registry import FakeRegistry
from tests.unit.endpoints.registry_support import BLOB, BLOB_DESCRIPTOR, Logins, client, drain, filled, named

LOGIN = Credentials("u", "p")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("registry.example", None), ("1.registry.example", None), ("registry", None),
        ("192.0.43.8", Zone.OUTSIDE), ("2001:500:88:200::8", Zone.OUTSIDE),
        ("10.0.0.1", Zone.PRIVATE), ("192.168.1.1", Zone.PRIVATE), ("172.31.0.1", Zone.PRIVATE),
        ("100.64.0.1", Zone.PRIVATE), ("fd00::1", Zone.PRIVATE), ("::ffff:10.0.0.1", Zone.PRIVATE),
        ("127.0.0.1", Zone.MACHINE), ("127.9.9.9", Zone.MACHINE), ("127.0.0.1.", Zone.MACHINE),
        ("::1", Zone.MACHINE), ("::ffff:127.0.0.1", Zone.MACHINE), ("0.0.0.0", Zone.MACHINE),
        ("::", Zone.MACHINE), ("169.254.169.254", Zone.MACHINE), ("fe80::1%eth0", Zone.MACHINE),
        ("localhost", Zone.MACHINE), ("LOCALHOST.", Zone.MACHINE), ("a.localhost", Zone.MACHINE),
    ],
)  # fmt: skip
def test_places(host: str, place: Zone | None) -> None:
    assert zone_of(host) is place


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.0x1", "1.2.3.4.5"]
)
def test_numbers_that_only_resolvers_read(host: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IP"):
        zone_of(host)


@pytest.mark.parametrize(
    ("base", "url", "may"),
    [
        ("https://r.example/", "https://cdn.example/x", True),
        ("https://r.example/", "https://10.0.0.1/x", True),  # decided when it is known where r.example is
        ("https://10.0.0.1/", "https://10.0.0.2:9000/x", True),
        ("https://192.0.43.8/", "https://10.0.0.1/x", False),
        ("https://r.example/", "https://127.0.0.1/x", False),
        ("https://r.example/", "https://169.254.169.254/x", False),
        ("https://r.example/", "https://localhost/x", False),
        ("https://10.0.0.1/", "https://[::1]/x", False),
        ("https://10.0.0.1/", "https://[::ffff:127.0.0.1]/x", False),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/x", True),
        ("http://127.0.0.1:5000/", "http://localhost:5000/x", True),
        ("http://127.0.0.1:5000/", "https://cdn.example/x", True),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:2375/x", False),
        ("http://localhost/", "https://localhost/x", False),
        ("http://127.0.0.1:5000/", "http://169.254.169.254/x", False),
    ],
)
def test_where_a_registry_may_point(base: str, url: str, may: bool) -> None:
    assert may_reach(base, url) is may


@pytest.mark.parametrize(
    ("own", "address", "may"),
    [
        (Zone.OUTSIDE, "192.0.43.8", True),
        (Zone.OUTSIDE, "10.0.0.1", False),
        (Zone.OUTSIDE, "127.0.0.1", False),
        (None, "10.0.0.1", False),
        (None, "192.0.43.8", True),
        (Zone.PRIVATE, "10.0.0.1", True),
        (Zone.PRIVATE, "127.0.0.1", False),
        (Zone.MACHINE, "10.0.0.1", True),
        (Zone.MACHINE, "127.0.0.1", False),
    ],
)
def test_where_a_name_may_lead(own: Zone | None, address: str, may: bool) -> None:
    assert may_connect(own, address) is may


@pytest.mark.parametrize(
    ("registry", "service", "may"),
    [
        ("registry-1.docker.io", "auth.docker.io", True),
        ("ghcr.io", "ghcr.io", True),
        ("registry.gitlab.com", "gitlab.com", True),
        ("registry.example.com:5050", "gitlab.example.com", True),
        ("registry.example.com", "sso.apps.example.com", True),
        ("registry.example.co.uk", "gitlab.example.co.uk", True),
        ("registry.cn-hangzhou.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com", True),
        ("rg.fr-par.scw.cloud", "api.scaleway.com", True),
        ("dhi.io", "auth.docker.io", True),
        ("registry.example.com:5000", "registry.example.com:5001", True),
        ("10.0.0.1:5000", "10.0.0.1:5001", True),
        ("10.0.0.1:5000", "10.0.0.2", False),
        ("registry.example.com", "evil.example.net", False),
        ("registry.example.com", "registry.example.com.evil.net", False),
        ("registry.example.com", "evilexample.com", False),
        ("a.co.uk", "b.co.uk", False),
        ("a.com.au", "b.com.au", False),
        ("mine.azurecr.io", "yours.azurecr.io", False),
        ("a.eu-west-1.amazonaws.com", "b.eu-west-1.amazonaws.com", False),
        ("evilscw.cloud", "api.scaleway.com", False),
        ("ghcr.io", "quay.io", False),
        ("registry", "auth", False),
    ],
)
def test_who_may_be_given_the_login(registry: str, service: str, may: bool) -> None:
    assert may_log_in(f"https://{registry}", f"https://{service}/token") is may


def test_the_user_names_what_belongs_to_a_registry() -> None:
    environment = {"AIRGAP_TRUSTED_HOSTS": "a.example=s3.a.net:9000, b.example=x ,a.example=auth.a.net,=y,c"}
    trusted = trusted_hosts("a.example", environment)
    assert trusted == ("s3.a.net:9000", "auth.a.net")
    assert is_trusted("https://auth.a.net:8443/token", trusted)
    assert is_trusted("https://s3.a.net:9000/x", trusted)
    assert not is_trusted("https://s3.a.net/x", trusted)
    assert not is_trusted("https://x/", trusted)


def test_a_registry_on_loopback_does_not_lead_to_other_ports(fake: FakeRegistry, other: FakeRegistry) -> None:
    fake.storage = other
    with pytest.raises(EndpointError, match="an internal address, which is refused") as caught:
        client(fake, trusted_hosts=()).open_blob(named(fake), BLOB_DESCRIPTOR)
    assert f"AIRGAP_TRUSTED_HOSTS=REGISTRY={other.host}" in str(caught.value.hint)
    assert not other.requests
    assert drain(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB


def test_an_upload_does_not_lead_to_other_ports(fake: FakeRegistry, other: FakeRegistry) -> None:
    fake.fault(method="POST", headers={"location": f"{other.url}/v2/acme/api/blobs/uploads/1"})
    with pytest.raises(EndpointError, match="an internal address"):
        client(fake).upload(named(fake), BLOB_DESCRIPTOR, lambda _offset: pytest.fail("read"))
    assert not other.requests


@pytest.mark.parametrize("login", [None, LOGIN])
def test_a_token_is_not_fetched_from_other_ports(
    fake: FakeRegistry, other: FakeRegistry, login: Credentials | None
) -> None:
    fake.require_bearer({"u": "p"})
    fake.challenge = f'Bearer realm="{other.url}/token",service="fake"'
    with pytest.raises(EndpointError, match="an internal address"):
        client(fake, credentials=Logins(login)).resolve(named(fake))
    assert not other.requests


@pytest.mark.parametrize("login", [LOGIN, Credentials("", "", identity_token="secret")])
def test_a_login_is_not_sent_to_another_owner(fake: FakeRegistry, login: Credentials) -> None:
    fake.require_bearer({"u": "p"})
    fake.challenge = 'Bearer realm="https://auth.example/token",service="fake"'
    with pytest.raises(LoginError, match="to another host, which is refused") as caught:
        client(fake, credentials=Logins(login)).resolve(named(fake))
    assert f"AIRGAP_TRUSTED_HOSTS={fake.host}=auth.example" in str(caught.value.hint)


def test_a_name_that_leads_inside(fake: FakeRegistry) -> None:
    """The name is looked up by the system: here a stranger's is what is written as an address."""
    pool = ConnectionPool("http://registry.example", RegistryOptions(plain_http=True), SecretMask([]))
    with pytest.raises(EndpointError, match="an internal address"):
        pool(RegistryRequest(method="GET", url=f"{fake.url}/v2/", subject="x"))
    assert not fake.requests


def test_the_registry_itself_may_be_anywhere(fake: FakeRegistry) -> None:
    assert drain(Registry(fake.host).open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
