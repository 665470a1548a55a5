"""From the spelling of an endpoint to the object, each source opened once."""

from pathlib import Path

import pytest

from airgap.cli.endpoints import Endpoints
from airgap.endpoints.archive import Archive, ArchiveFile
from airgap.endpoints.containerd import Containerd
from airgap.endpoints.docker.engine import DockerEngine
from airgap.endpoints.images_folder import ImagesFolder
from airgap.endpoints.layout import Layout
from airgap.endpoints.registry import Registry
from airgap.errors import UsageError
from airgap.oci.reference import ImageReference

REFERENCE = ImageReference.parse("127.0.0.1:5000/acme/api:1")


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("oci:/srv/images", Layout, "oci:/srv/images"),
        ("oci:a:b", Layout, "oci:a:b"),
        ("archive:/tmp/x.tar", ArchiveFile, "archive:/tmp/x.tar"),
        ("registry:127.0.0.1:5000", Registry, "registry:127.0.0.1:5000"),
        ("registry:127.0.0.1:5000/mirror/team", Registry, "registry:127.0.0.1:5000/mirror/team"),
        ("docker", DockerEngine, "docker"),
        ("podman", DockerEngine, "podman"),
        ("podman:unix:///run/p.sock", DockerEngine, "podman:unix:///run/p.sock"),
        ("containerd", Containerd, "containerd:k8s.io"),
        ("containerd:moby", Containerd, "containerd:moby"),
        ("k3s:/srv/images", ImagesFolder, "k3s:/srv/images"),
        ("rke2:/srv/a:b", ImagesFolder, "rke2:/srv/a:b"),
        ("k0s:images", ImagesFolder, "k0s:images"),
        ("docker:unix:///run/x.sock", DockerEngine, "docker:unix:///run/x.sock"),
    ],
)
def test_targets(text, kind, name):
    target = Endpoints().target(text)
    assert isinstance(target, kind)
    assert target.name == name


@pytest.mark.parametrize(
    "text",
    ["", ":", "oci", "oci:", "archive", "archive:", "registry", "registry:", "Docker", "ftp:x", "/a/b"],
)
def test_what_is_no_target(text):
    with pytest.raises(UsageError, match="not a target"):
        Endpoints().target(text)


@pytest.mark.parametrize(
    ("kind", "reference", "path", "expected"),
    [
        ("registry", REFERENCE, None, Registry),
        ("docker", REFERENCE, None, DockerEngine),
        ("docker:unix:///run/x.sock", REFERENCE, None, DockerEngine),
        ("oci", None, Path("/srv/images"), Layout),
        ("archive", None, "archive", Archive),
    ],
)
def test_sources_are_opened_once(tmp_path, kind, reference, path, expected):
    if path == "archive":
        path = tmp_path / "x.tar"
        path.write_bytes(b"")
    endpoints = Endpoints()
    source = endpoints.source(kind, reference, path)
    assert isinstance(source, expected)
    assert endpoints.source(kind, reference, path) is source


def test_registries_are_one_for_each_host():
    endpoints = Endpoints()
    other = ImageReference.parse("127.0.0.1:5001/acme/api:1")
    same = ImageReference.parse("127.0.0.1:5000/acme/web:1")
    source = endpoints.source("registry", REFERENCE, None)
    assert endpoints.source("registry", same, None) is source
    assert endpoints.source("registry", other, None) is not source
