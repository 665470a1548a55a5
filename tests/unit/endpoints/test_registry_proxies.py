"""Proxies from the environment, and going through them."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.endpoints.registry.masking import SecretMask
from airgap.endpoints.registry.proxies import Proxies, Proxy
from airgap.errors import UnavailableError, UsageError
from airgap.oci.reference import ImageReference
from tests.support.registry import FakeRegistry, basic
from tests.unit.endpoints.registry_support import BLOB, BLOB_DESCRIPTOR, Clock, drain, filled

FAR = "registry.example:5000"
REFERENCE = ImageReference.parse(f"{FAR}/acme/api:1.0")
BOTH = {"HTTP_PROXY": "http://plain:3128", "HTTPS_PROXY": "http://secure:3128"}


@pytest.mark.parametrize(
    ("text", "url", "login"),
    [
        ("http://proxy:3128", "http://proxy:3128", ""),
        ("proxy:3128", "http://proxy:3128", ""),
        ("proxy", "http://proxy:80", ""),
        ("https://proxy/", "https://proxy:443", ""),
        ("http://[::1]:3128", "http://[::1]:3128", ""),
        ("http://me:s%40cret@proxy:3128", "http://proxy:3128", "me:s@cret"),
    ],
)
def test_parse(text: str, url: str, login: str) -> None:
    found = Proxy.parse(text, "HTTP_PROXY")
    assert (found.url, found.login) == (url, login)
    assert "cret" not in repr(found)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy"])
def test_what_a_server_repeats_of_a_login_is_hidden(name: str) -> None:
    mask = SecretMask(Proxies.of({name: "http://me:s%2Fcr%22et@proxy:3128"}).secrets).mask
    for form in ('s/cr"et', "s%2Fcr%22et", 's/cr\\"et', "me:s%2Fcr%22et", "bWU6cy9jciJldA=="):
        assert mask(f"you sent {form}.") == "you sent ***." or form.startswith("me:")
        assert "cr" not in mask(form)


@pytest.mark.parametrize(
    "text", ["socks5://proxy:1080", "http://", "http://proxy:x", "http://proxy:99999", "http://[::1", "://x"]
)
def test_invalid_proxies_are_refused(text: str) -> None:
    found = Proxies.of({"HTTPS_PROXY": text})
    assert found.choose("https://127.0.0.1:5000/v2/") is None
    assert found.choose("http://registry.example/v2/") is None
    with pytest.raises(UsageError, match="not a proxy: HTTPS_PROXY"):
        found.choose("https://registry.example/v2/")


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "https://registry.example/v2/", None),
        (BOTH, "https://registry.example/v2/", "http://secure:3128"),
        (BOTH, "http://registry.example/v2/", "http://plain:3128"),
        (BOTH | {"https_proxy": "lower:1"}, "https://registry.example/v2/", "http://lower:1"),
        ({"HTTP_PROXY": "plain:1"}, "https://registry.example/", None),
        ({"HTTPS_PROXY": ""}, "https://registry.example/", None),
        (BOTH, "https://127.0.0.1:5000/", None),
        (BOTH, "https://localhost/", None),
        (BOTH, "http://[::1]:5000/", None),
    ],
)
def test_choose(environment: dict[str, str], url: str, proxy: str | None) -> None:
    found = Proxies.of(environment).choose(url)
    assert (found.url if found else None) == proxy


@pytest.mark.parametrize(
    ("without", "host", "direct"),
    [
        ("*", "registry.example", True),
        ("registry.example", "registry.example", True),
        ("REGISTRY.example", "registry.example", True),
        ("example", "registry.example", True),
        (".example", "registry.example", True),
        ("*.example", "registry.example", True),
        (".registry.example", "registry.example", False),
        ("other, ,registry.example", "registry.example", True),
        ("gistry.example", "registry.example", False),
        ("registry.example.org", "registry.example", False),
        ("registry.example:443", "registry.example", True),
        ("registry.example:444", "registry.example", False),
        ("registry.example:5000", "registry.example:5000", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3:5000", True),
        ("10.1.2.3:5001", "10.1.2.3:5000", False),
        ("fd00::/8", "[fd00::1]:5000", True),
        ("fd00::/8", "10.1.2.3", False),
        ("[fd00::1]:5000", "[fd00::1]:5000", True),
        ("[fd00::1]:5001", "[fd00::1]:5000", False),
        ("[fd00::1]", "[fd00::1]:5000", True),
        ("*.registry.example", "registry.example", False),
        ("other registry.example", "registry.example", True),
        ("10.0.0.0/8", "registry.example", False),
        ("", "registry.example", False),
    ],
)
def test_no_proxy(without: str, host: str, *, direct: bool) -> None:
    proxies = Proxies.of(BOTH | {"NO_PROXY": without})
    assert (proxies.choose(f"https://{host}/v2/") is None) is direct


@given(st.text(max_size=30), st.sampled_from(["registry.example", "10.1.2.3:5000", "[fd00::1]"]))
def test_no_proxy_takes_any_text(without: str, host: str) -> None:
    Proxies.of(BOTH | {"NO_PROXY": without}).choose(f"https://{host}/")


def through(proxy: str, **options: object) -> Registry:
    clock = Clock()
    proxies = Proxies.of({"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy})
    return Registry(
        FAR,
        options=RegistryOptions(proxies=proxies, retries=0, sleep=clock.sleep, **options),  # type: ignore[arg-type]
    )


def test_plain_http_through_a_proxy() -> None:
    with filled(FakeRegistry()) as fake:
        registry = through(f"http://me:secret@{fake.host}", plain_http=True)
        assert drain(registry.open_blob(REFERENCE, BLOB_DESCRIPTOR)) == BLOB
        (request,) = fake.requests
        assert request.path.startswith(f"http://{FAR}/v2/acme/api/blobs/")
        assert request.headers["proxy-authorization"] == basic("me", "secret")
        assert request.headers["host"] == FAR
        registry.close()


def test_https_through_a_proxy_that_refuses() -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        registry = through(f"http://me:secret@127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(UnavailableError, match=r"proxy refused the connection: .* 407 Proxy") as caught:
            registry.resolve(REFERENCE)
        thread.join()
    assert asked[0].startswith(f"CONNECT {FAR} HTTP/1.".encode())
    assert basic("me", "secret").encode() in asked[0]
    assert "secret" not in str(caught.value)


def test_a_proxy_that_is_not_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        registry = through(f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(UnavailableError, match="the proxy refused the connection"):
            registry.resolve(REFERENCE)
