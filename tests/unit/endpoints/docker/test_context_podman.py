from pathlib import Path

import pytest

from airgap.endpoints.docker.answers import answers_to, is_podman
from airgap.endpoints.docker.context import podman_host
from airgap.endpoints.docker.engine import DockerEngine
from airgap.errors import UnavailableError
from airgap.oci.digest import Digest
from airgap.oci.strict_json import Fields
from tests.support.daemon import Daemon

ID, MANIFEST = Digest.of(b"config"), Digest.of(b"manifest")
ROOTFUL, OWN = "/run/podman/podman.sock", "/run/user/7/podman/podman.sock"
RUNTIME = {"XDG_RUNTIME_DIR": "/run/user/7"}
PODMAN = {"Components": [{"Name": "Podman Engine", "Version": "5.8.6"}]}


@pytest.mark.parametrize(
    ("environ", "there", "uid", "found"),
    [
        (RUNTIME, [], 0, ROOTFUL),
        (RUNTIME, [OWN], 0, ROOTFUL),
        (RUNTIME, [OWN, ROOTFUL], 7, OWN),
        (RUNTIME, [ROOTFUL], 7, ROOTFUL),
        (RUNTIME, [], 7, OWN),
        ({}, [], 7, ROOTFUL),
    ],
)
def test_the_usual_socket(environ: dict[str, str], there: list[str], uid: int, found: str):
    assert podman_host(environ, there.__contains__, uid) == f"unix://{found}"


def test_container_host_wins():
    assert podman_host({"CONTAINER_HOST": "ssh://a@b"}, lambda _: True, 0) == "ssh://a@b"


@pytest.mark.parametrize(
    "version",
    [{}, {"Components": None}, {"Components": [{"Name": "Engine"}]}, {"Components": ["Podman Engine"]}],
)
def test_other_engines_are_not_podman(version: dict[str, object]):
    assert not is_podman(version)
    assert is_podman(PODMAN)


@pytest.mark.parametrize("names", [None, [], [f"ghcr.io/a@{ID}"], [f"ghcr.io/a@{MANIFEST}x"]])
def test_digests_that_are_not_known(names: list[str] | None):
    image = Fields({"Id": str(ID), "RepoDigests": names}, "image")
    assert not answers_to(image, MANIFEST)
    assert answers_to(image, ID)
    named = Fields({"Id": str(ID), "RepoDigests": [f"ghcr.io/a@{MANIFEST}"]}, "image")
    assert answers_to(named, MANIFEST)


def test_an_engine_that_says_it_is_podman(tmp_path: Path):
    with Daemon(tmp_path, api="1.41") as daemon:
        daemon.version |= PODMAN
        daemon.images["x"] = {"Id": str(ID), "RepoDigests": [f"ghcr.io/a@{MANIFEST}"]}
        engine = DockerEngine(daemon.endpoint, timeout=20)
        info = engine.info()
        assert (info.keeps_index, info.ids_are_configs) == (True, True)
        assert engine.find_id(ID)
        assert engine.find_id(MANIFEST)
        assert not engine.find_id(Digest.of(b"other"))


def test_podman_that_does_not_listen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/podman.sock")
    with pytest.raises(UnavailableError, match="the engine does not answer: podman") as caught:
        DockerEngine("podman").info()
    assert "systemctl start podman.socket" in caught.value.hint
