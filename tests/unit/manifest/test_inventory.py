"""Inventories: what they say of each host, and where a mistake stands."""

import pytest

from airgap.errors import FormatError
from airgap.manifest.inventory import Inventory, InventoryHost


def parse(text: str) -> tuple[InventoryHost, ...]:
    return Inventory.parse(text.encode(), "i.yaml").hosts


def hosts(text: str) -> str:
    return f"version: 1\nhosts:\n{text}\n"


def test_short_forms():
    assert parse(hosts("  - plant\n  - carrier@plant-b:2222\n  - '[::1]'\n  - a_b")) == tuple(
        InventoryHost(address, None, None) for address in ("plant", "carrier@plant-b:2222", "[::1]", "a_b")
    )


def test_long_forms_and_defaults():
    text = (
        "version: 1\nto: /srv/airgap\nload: docker\nhosts:\n  - plant-a\n"
        "  - {host: plant-b, user: carrier, port: 2222, to: bundles, load: 'registry:localhost:5000'}\n"
        "  - host: fe80::1%eth0\n    user: root\n"
    )
    assert parse(text) == (
        InventoryHost("plant-a", "/srv/airgap", "docker"),
        InventoryHost("carrier@plant-b:2222", "bundles", "registry:localhost:5000"),
        InventoryHost("root@[fe80::1%eth0]", "/srv/airgap", "docker"),
    )


def test_a_file(tmp_path):
    path = tmp_path / "hosts.yaml"
    path.write_text(hosts("  - plant"))
    assert Inventory.load(path).hosts == (InventoryHost("plant", None, None),)
    with pytest.raises(FormatError, match="no such file"):
        Inventory.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "want", "hint"),
    [
        ("", "empty document: i.yaml:1:1", ""),
        ("hosts: [a]\n", "missing key: i.yaml:1:1, want 'version'", ""),
        ("version: 1\n", "missing key: i.yaml:1:1, want 'hosts'", ""),
        ("version: 2\nhosts: [a]\n", "unsupported version: i.yaml:1:10, want 1, got '2'", "a newer airgap"),
        ("version: 1\nhosts: []\n", "wrong type: i.yaml:2:8, want at least one, got a list", ""),
        ("version: 1\nhosts: a\n", "wrong type: i.yaml:2:8, want a list, got 'a'", ""),
        ("version: 1\nhost: [a]\n", "unknown key: i.yaml:2:1, want one of version, to, load, hosts, got 'host'", "did you mean 'hosts'?"),
        (hosts("  - [a]"), r"wrong type: i.yaml:3:5, want [USER@]HOST[:PORT] or a mapping, got a list", ""),
        (hosts("  - "), "wrong type: i.yaml:3:4, want text, got nothing", ""),
        (hosts("  - {}"), "missing key: i.yaml:3:5, want 'host'", ""),
        (hosts("  - {user: a}"), "missing key: i.yaml:3:5, want 'host'", ""),
        (hosts("  - {hots: a}"), "unknown key: i.yaml:3:6, want one of host, user, port, to, load, got 'hots'", "did you mean 'host'?"),
        (hosts("  - {host: a, password: b}"), "unknown key: i.yaml:3:15", ""),
        (hosts("  - -oProxyCommand=x"), "not a host: i.yaml:3:5, want [USER@]HOST[:PORT] or a mapping, got '-oProxyCommand=x'", ""),
        (hosts("  - 'a b'"), "not a host: i.yaml:3:5", ""),
        (hosts("  - 'a;b'"), "not a host: i.yaml:3:5", ""),
        (hosts("  - a:0"), "not a host: i.yaml:3:5", ""),
        (hosts("  - a:65536"), "not a host: i.yaml:3:5", ""),
        (hosts("  - ::1"), "not a host: i.yaml:3:5", ""),
        (hosts("  - {host: 'a:1'}"), "not a host: i.yaml:3:12, want a name or an address, got 'a:1'", ""),
        (hosts("  - {host: -x}"), "not a host: i.yaml:3:12", ""),
        (hosts("  - {host: a, user: -x}"), "not a user: i.yaml:3:21", ""),
        (hosts("  - {host: a, user: 'a b'}"), "not a user: i.yaml:3:21", ""),
        (hosts("  - {host: a, port: 0}"), "not a port: i.yaml:3:21, want 1 to 65535, got '0'", ""),
        (hosts("  - {host: a, port: 070000}"), "not a port: i.yaml:3:21", ""),
        (hosts("  - {host: a, port: ssh}"), "not a port: i.yaml:3:21", ""),
        (hosts("  - {host: a, port: [1]}"), "wrong type: i.yaml:3:21, want text, got a list", ""),
        (hosts("  - {host: a, to: [1]}"), "wrong type: i.yaml:3:19, want text, got a list", ""),
        (hosts('  - {host: a, to: "a\\tb"}'), "not a plain line of text: i.yaml:3:19", ""),
        (hosts("  - a\n  - b\n  - a"), "host listed twice: i.yaml:5:5, got 'a', as on line 3", ""),
        (hosts("  - a:22\n  - {host: a, port: 22}"), "host listed twice: i.yaml:4:5, got 'a:22', as on line 3", ""),
        (hosts("  - &x a\n  - *x"), "YAML anchors and aliases are not allowed: i.yaml:3:5", "write the value out"),
        (hosts("  - !!str a"), "YAML tags are not allowed: i.yaml:3:5", ""),
        (hosts("  - {host: a, host: b}"), "duplicate key: i.yaml:3:15", ""),
    ],
)  # fmt: skip
def test_mistakes(text, want, hint):
    with pytest.raises(FormatError) as caught:
        parse(text)
    assert str(caught.value).startswith(want)
    assert (caught.value.hint or "").startswith(hint)
