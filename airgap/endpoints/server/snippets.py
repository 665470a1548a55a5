"""Configuration snippets for clients, to pull from the server instead of the registries that its images are
named after. No I/O.
"""

import json
from collections.abc import Callable, Sequence

from airgap.values import dataclass

_HUB = "docker.io"


@dataclass(frozen=True, slots=True)
class Snippet:
    """The content of one configuration file of a client, and instructions for it."""

    client: str
    path: str
    content: str
    note: str

    @property
    def lines(self) -> list[str]:
        return [f"# {self.path}: {self.note}", *self.content.splitlines()]


def make_snippets(client: str, address: str, registries: Sequence[str]) -> list[Snippet]:
    """Make the snippets of one of `CLIENTS` for a server in plain HTTP at `address`, as clients reach it,
    with images of `registries`.
    """
    return _MAKERS[client](address, registries)


def _docker(address: str, registries: Sequence[str]) -> list[Snippet]:
    """Docker supports mirrors only for Docker Hub; it pulls other images by the server's own name."""
    value: dict[str, object] = {"insecure-registries": [address]}
    note = "merge, then: systemctl reload docker"
    if _HUB in registries:
        value = {"registry-mirrors": [f"http://{address}"], **value}
    if others := [host for host in registries if host != _HUB]:
        note += f"; images of {', '.join(others)}: docker pull {address}/{others[0]}/NAME:TAG"
    return [Snippet("docker", "/etc/docker/daemon.json", json.dumps(value, indent=2) + "\n", note)]


def _containerd(address: str, registries: Sequence[str]) -> list[Snippet]:
    """Make one file for each registry. The server replaces the registry itself, so that no request goes
    outside; containerd 1.6 ignores it without a `host`.
    """
    url = f'"http://{address}"'
    content = f'server = {url}\n\n[host.{url}]\n  capabilities = ["pull", "resolve"]\n'
    note = "takes effect with the next pull; config.toml must have config_path = /etc/containerd/certs.d"
    return [
        Snippet("containerd", f"/etc/containerd/certs.d/{host}/hosts.toml", content, note)
        for host in registries
    ]


def _k3s(address: str, registries: Sequence[str]) -> list[Snippet]:
    lines = ["mirrors:"]
    for host in registries:
        lines += [f'  "{host}":', "    endpoint:", f'      - "http://{address}"']
    note = "on each node, then: systemctl restart k3s (or k3s-agent); RKE2 reads /etc/rancher/rke2"
    return [Snippet("k3s", "/etc/rancher/k3s/registries.yaml", "\n".join(lines) + "\n", note)]


_MAKERS: dict[str, Callable[[str, Sequence[str]], list[Snippet]]] = {
    "docker": _docker,
    "containerd": _containerd,
    "k3s": _k3s,
}
CLIENTS = tuple(_MAKERS)
