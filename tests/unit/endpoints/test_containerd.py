"""containerd behind a `ctr` that is played here; tests/e2e/test_containerd.py has the real ones."""

import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from airgap.bundle.tar_entries import read_entries
from airgap.endpoints.containerd import Containerd
from airgap.errors import EndpointError, NotFoundError, UsageError
from airgap.oci.digest import Digest
from airgap.oci.documents import CONTAINERD_NAME, OCI_INDEX, OCI_MANIFEST
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference

A = ImageReference.parse("ghcr.io/acme/api:1")
ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
LS = "REF TYPE DIGEST SIZE PLATFORMS LABELS \n"
CHECK = "REF TYPE DIGEST STATUS SIZE UNPACKED \n"
VERSION = "Client:\n  Version:  1.7.0\n\nServer:\n  Version:  v2.1.9\n  UUID: x\n"
PLUGINS = (
    "TYPE ID PLATFORMS STATUS\n"
    "io.containerd.snapshotter.v1              blockfile                -                error\n"
    "io.containerd.snapshotter.v1              overlayfs                linux/arm64/v8   ok\n"
)


@dataclass
class FakeCtr:
    """Answers what a test tells it to."""

    answers: dict[str, str] = field(default_factory=dict)
    """By the first two words."""
    calls: list[tuple[str, ...]] = field(default_factory=list)
    fed: list[bytes] = field(default_factory=list)

    def run(self, *words: str) -> str:
        self.calls.append(words)
        return self.answers.get(" ".join(words[:2]), "")

    def feed(self, chunks: Iterable[bytes], *words: str) -> None:
        self.calls.append(words)
        self.fed.append(b"".join(chunks))


def row(name: object, digest: Digest, rest: str = "1.2 KiB linux/amd64 -") -> str:
    return f"{name}   application/vnd.oci.image.manifest.v1+json {digest}  {rest} \n"


def target(**answers: str) -> tuple[Containerd, FakeCtr]:
    ctr = FakeCtr({name.replace("_", " "): answer for name, answer in answers.items()})
    return Containerd("containerd:test", ctr), ctr


def test_names():
    assert Containerd().name == "containerd:k8s.io"
    assert Containerd("containerd:moby").name == "containerd:moby"


@pytest.mark.parametrize(
    "endpoint",
    ["containerd:", "containerd:-x", "containerd:a b", "containerd:a/b", f"containerd:{'a' * 77}", "ctr"],
)
def test_no_endpoint(endpoint: str):
    with pytest.raises(UsageError, match="not a containerd endpoint"):
        Containerd(endpoint)


def test_info_is_the_servers():
    info = target(version=VERSION, plugins_ls=PLUGINS)[0].info()
    assert (info.version, info.platform) == ("2.1.9", Platform("linux", "arm64"))
    assert (info.keeps_index, info.ids_are_configs) == (True, False)


@pytest.mark.parametrize(
    ("version", "plugins"), [("", PLUGINS), ("Client:\n Version: 1\n", PLUGINS), (VERSION, "")]
)
def test_no_info(version: str, plugins: str):
    with pytest.raises(EndpointError, match="unreadable answer: containerd:test"):
        target(version=version, plugins_ls=plugins)[0].info()


def test_find_takes_the_very_name():
    found, ctr = target(images_ls=LS + row(f"{A}0", TWO) + row(A, ONE))
    assert found.find(A) == ONE
    assert ctr.calls == [("images", "ls", 'name=="ghcr.io/acme/api:1"')]
    assert target(images_ls=LS)[0].find(A) is None
    assert target(images_ls="")[0].find(A) is None


@pytest.mark.parametrize(
    ("state", "whole"),
    [
        ("complete (3/3) 1 KiB/1 KiB true", True),
        ("complete (3/3) 1 KiB/1 KiB false", True),
        ("incomplete (2/3) 1 KiB/2 KiB false", False),
        ("unavailable (0/?) 0.0 B/? false", False),
    ],
)
def test_an_image_is_whole_when_ctr_reports_it_complete(state: str, whole: bool):
    found, ctr = target(images_check=CHECK + row(A, ONE, state))
    assert found.find_id(ONE) is whole
    assert ctr.calls == [("images", "check", f"target.digest=={ONE}")]


def test_another_image_does_not_count():
    assert not target(images_check=CHECK + row(A, TWO, "complete (3/3) 1 KiB true"))[0].find_id(ONE)


@pytest.mark.parametrize("answer", ["nonsense\n", LS + "one two\n", LS + f"{A} type sha256:xyz 1 B\n"])
def test_tables_that_are_none(answer: str):
    with pytest.raises(EndpointError, match="unreadable answer: containerd:test"):
        target(images_ls=answer)[0].find(A)


def test_images_of_other_digests_are_passed_over():
    other = row("x", ONE).replace("sha256:", "sha384:")
    assert target(images_ls=LS + other + row(A, ONE))[0].find(A) == ONE


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ('{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","layers":[]}', None),
        ('{"layers":[]}', OCI_MANIFEST),
        ('{"manifests":[]}', OCI_INDEX),
    ],
)
def test_a_name_is_given_by_a_table_alone(document: str, media_type: str | None):
    found, ctr = target(content_get=document)
    digest = Digest.of(document.encode())
    found.tag(digest, A)
    assert ctr.calls == [("content", "get", str(digest)), ("images", "import", "-")]
    files = {entry.name: data.read() for entry, data in read_entries(io.BytesIO(ctr.fed[0]))}
    assert list(files) == ["oci-layout", "index.json"]
    [entry] = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"][CONTAINERD_NAME] == str(A)
    assert (entry["digest"], entry["size"]) == (str(digest), len(document))
    assert entry["mediaType"] == media_type or json.loads(document)["mediaType"]


@pytest.mark.parametrize("content", ["", "[]", "a layer", '{"mediaType":1}'])
def test_content_that_is_not_an_image_gets_no_name(content: str):
    found, ctr = target(content_get=content)
    with pytest.raises(NotFoundError, match="no such image"):
        found.tag(ONE, A)
    assert ctr.fed == []


def test_an_absent_name_is_not_removed():
    found, ctr = target(images_ls=LS)
    found.untag(A)
    assert len(ctr.calls) == 1


def test_passing_names_are_swept_when_their_process_is_gone():
    own = str(Containerd().stage(ONE))
    assert own == f"airgap.invalid/loading/{os.getpid()}:{ONE.hex}"
    dead, alive = (own.replace(f"/{os.getpid()}:", f"/{pid}:") for pid in (4_194_305, os.getppid()))
    foreign = "airgap.invalid/loading/elsewhere:1"
    found, ctr = target(images_ls=LS + "".join(row(name, ONE) for name in (own, dead, alive, foreign)))
    found.sweep()
    assert [call[2] for call in ctr.calls if call[1] == "rm"] == [own, dead]


CONTAINERS = "CONTAINER    IMAGE    RUNTIME    \n"


@pytest.mark.parametrize(
    ("containers", "message"),
    [
        (f"{CONTAINERS}web    {A}    io.containerd.runc.v2    \n", "a container uses the image"),
        (f"{CONTAINERS}web    sha256:abc    io.containerd.runc.v2    \n", "a container uses the image"),
        ("", "unreadable answer"),
        ("web other:1 runc\n", "unreadable answer"),
        (f"{CONTAINERS}web\n", "unreadable answer"),
    ],
)
def test_an_image_in_use_keeps_its_name(containers: str, message: str):
    found, ctr = target(images_ls=LS + row(A, ONE) + row("sha256:abc", ONE), containers_ls=containers)
    with pytest.raises(EndpointError, match=message):
        found.remove_name(A, ONE)
    assert not [call for call in ctr.calls if call[1] == "rm"]


def test_a_name_that_nothing_uses_is_removed():
    other = f"{CONTAINERS}web    {A}0    io.containerd.runc.v2    \n"
    found, ctr = target(images_ls=LS + row(A, ONE) + row(f"{A}0", TWO), containers_ls=other)
    found.remove_name(A, ONE)
    assert ctr.calls[-1] == ("images", "rm", str(A))
