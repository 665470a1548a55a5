"""The Docker engine: what it is asked for, and what it answers."""

import pytest

from airgap.endpoints.docker.engine import DockerEngine
from airgap.endpoints.engine_info import EngineInfo
from airgap.errors import (
    AccessDeniedError,
    EndpointError,
    NotFoundError,
    UnavailableError,
    UsageError,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX, OCI_MANIFEST
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference
from tests.support.daemon import Daemon
from tests.support.saves import (
    IDS,
)
from tests.unit.endpoints.docker_support import ID, A, engine

AMD64 = Platform("linux", "amd64")


class TestEndpoint:
    def test_it_sends_no_request_before_the_first_use(self, tmp_path):
        found = DockerEngine(f"docker:unix://{tmp_path}/none.sock")
        assert found.name == f"docker:unix://{tmp_path}/none.sock"

    def test_the_default_follows_docker_host(self, daemon, monkeypatch):
        monkeypatch.setenv("DOCKER_HOST", f"unix://{daemon.socket}")
        assert DockerEngine().info().version == "28.5.2"
        assert DockerEngine().name == "docker"

    @pytest.mark.parametrize(
        "endpoint",
        [
            "",
            "podman:",
            "podman:/run/podman.sock",
            "nerdctl",
            "docker:",
            "docker:/run/docker.sock",
            "docker:http://x",
            "docker://x",
            "dockerunix://",
        ],
    )
    def test_invalid_endpoints_are_refused(self, endpoint):
        with pytest.raises(UsageError, match="not a Docker endpoint"):
            DockerEngine(endpoint)

    @pytest.mark.parametrize(
        ("host", "hint"),
        [
            ("unix:///nonexistent/docker.sock", "may this user read /nonexistent/docker.sock?"),
            ("tcp://127.0.0.1:1", "does it listen there?"),
        ],
    )
    def test_no_engine(self, host, hint):
        with pytest.raises(UnavailableError, match="the engine does not answer: docker:") as caught:
            DockerEngine(f"docker:{host}").info()
        assert hint in caught.value.hint

    def test_ssh_never_goes_the_way_of_the_sdk(self, monkeypatch):
        with pytest.raises(UsageError, match="SSH is not available here"):
            DockerEngine("docker:ssh://nobody@127.0.0.1:1").info()
        monkeypatch.setenv("DOCKER_HOST", "ssh://nobody@127.0.0.1:1")
        with pytest.raises(UsageError, match="SSH is not available here"):
            DockerEngine().info()

    def test_says_why(self, tmp_path):
        with pytest.raises(UnavailableError, match=r"got No such file or directory$"):
            DockerEngine(f"docker:unix://{tmp_path}/none.sock").find(A)

    def test_something_else_answers(self, daemon):
        daemon.failures["/version"] = (500, "I am a teapot")
        with pytest.raises(EndpointError, match=r"cannot read the engine's version: .*I am a teapot"):
            engine(daemon).info()


class TestInfo:
    @pytest.mark.parametrize(
        ("api", "containerd", "zstd"), [("1.41", False, False), ("1.42", False, True), ("1.44", True, True)]
    )
    def test_stores_and_versions(self, tmp_path, api, containerd, zstd):
        with Daemon(tmp_path, api=api, containerd=containerd) as daemon:
            assert engine(daemon).info() == EngineInfo(
                platform=AMD64, keeps_index=containerd, zstd_layers=zstd, version="28.5.2"
            )

    def test_is_asked_once(self, daemon):
        found = engine(daemon)
        assert found.info() is found.info()
        assert daemon.calls.count("GET /info") == 1

    def test_old_arm(self, daemon):
        daemon.version["Arch"], daemon.info = "arm", {"Architecture": "armv6l", "DriverStatus": None}
        assert str(engine(daemon).info().platform) == "linux/arm/v6"

    def test_failure(self, daemon):
        daemon.failures["/info"] = (500, "disk on fire")
        with pytest.raises(
            EndpointError, match=r"cannot read the engine's state: docker:unix:.*, got disk on fire"
        ):
            engine(daemon).info()


class TestLookUp:
    def test_by_name(self, daemon):
        daemon.images["docker.io/t/a:1"] = {"Id": str(ID)}
        assert engine(daemon).identify(A) == ID
        assert engine(daemon).find(A) == ID

    def test_by_registry_digest(self, daemon):
        daemon.images[f"docker.io/t/a@{IDS['a']}"] = {"Id": str(ID)}
        assert engine(daemon).identify(ImageReference.parse(f"t/a@{IDS['a']}")) == ID
        assert engine(daemon).find(ImageReference.parse(f"t/a@{IDS['a']}")) == ID

    def test_by_image_id(self, daemon):
        daemon.images[str(ID)] = {"Id": str(ID)}
        assert engine(daemon).identify(A.with_digest(ID)) == ID

    def test_find_goes_by_the_tag(self, daemon):
        daemon.images["docker.io/t/a:1"] = {"Id": str(ID)}
        assert engine(daemon).find(A.with_digest(IDS["b"])) == ID

    def test_not_there(self, daemon):
        assert engine(daemon).find(A) is None
        assert not engine(daemon).find_id(ID)
        with pytest.raises(NotFoundError, match=r"no such image: docker:unix:.*: docker\.io/t/a:1") as caught:
            engine(daemon).identify(A)
        assert caught.value.hint == "docker pull t/a:1"

    @pytest.mark.parametrize("answer", [[], {}, {"Id": None}, {"Id": "abc"}, {"Id": "sha256:../x"}])
    def test_nonsense(self, daemon, answer):
        daemon.images["docker.io/t/a:1"] = answer
        with pytest.raises(EndpointError, match="unreadable answer"):
            engine(daemon).find(A)

    def test_no_json(self, daemon):
        daemon.images["docker.io/t/a:1"] = b"<html>"
        with pytest.raises(EndpointError, match="unreadable answer"):
            engine(daemon).find(A)

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(401, AccessDeniedError), (403, AccessDeniedError), (400, EndpointError), (500, EndpointError)],
    )
    def test_refused(self, daemon, status, kind):
        daemon.failures["/images/docker.io/t/a:1/json"] = (status, "no!\x1b[31m")
        with pytest.raises(kind, match=r"cannot inspect: docker:unix:.*, got no!\\x1b") as caught:
            engine(daemon).find(A)
        assert type(caught.value) is kind


def manifest(*, available: bool, content: int = 10, kind: str = "image") -> dict:
    return {"Kind": kind, "Available": available, "Size": {"Content": content}}


class TestFindId:
    def test_classic_store(self, daemon):
        daemon.images[str(ID)] = {"Id": str(ID)}
        assert engine(daemon).find_id(ID)

    def test_the_id_of_something_else(self, daemon):
        daemon.images[str(ID)] = {"Id": str(IDS["a"])}
        assert not engine(daemon).find_id(ID)

    @pytest.mark.parametrize(
        ("manifests", "whole"),
        [
            ([manifest(available=True)], True),
            ([manifest(available=True), manifest(available=False, content=0)], True),
            ([manifest(available=True), manifest(available=False, kind="attestation")], True),
            ([manifest(available=False)], False),
            ([manifest(available=True), manifest(available=False)], False),
            ([manifest(available=False, content=0)], False),
            ([{"Kind": "image"}], False),
            ([], False),
        ],
    )
    def test_containerd_store(self, containerd, manifests, whole):
        containerd.images[str(ID)] = {"Id": str(ID), "Manifests": manifests}
        assert engine(containerd).find_id(ID) is whole
        assert containerd.queries[-1] == {"manifests": ["1"]}

    def test_which_platforms_of_an_index_are_there(self, containerd):
        index = {"mediaType": OCI_INDEX, "digest": str(ID), "size": 9}
        here, absent = (
            {
                "Kind": "image",
                "Available": there,
                "Descriptor": {"mediaType": OCI_MANIFEST, "digest": str(d), "size": 9},
            }
            for d, there in ((Digest.of(b"here"), True), (Digest.of(b"absent"), False))
        )
        containerd.images[str(ID)] = {"Id": str(ID), "Descriptor": index, "Manifests": [here, absent]}
        assert engine(containerd).find_id(ID, [Digest.of(b"here")])
        assert not engine(containerd).find_id(ID, [Digest.of(b"here"), Digest.of(b"absent")])
        containerd.images[str(ID)]["Descriptor"]["mediaType"] = OCI_MANIFEST
        assert engine(containerd).find_id(ID, [Digest.of(b"absent")]), "not an index"

    def test_a_graph_driver_has_no_index(self, daemon):
        daemon.images[str(ID)] = {"Id": str(ID)}
        assert engine(daemon).find_id(ID, [Digest.of(b"absent")])

    @pytest.mark.parametrize(("architecture", "whole"), [("amd64", True), ("", False)])
    def test_containerd_store_before_it_listed_manifests(self, tmp_path, architecture, whole):
        with Daemon(tmp_path, api="1.44", containerd=True) as daemon:
            daemon.images[str(ID)] = {"Id": str(ID), "Architecture": architecture}
            assert engine(daemon).find_id(ID) is whole
            assert daemon.queries[-1] == {}


class TestTags:
    def test_tag(self, daemon):
        engine(daemon).tag(ID, A)
        assert daemon.calls[-1] == f"POST /images/{ID}/tag"
        assert daemon.queries[-1]["repo"] == ["docker.io/t/a"]
        assert daemon.queries[-1]["tag"] == ["1"]

    def test_tag_needs_a_tag(self, daemon):
        with pytest.raises(EndpointError, match="without a tag"):
            engine(daemon).tag(ID, ImageReference.parse(f"t/a@{ID}"))

    def test_tag_of_what_is_not_there(self, daemon):
        daemon.failures[f"/images/{ID}/tag"] = (404, "No such image")
        with pytest.raises(NotFoundError, match=r"cannot tag: .*t/a:1"):
            engine(daemon).tag(ID, A)

    def test_untag_takes_only_the_name(self, daemon):
        engine(daemon).untag(A.with_digest(ID))
        assert daemon.calls[-1] == "DELETE /images/docker.io/t/a:1"
        assert daemon.queries[-1] == {"noprune": ["1"]}

    def test_untag_of_what_is_not_there(self, daemon):
        daemon.failures["/images/docker.io/t/a:1"] = (404, "No such image")
        assert engine(daemon).untag(A) is None

    def test_untag_in_use(self, daemon):
        daemon.failures["/images/docker.io/t/a:1"] = (409, "container abc is using it")
        with pytest.raises(EndpointError, match="container abc is using it"):
            engine(daemon).untag(A)
