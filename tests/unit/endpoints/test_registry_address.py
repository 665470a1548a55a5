import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.endpoints.registry.address import base_url, follow, follow_upload, is_loopback
from airgap.endpoints.registry.config import RegistryOptions
from airgap.endpoints.registry.reach import origin
from airgap.errors import EndpointError

DEFAULT = RegistryOptions()
TRUSTING = RegistryOptions(trusted_hosts=("localhost:2",))
PLAIN = RegistryOptions(plain_http=True)


@pytest.mark.parametrize(
    ("host", "plain_http", "url"),
    [
        ("docker.io", None, "https://registry-1.docker.io"),
        ("ghcr.io", None, "https://ghcr.io"),
        ("registry.plant7.local:5000", None, "https://registry.plant7.local:5000"),
        ("registry.plant7.local:5000", True, "http://registry.plant7.local:5000"),
        ("localhost:5000", None, "http://localhost:5000"),
        ("localhost:5000", False, "https://localhost:5000"),
        ("127.8.9.1", None, "http://127.8.9.1"),
        ("[::1]:5000", None, "http://[::1]:5000"),
        ("10.0.0.1:5000", None, "https://10.0.0.1:5000"),
        ("localhost.evil.example", None, "https://localhost.evil.example"),
        ("127.0.0.1.evil.example", None, "https://127.0.0.1.evil.example"),
    ],
)
def test_base_url(host: str, plain_http: bool | None, url: str) -> None:
    assert base_url(host, RegistryOptions(plain_http=plain_http)) == url


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("127.1", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_is_loopback(name: str, *, expected: bool) -> None:
    assert is_loopback(name) is expected


def test_origin() -> None:
    assert origin("https://Registry.example/v2/") == origin("https://registry.example:443/x")
    assert origin("http://a/") != origin("https://a/") != origin("https://a:444/")


@pytest.mark.parametrize(
    ("base", "location", "options", "url"),
    [
        ("https://a/v2/x", "/v2/y?z=1", DEFAULT, "https://a/v2/y?z=1"),
        ("https://a/v2/x", "https://b/y", DEFAULT, "https://b/y"),
        ("http://127.0.0.1:1/v2/x", "http://localhost:1/y", DEFAULT, "http://localhost:1/y"),
        ("http://127.0.0.1:1/v2/x", "http://localhost:2/y", TRUSTING, "http://localhost:2/y"),
        ("http://127.0.0.1:1/v2/x", "https://b/y", DEFAULT, "https://b/y"),
        ("http://a/v2/x", "http://b/y", PLAIN, "http://b/y"),
    ],
)
def test_follow(base: str, location: str, options: RegistryOptions, url: str) -> None:
    assert follow(base, location, options, "x") == url


@pytest.mark.parametrize(
    ("base", "location", "options"),
    [
        ("https://a/", "http://a/", DEFAULT),
        ("https://a/", "http://a/", PLAIN),
        ("https://a/", "http://127.0.0.1/", PLAIN),
        ("http://127.0.0.1/", "http://b/", DEFAULT),
        ("http://a/", "http://b/", DEFAULT),
        ("https://a/", "https://b/\n", DEFAULT),
        ("https://a/", "ht\ttps://b/", DEFAULT),
        ("https://a/", "", DEFAULT),
        ("https://a/", "https://b/" + "x" * 9000, DEFAULT),
        ("https://a/", "https://b:x/", DEFAULT),
        ("https://a/", "javascript:alert(1)", DEFAULT),
    ],
)
def test_follow_refuses(base: str, location: str, options: RegistryOptions) -> None:
    with pytest.raises(EndpointError):
        follow(base, location, options, "x")


OWN = "https://registry.example:5443"


@pytest.mark.parametrize(
    ("own", "location", "url"),
    [
        (OWN, "/v2/a/blobs/uploads/1?s=2", f"{OWN}/v2/a/blobs/uploads/1?s=2"),
        (OWN, "http://registry.example/v2/a/blobs/uploads/1?s=2", f"{OWN}/v2/a/blobs/uploads/1?s=2"),
        (OWN, "http://registry.example:5443/v2/x", f"{OWN}/v2/x"),
        (OWN, "http://REGISTRY.example:5000/v2/x", f"{OWN}/v2/x"),
        (OWN, "https://registry.example/v2/x", f"{OWN}/v2/x"),
        (OWN, "https://registry.example:6000/v2/x", "https://registry.example:6000/v2/x"),
        (OWN, "https://uploads.example/v2/x", "https://uploads.example/v2/x"),
        (OWN, "https://registry.example/elsewhere", "https://registry.example/elsewhere"),
        ("https://registry.example", "http://registry.example/v2/x", "https://registry.example/v2/x"),
        ("http://127.0.0.1:5000", "http://127.0.0.1/v2/x", "http://127.0.0.1:5000/v2/x"),
    ],
)
def test_an_upload_stays_at_the_origin(own: str, location: str, url: str) -> None:
    assert follow_upload(own, f"{own}/v2/a/blobs/uploads/", location, DEFAULT, "x") == url


@pytest.mark.parametrize(
    "location",
    [
        "http://other.example/v2/x",
        "http://registry.example.evil.example/v2/x",
        "http://user@registry.example/v2/x",
        "http://registry.example@evil.example/v2/x",
        "http://registry.example/x",
        "http://registry.example:x/v2/",
        "http://registry.example/v2/\n",
        "ftp://registry.example/v2/x",
        "",
        None,
    ],
)
def test_an_upload_goes_nowhere_else(location: str | None) -> None:
    with pytest.raises(EndpointError):
        follow_upload(OWN, f"{OWN}/v2/a/blobs/uploads/", location, DEFAULT, "x")


@given(st.text(max_size=60) | st.from_regex(r"(https?:)?//[a-z@:\[\]0-9./?#\\%]*", fullmatch=True))
def test_wherever_an_upload_goes_is_https(location: str) -> None:
    try:
        url = follow_upload(OWN, f"{OWN}/v2/a/", location, PLAIN, "x")
    except EndpointError:
        return
    assert origin(url)[0] == "https"


def test_query_strings_are_not_shown() -> None:
    with pytest.raises(EndpointError) as caught:
        follow("https://a/", "https://b/ x?signature=secret", DEFAULT, "subject")
    assert "secret" not in str(caught.value)


@given(st.text(max_size=60) | st.from_regex(r"(https?:)?//[a-z@:\[\]0-9./?#\\%]*", fullmatch=True))
def test_whatever_is_followed_is_https(location: str) -> None:
    try:
        url = follow("https://registry.example/v2/", location, PLAIN, "x")
    except EndpointError:
        return
    scheme, host, port = origin(url)
    assert scheme == "https"
    assert host
    assert 0 < port < 65536
