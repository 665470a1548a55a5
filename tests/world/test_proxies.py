"""Proxies and certificates of a company, as the usual tools take them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from airgap.endpoints.registry import Registry, RegistryOptions, config
from airgap.endpoints.registry.proxies import Proxies
from airgap.errors import UnavailableError, UsageError
from tests.support.certificates import self_signed
from tests.support.registry import FakeRegistry
from tests.unit.endpoints.registry_support import IMAGE, filled, named
from tests.world.table import Kind, Row, replays, row

FAR = "https://registry.example:5000/v2/"
PROXY = {"HTTPS_PROXY": "http://proxy:3128"}


def proxy_row(who: str, does: str, reported: str, answer: str) -> Row:
    return Row(Kind.LOGINS, who, does, reported, answer)


CHOSEN = {
    "networks": (
        proxy_row("skopeo", "must not use the proxy for networks in NO_PROXY",
                  "podman-container-tools/skopeo#588", "takes networks (CIDR) in NO_PROXY"),
        (PROXY | {"NO_PROXY": "localhost,127.0.0.0/8,172.16.0.0/12,192.168.0.0/16"}, "https://192.168.24.1:8787/", None),
    ),
    "dot": (
        proxy_row("Go", "means only what is below a name with a leading dot in NO_PROXY",
                  "golang.org/x/net/http/httpproxy", "does the same"),
        (PROXY | {"NO_PROXY": ".registry.example"}, FAR, "http://proxy:3128"),
    ),
    "star dot": (
        proxy_row("Go", "takes `*.NAME` in NO_PROXY as `.NAME`", "golang.org/x/net/http/httpproxy", "does the same"),
        (PROXY | {"NO_PROXY": "*.example"}, FAR, None),
    ),
    "port": (
        proxy_row("Go", "takes a port behind a name or an address in NO_PROXY", "golang.org/x/net/http/httpproxy", "does the same"),
        (PROXY | {"NO_PROXY": "registry.example:5001"}, FAR, "http://proxy:3128"),
    ),
    "IPv6": (
        proxy_row("Go", "takes `[ADDRESS]:PORT` in NO_PROXY", "golang/go#16704", "does the same"),
        (PROXY | {"NO_PROXY": "[fd00::1]:5000"}, "https://[fd00::1]:5000/", None),
    ),
    "everything": (
        proxy_row("Go", "does not use a proxy for `*` in NO_PROXY", "golang.org/x/net/http/httpproxy", "does the same"),
        (PROXY | {"NO_PROXY": "*"}, FAR, None),
    ),
    "a socket": (
        proxy_row("people", "put /var/run/docker.sock into NO_PROXY", "tmatilai/vagrant-proxyconf#109",
                  "ignores invalid names"),
        (PROXY | {"NO_PROXY": "/var/run/docker.sock"}, FAR, "http://proxy:3128"),
    ),
    "full stop": (
        proxy_row("Kubernetes", "has proxies with a full stop behind the name",
                  "podman-container-tools/skopeo#636", "takes the name as it is"),
        ({"https_proxy": "http://squid.svc.cluster.local.:3128/"}, FAR, "http://squid.svc.cluster.local.:3128"),
    ),
    "loopback": (
        proxy_row("Go", "reaches loopback without a proxy", "golang.org/x/net/http/httpproxy",
                  "does the same, and does not look at the variable"),
        ({"HTTPS_PROXY": "socks5://proxy:1080", "HTTP_PROXY": "ftp://x"}, "https://127.0.0.1:5000/v2/", None),
    ),
    "other scheme": (
        proxy_row("people", "set HTTP_PROXY to a SOCKS proxy beside an HTTPS_PROXY",
                  "podman-container-tools/skopeo#1433", "reads only the variable that is needed"),
        (PROXY | {"HTTP_PROXY": "socks5://127.0.0.1:7890"}, FAR, "http://proxy:3128"),
    ),
    "all": (
        proxy_row("docker CLI 28, skopeo, crane", "do not read ALL_PROXY", "measured", "does not either"),
        ({"ALL_PROXY": "socks5://127.0.0.1:1"}, FAR, None),
    ),
}  # fmt: skip


@replays(CHOSEN)
def test_which_proxy_is_asked(case: tuple[Mapping[str, str], str, str | None]) -> None:
    environment, url, wanted = case
    found = Proxies.of(environment).choose(url)
    assert (found.url if found else None) == wanted


@row(
    Kind.LOGINS, "Go", "takes `socks5://` in HTTPS_PROXY", "podman-container-tools/skopeo#1433",
    "refuses it by name, and only where it is needed",
)  # fmt: skip
def test_socks_is_refused_where_it_is_needed() -> None:
    proxies = Proxies.of({"HTTPS_PROXY": "socks5://me:s3cret@proxy:1080"})
    with pytest.raises(UsageError, match="not a proxy: HTTPS_PROXY, want http") as caught:
        proxies.choose(FAR)
    assert "SOCKS proxies are not supported" in (caught.value.hint or "")
    assert "s3cret" not in f"{caught.value} {caught.value.hint} {proxies}"


@row(
    Kind.LOGINS, "dockerd until 20.10", "reached registries through the SOCKS proxy in ALL_PROXY", "moby/moby#22316",
    "does not, and reports it if a registry cannot be reached",
)  # fmt: skip
def test_all_proxy_is_named_if_the_registry_does_not_answer() -> None:
    proxies = Proxies.of({"ALL_PROXY": "socks5://me:s3cret@127.0.0.1:1"})
    with filled(FakeRegistry()) as fake:
        options = RegistryOptions(proxies=proxies, retries=0)
        assert Registry(fake.host, options=options).resolve(named(fake)).digest == IMAGE.descriptor.digest
    with pytest.raises(UnavailableError, match="cannot reach the registry") as caught:
        Registry(fake.host, options=options).resolve(named(fake))
    assert "ALL_PROXY is not read" in (caught.value.hint or "")


CERTIFICATES = {
    "docker": (
        proxy_row("dockerd", "believes every `*.crt` in /etc/docker/certs.d/HOST:PORT", "Docker's manual: Verify repository client with certificates",
                  "does the same"),
        "docker",
    ),
    "podman": (
        proxy_row("podman, skopeo", "believe every `*.crt` in ~/.config/containers/certs.d/HOST:PORT",
                  "containers-certs.d(5)", "does so where Docker's folder has none"),
        "containers",
    ),
}  # fmt: skip


@replays(CERTIFICATES)
def test_certificates_of_the_users_own_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    pair, other = self_signed(tmp_path), tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr(config, "DOCKER_CERTS", tmp_path / "docker")
    monkeypatch.setattr(config, "CONTAINERS_CERTS", (tmp_path / "containers", tmp_path / "none"))
    with filled(FakeRegistry(tls=pair)) as fake:
        folder = tmp_path / case / fake.host
        folder.mkdir(parents=True)
        (folder / "a-first.crt").write_bytes(self_signed(other, "another")[0].read_bytes())
        (folder / "my-company.crt").write_bytes(pair[0].read_bytes())
        options = RegistryOptions(certs_folder=tmp_path / "docker", plain_http=False, retries=0)
        assert Registry(fake.host, options=options).resolve(named(fake)).digest == IMAGE.descriptor.digest
