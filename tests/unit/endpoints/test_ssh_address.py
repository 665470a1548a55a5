"""How servers are written, and what is none."""

import pytest

from airgap.endpoints.ssh.address import Address
from airgap.errors import UsageError


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("plant", Address("plant")),
        ("plant_a.example", Address("plant_a.example")),
        ("carrier@plant", Address("plant", "carrier")),
        ("carrier@plant:2222", Address("plant", "carrier", 2222)),
        ("10.0.0.1:22", Address("10.0.0.1", None, 22)),
        ("[::1]", Address("::1")),
        ("root@[fe80::1%eth0]:22", Address("fe80::1%eth0", "root", 22)),
        ("a@b@plant", Address("plant", "a@b")),
        (r"CORP\carrier@plant", Address("plant", r"CORP\carrier")),
    ],
)
def test_addresses(text, want):
    assert Address.parse(text) == want
    assert str(want) == text
    assert Address.parse(f"ssh://{text}") == want


@pytest.mark.parametrize(
    "text",
    [
        "", "@", ":22", "a@", "-oProxyCommand=x", "a@-b", "-a@b", "a b", "a:0", "a:65536", "a:x", "a:", "::1",
        "[::1", "[]", "[-x]", "a/b", "ssh://a/b", "http://a", "a\n", "a\x00b", "a;b", "$(a)", "ü", "a" * 300,
    ],
)  # fmt: skip
def test_invalid_addresses_are_refused(text):
    with pytest.raises(UsageError, match=r"not a host, want \[USER@\]HOST\[:PORT\]"):
        Address.parse(text)
