"""A site that takes deltas loses its disk, and is rebuilt from the sticks in the drawer, without headquarters."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.airgap import Gap, environment, manifest_of
from tests.e2e.corpus import push, size_of, version
from tests.support.containerds import RealContainerd
from tests.support.engines import Engine
from tests.support.images import Image, Layer, noise
from tests.support.registries import RealRegistry

MIDDLE = [Layer.of({f"middle{number}": noise(30_000, 90 + number)}) for number in range(4)]
"""Each release keeps the layers that came with those before it, so that it needs all of their bundles."""


def release(number: int) -> Image:
    return version(number, *MIDDLE[:number])


@dataclass(frozen=True)
class Drawer:
    """A full bundle and three deltas, each on the one before, and the name of the application."""

    name: str
    sticks: tuple[Path, ...]


@pytest.fixture
def pack_all(gap: Gap, registry: RealRegistry) -> Callable[[str], Drawer]:
    """Pack and load release after release, as a site lives with it; then headquarters are gone."""

    def pack(target: str) -> Drawer:
        name = f"{registry.host}/acme/app:1"
        sticks = []
        for number in range(1, 5):
            push(registry, {"acme/app:1": release(number)})
            since = ("--since", number - 1) if number > 1 else ()
            bundle = gap.pack(manifest_of(name), *since)
            assert number == 1 or size_of(bundle) < 150_000
            gap.offline("load", bundle, "--to", target)
            stick = gap.folder / "drawer" / str(number)
            stick.mkdir(parents=True)
            sticks.append(bundle.rename(stick / bundle.name))
        shutil.rmtree(gap.online.home)
        return Drawer(name, tuple(sticks))

    return pack


def rebuild(gap: Gap, drawer: Drawer, target: str) -> None:
    """Load the newest, which names what is missing; then all sticks, as they come to hand."""
    first, second, third, newest = drawer.sticks
    refused = gap.offline("load", newest, "--to", target, code=19)
    assert "the base is not at the target" in refused.err
    mark = (gap.offline.home / "received/stack.json").read_bytes()
    [loaded] = gap.offline("load", third, first, newest, second, "--to", target).json["bundles"]
    assert loaded["content_from"] == ["stack-0001", "stack-0002", "stack-0003"]
    assert [image["verdict"] for image in loaded["images"]] == ["loaded"]
    assert (gap.offline.home / "received/stack.json").read_bytes() == mark


def rebuild_one_by_one(gap: Gap, drawer: Drawer, target: str) -> None:
    """Load stick after stick, where there is one slot: only the newest sets the name."""
    for stick in drawer.sticks[:3]:
        [image] = gap.offline("load", stick, "--to", target).json["images"]
        assert image["reference"] == f"{drawer.name.removesuffix(':1')}@{image['digest']}"
        assert (image["verdict"], image["reason"][:13]) == ("loaded", "content only:")
    [image] = gap.offline("load", drawer.sticks[3], "--to", target).json["images"]
    assert (image["reference"], image["verdict"]) == (drawer.name, "loaded")
    refused = gap.offline("load", drawer.sticks[0], "--to", target, code=14)
    assert "no content of it is missing at the target" in refused.err


def test_docker(gap: Gap, docker20: Engine, pack_all: Callable[[str], Drawer]) -> None:
    target = f"docker:{docker20.host}"
    drawer = pack_all(target)
    docker20.reset()
    rebuild(gap, drawer, target)
    assert docker20.inspect(drawer.name)["Id"] == str(release(4).config)
    assert docker20.images() == [str(release(4).config)]
    docker20.docker("create", drawer.name, "/hello")
    docker20.reset()
    rebuild_one_by_one(gap, drawer, target)
    assert docker20.inspect(drawer.name)["Id"] == str(release(4).config)
    words = ("--back", "--reason", "release 4 crashes", "--to", target)
    gap.offline("load", drawer.sticks[1], *words)
    assert docker20.inspect(drawer.name)["Id"] == str(release(2).config)


def test_containerd(gap: Gap, containerd: RealContainerd, pack_all: Callable[[str], Drawer]) -> None:
    with environment(**containerd.environment):
        drawer = pack_all("containerd:beforeloss")
        rebuild(gap, drawer, "containerd:afterloss")
        newest = str(release(4).descriptor.digest)
        assert containerd.names("afterloss") == {drawer.name: newest}
        assert containerd.whole("afterloss") == {drawer.name}
        rebuild_one_by_one(gap, drawer, "containerd:singly")
        assert containerd.names("singly")[drawer.name] == newest
        assert drawer.name in containerd.whole("singly")


def test_registry(gap: Gap, tmp_path: Path, pack_all: Callable[[str], Drawer]) -> None:
    with RealRegistry(tmp_path / "before") as enclave:
        drawer = pack_all(f"registry:{enclave.host}")
    with RealRegistry(tmp_path / "after") as enclave:
        target = f"registry:{enclave.host}"
        rebuild(gap, drawer, target)
        rebuild_one_by_one(gap, drawer, f"{target}/singly")
        [again] = gap.offline("load", *drawer.sticks, "--to", target).json["bundles"]
        assert [image["verdict"] for image in again["images"]] == ["already there"]
        assert again["images"][0]["after"] == str(release(4).descriptor.digest)
