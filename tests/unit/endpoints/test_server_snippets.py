import json

import pytest
import yaml

from airgap.endpoints.server import CLIENTS, make_snippets


def contents(client: str, *registries: str) -> dict[str, str]:
    return {each.path: each.content for each in make_snippets(client, "stick:5000", registries)}


def test_docker_has_mirrors_for_its_hub_only():
    [(path, content)] = contents("docker", "docker.io", "ghcr.io").items()
    assert path == "/etc/docker/daemon.json"
    assert json.loads(content) == {
        "registry-mirrors": ["http://stick:5000"],
        "insecure-registries": ["stick:5000"],
    }
    [without] = make_snippets("docker", "stick:5000", ["ghcr.io"])
    assert json.loads(without.content) == {"insecure-registries": ["stick:5000"]}
    assert "docker pull stick:5000/ghcr.io/NAME:TAG" in without.note


def test_containerd_has_a_file_a_registry():
    found = contents("containerd", "docker.io", "reg.local:5000")
    assert list(found) == [
        "/etc/containerd/certs.d/docker.io/hosts.toml",
        "/etc/containerd/certs.d/reg.local:5000/hosts.toml",
    ]
    assert set(found.values()) == {
        'server = "http://stick:5000"\n\n[host."http://stick:5000"]\n  capabilities = ["pull", "resolve"]\n'
    }


def test_k3s_has_one_file_for_all():
    [content] = contents("k3s", "docker.io", "reg.local:5000").values()
    endpoint = {"endpoint": ["http://stick:5000"]}
    assert yaml.safe_load(content) == {"mirrors": {"docker.io": endpoint, "reg.local:5000": endpoint}}


@pytest.mark.parametrize("client", CLIENTS)
def test_each_snippet_names_its_file(client: str):
    for snippet in make_snippets(client, "stick:5000", ["docker.io"]):
        assert snippet.lines[0].startswith(f"# {snippet.path}: ")
        assert snippet.lines[1:] == snippet.content.splitlines()
