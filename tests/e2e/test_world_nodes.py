"""Real containerds as nodes have them: the names and labels that Kubernetes looks for."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.airgap import Gap, environment, manifest_of
from tests.e2e.conftest import Tool
from tests.e2e.corpus import push, version
from tests.support.containerds import RealContainerd
from tests.support.engines import Engine
from tests.support.images import simple_image
from tests.support.registries import RealRegistry
from tests.world.table import Kind, row

PIN = "io.cri-containerd.pinned=pinned"


@pytest.fixture
def node(containerd: RealContainerd) -> Iterator[RealContainerd]:
    """One whose namespace k8s.io has no names at first."""
    with environment(**containerd.environment):
        for name in containerd.names("k8s.io"):
            containerd.ctr("k8s.io", "images", "rm", name)
        yield containerd


def labels(node: RealContainerd, name: str) -> str:
    """What ctr lists of a name."""
    lines = node.ctr("k8s.io", "images", "ls", f'name=="{name}"').stdout.decode().splitlines()[1:]
    return lines[0].split()[-1] if lines else ""


def managed(node: RealContainerd, names: list[str]) -> None:
    """Wait until the CRI plugin has taken in the names, as it does on its own."""
    for _ in range(100):
        if all("io.cri-containerd.image=managed" in labels(node, name) for name in names):
            return
        time.sleep(0.1)
    pytest.fail("the CRI plugin has not taken them in")


def test_a_pinned_image_has_both_names(gap: Gap, registry: RealRegistry, node: RealContainerd) -> None:
    image = version(1)
    push(registry, {"acme/app:1": image})
    digest = image.descriptor.digest
    names = [f"{registry.host}/acme/app:1", f"{registry.host}/acme/app@{digest}"]
    bundle = gap.pack(manifest_of(f"{names[0]}@{digest}"))
    done = gap.offline("load", bundle, "--to", "containerd")
    assert "--no-pin loads them unpinned" in done.err
    assert [each["verdict"] for each in done.json["images"]] == ["loaded"]
    managed(node, names)
    assert {name: node.names("k8s.io")[name] for name in names} == dict.fromkeys(names, str(digest))
    assert all(PIN in labels(node, name) for name in names)
    assert set(names) <= node.whole("k8s.io")
    again = gap.offline("load", bundle, "--to", "containerd").json["images"]
    assert [each["verdict"] for each in again] == ["already there"]
    node.ctr("k8s.io", "images", "rm", names[1])
    node.ctr("k8s.io", "images", "label", names[0], f"{PIN.partition('=')[0]}=")
    mended = gap.offline("load", bundle, "--to", "containerd").json["images"]
    assert [each["verdict"] for each in mended] == ["loaded"]
    assert node.names("k8s.io")[names[1]] == str(digest)
    assert all(PIN in labels(node, name) for name in names)


@row(
    Kind.NODES,
    "containerd 2.x (1.6 keeps them)",
    "Drops the labels of a name that an import moves to another image",
    "measured",
    "sets the pin again each time it moves a name",
)
def test_the_pin_stays_when_a_name_moves(gap: Gap, registry: RealRegistry, node: RealContainerd) -> None:
    name = f"{registry.host}/acme/app:1"
    for number in (1, 2):
        push(registry, {"acme/app:1": version(number)})
        gap.offline("load", gap.pack(manifest_of(name)), "--to", "containerd")
        managed(node, [name])
        assert node.names("k8s.io")[name] == str(version(number).descriptor.digest)
        assert PIN in labels(node, name)


def test_no_pin(gap: Gap, registry: RealRegistry, node: RealContainerd) -> None:
    push(registry, {"acme/app:1": version(1)})
    name = f"{registry.host}/acme/app:1"
    done = gap.offline("load", gap.pack(manifest_of(name)), "--to", "containerd", "--no-pin")
    assert "pin" not in done.err
    managed(node, [name])
    assert PIN not in labels(node, name)


@row(
    Kind.NODES,
    "containerd 1.6 and 2, as k3s, RKE2 and k0s bring it",
    "Gives an imported image each name that the archive's index has",
    "measured",
    "an archive in the folder has `repo:tag` and `repo@sha256:…`",
)
@pytest.mark.parametrize(
    ("kind", "options"), [("k3s", ["--all-platforms"]), ("rke2", ["--all-platforms"]), ("k0s", [])]
)
def test_an_archive_in_the_folder_gives_both_names(
    gap: Gap,
    registry: RealRegistry,
    containerd: RealContainerd,
    tmp_path: Path,
    kind: str,
    options: list[str],
) -> None:
    image = simple_image("app")
    push(registry, {"acme/app:1": image})
    digest = image.descriptor.digest
    names = [f"{registry.host}/acme/app:1", f"{registry.host}/acme/app@{digest}"]
    bundle = gap.pack(manifest_of(f"{names[0]}@{digest}"))
    loaded = gap.offline("load", bundle, "--to", f"{kind}:{tmp_path / kind}").json["images"]
    assert [each["verdict"] for each in loaded] == ["placed"]
    [archive] = (tmp_path / kind).iterdir()
    containerd.ctr(f"both-{kind}", "images", "import", *options, archive)
    assert containerd.names(f"both-{kind}") == dict.fromkeys(names, str(digest))


@row(
    Kind.NODES,
    "Docker 20.10 and 28.5, classic store",
    "Deletes an image that came by digest alone with `docker image prune`",
    "measured",
    "says so, and how to give it a name",
)
@pytest.mark.parametrize("store", ["docker20", "docker28"])
def test_a_digest_alone_is_pruned(
    gap: Gap, registry: RealRegistry, store: str, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(store)
    image = simple_image("nameless")
    push(registry, {"acme/app:1": image})
    bundle = gap.pack(manifest_of(f"{registry.host}/acme/app@{image.descriptor.digest}"))
    [loaded] = gap.offline("load", bundle, "--to", f"docker:{engine.host}").json["images"]
    assert loaded["verdict"] == "loaded"
    assert "pruning images deletes it" in loaded["reason"]
    assert engine.docker("images", "--quiet", "--filter", "dangling=true").stdout.strip()
    engine.docker("image", "prune", "--force")
    assert not engine.docker("images", "--quiet", "--all").stdout.strip()


def test_registries_take_an_index_of_what_is_carried(
    gap: Gap, registry: RealRegistry, skopeo: Tool, tmp_path: Path
) -> None:
    """docker-registry 2.8 wants each manifest of an index."""
    from tests.support.images import make_index

    images = [simple_image(name, platform=f"linux/{name}") for name in ("amd64", "arm64", "s390x")]
    index = make_index(images)
    push(registry, {"acme/multi:1": index})
    name = f"{registry.host}/acme/multi:1"
    bundle = gap.pack(manifest_of(name, platforms="linux/amd64, linux/arm64"))
    target = f"registry:{registry.host}/mirror"
    [loaded] = gap.offline("load", bundle, "--to", target).json["images"]
    assert loaded["verdict"] == "loaded"
    assert loaded["after"] != loaded["digest"] == str(index.descriptor.digest)
    assert "an index made by airgap of linux/amd64, linux/arm64" in loaded["reason"]
    for image in images[:2]:
        skopeo(
            "--override-arch", image.descriptor.platform.architecture, "copy", "--src-tls-verify=false",
            f"docker://{registry.host}/mirror/acme/multi:1", f"dir:{tmp_path / 'out'}",
        )  # fmt: skip
        assert (tmp_path / "out" / "manifest.json").read_bytes() == image.raw
    [again] = gap.offline("load", bundle, "--to", target).json["images"]
    assert (again["verdict"], again["reason"]) == ("already there", loaded["reason"])
