"""Stock clients pull from the read-only registry."""

import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from airgap.endpoints.layout import Layout
from airgap.endpoints.server import ImageServer
from tests.support.engines import Engine
from tests.support.images import Image, Layer, make_image, make_index, noise, simple_image, write_layout
from tests.support.parts import CommandFailedError

Tool = Callable[..., subprocess.CompletedProcess[bytes]]

HELLO = simple_image("hello")
OLD = simple_image("old", docker=True)
BIG = make_image([Layer.of({"big": noise(20 << 20, 1)}, "none"), Layer.of({"small": b"x"})])
INDEX = make_index([HELLO, simple_image("arm", platform="linux/arm64")])
IMAGES = {
    "docker.io/library/hello:1": HELLO,
    "docker.io/acme/old:1": OLD,
    "ghcr.io/acme/big:1": BIG,
    "ghcr.io/acme/index:1": INDEX,
}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "layout", IMAGES)


@pytest.fixture
def server(layout: Path) -> Iterator[ImageServer]:
    with ImageServer([Layout(layout)]) as server:
        yield server


@pytest.mark.parametrize(
    ("name", "image", "platform"),
    [
        ("library/hello:1", HELLO, HELLO),
        ("docker.io/library/hello:1", HELLO, HELLO),
        ("acme/old:1", OLD, OLD),
        ("acme/big:1", BIG, BIG),
        ("ghcr.io/acme/index:1", INDEX, HELLO),
        (f"acme/index@{INDEX.descriptor.digest}", INDEX, HELLO),
    ],
)
def test_docker_pulls(engine: Engine, server: ImageServer, name: str, image: Image, platform: Image):
    reference = f"{server.address}/{name}"
    engine.docker("pull", reference)
    found = engine.inspect(reference)
    repository = reference.partition("@")[0] if "@" in reference else reference.rpartition(":")[0]
    assert found["RepoDigests"] == [f"{repository}@{image.descriptor.digest}"]
    assert found["Id"] == str(image.descriptor.digest if "containerd" in engine.kind else platform.config)


def test_docker_does_not_get_a_wrong_layer(docker28c: Engine, server: ImageServer, layout: Path):
    path = layout / BIG.layers[0].path
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(CommandFailedError):
        docker28c.docker("pull", f"{server.address}/acme/big:1")  # a classic store tries for a minute
    assert docker28c.images() == []


def test_docker_cannot_push(engine: Engine, server: ImageServer):
    name = f"{server.address}/library/hello:1"
    engine.docker("pull", name)
    engine.docker("tag", name, f"{server.address}/library/mine:1")
    with pytest.raises(CommandFailedError):
        engine.docker("push", f"{server.address}/library/mine:1")


@pytest.fixture(params=["Debian's own", "sid's"])
def any_skopeo(request: pytest.FixtureRequest) -> Tool:
    if request.param == "Debian's own":
        return request.getfixturevalue("skopeo")
    return partial(request.getfixturevalue("sid"), "skopeo", "--insecure-policy")


@pytest.mark.parametrize(
    ("name", "image"), [("acme/index:1", INDEX), ("acme/old:1", OLD), ("acme/big:1", BIG)]
)
def test_skopeo_copies_bit_for_bit(
    any_skopeo: Tool, server: ImageServer, tmp_path: Path, name: str, image: Image
):
    source = f"docker://{server.address}/{name}"
    any_skopeo(
        "copy", "--all", "--preserve-digests", "--src-tls-verify=false", source, f"dir:{tmp_path}/copy"
    )
    assert (tmp_path / "copy" / "manifest.json").read_bytes() == image.raw
    for digest in image.layers:
        assert (tmp_path / "copy" / digest.hex).read_bytes() == image.contents[digest]


def test_skopeo_lists_tags(server: ImageServer, skopeo):
    found = skopeo("list-tags", "--tls-verify=false", f"docker://{server.address}/acme/index").stdout
    assert json.loads(found)["Tags"] == ["1"]


def test_crane(server: ImageServer, tmp_path: Path, sid):
    name = f"{server.address}/acme/index:1"
    assert sid("crane", "digest", name).stdout.decode().strip() == str(INDEX.descriptor.digest)
    assert sid("crane", "manifest", name).stdout == INDEX.raw
    assert sid("crane", "ls", f"{server.address}/acme/index").stdout.decode().split() == ["1"]
    assert sid("crane", "catalog", server.address).stdout.decode().split() == list(server.repositories)
    sid("crane", "pull", "--format=oci", name, tmp_path / "pulled")
    for digest, raw in INDEX.contents.items():
        assert (tmp_path / "pulled" / digest.path).read_bytes() == raw
    sid("crane", "pull", f"{server.address}/library/hello:1", tmp_path / "hello.tar")
    with tarfile.open(tmp_path / "hello.tar") as tar:
        assert str(HELLO.config) in tar.getnames()
    sid("crane", "validate", "--remote", f"{server.address}/library/hello:1")


def test_oras(server: ImageServer, tmp_path: Path, sid):
    name = f"{server.address}/acme/index:1"
    sid("oras", "copy", "--recursive", "--from-plain-http", name, "--to-oci-layout", f"{tmp_path}/copy:1")
    for digest, raw in INDEX.contents.items():
        assert (tmp_path / "copy" / digest.path).read_bytes() == raw
