"""Names that somebody else removes or moves at a real target, after the images have them and before a load ends."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airgap.offline import load as loads
from airgap.trust.envelope import Envelope
from tests.e2e.airgap import Gap, environment, manifest_of
from tests.e2e.corpus import push
from tests.support.containerds import RealContainerd, RealPodman
from tests.support.engines import Engine
from tests.support.images import simple_image
from tests.support.registries import RealRegistry

IMAGES = {name: simple_image(name) for name in ("one", "two")}
ONE, TWO = (f"plant.test/acme/{name}:1" for name in IMAGES)


@pytest.fixture
def bundle(gap: Gap, registry: RealRegistry) -> Path:
    push(registry, {f"acme/{name}:1": image for name, image in IMAGES.items()})
    entries = [f"{{ref: '{registry.host}/acme/{name}:1', as: 'plant.test/acme/{name}:1'}}" for name in IMAGES]
    return gap.pack(manifest_of(*entries))


@contextlib.contextmanager
def meddling(harm: Callable[[], object]) -> Iterator[None]:
    """Somebody does something as soon as all images have their names."""
    confirm_all = loads._confirm_all

    def meddle_first(*args: Any) -> None:
        harm()
        confirm_all(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loads, "_confirm_all", meddle_first)
        yield


def check_told(gap: Gap, bundle: Path, target: str, after: object = None) -> None:
    """One image failed and one is there, in the answer and in the receipt."""
    answer = gap.offline("load", bundle, "--to", target, code=3).json
    found = {image["reference"]: (image["verdict"], image["after"]) for image in answer["images"]}
    assert found[ONE] == ("failed", None if after is None else str(after))
    assert found[TWO][0] == "loaded"
    receipt = json.loads(Envelope.parse(Path(answer["receipt"]).read_bytes(), "receipt").payload)
    assert [image["verdict"] for image in receipt["predicate"]["images"]] == ["failed", "loaded"]


def check_mended(gap: Gap, bundle: Path, target: str) -> None:
    """The next load, which nobody disturbs, brings what is missing."""
    answer = gap.offline("load", bundle, "--to", target).json
    assert [image["verdict"] for image in answer["images"]] == ["loaded", "already there"]


@pytest.mark.parametrize("harm", ["removed", "moved"])
def test_docker(gap: Gap, bundle: Path, engine: Engine, harm: str) -> None:
    words = ("rmi", ONE) if harm == "removed" else ("tag", TWO, ONE)
    two = IMAGES["two"].descriptor.digest if "containerd" in engine.kind else IMAGES["two"].config
    with meddling(lambda: engine.docker(*words)):
        check_told(gap, bundle, f"docker:{engine.host}", None if harm == "removed" else two)
    check_mended(gap, bundle, f"docker:{engine.host}")
    assert engine.inspect(ONE)["Id"] != engine.inspect(TWO)["Id"]


def test_podman(gap: Gap, bundle: Path, podman: RealPodman) -> None:
    with meddling(lambda: podman.podman("untag", ONE)):
        check_told(gap, bundle, f"podman:unix://{podman.socket}")


def test_containerd(gap: Gap, bundle: Path, containerd: RealContainerd) -> None:
    space = "names"
    harm = meddling(lambda: containerd.ctr(space, "images", "rm", ONE))
    with environment(**containerd.environment), harm:
        check_told(gap, bundle, f"containerd:{space}")
    assert set(containerd.names(space)) == {TWO}


@pytest.mark.parametrize("name", [ONE, TWO])
def test_a_pin_that_is_lost_counts_in_kubernetes(
    gap: Gap, bundle: Path, containerd: RealContainerd, name: str
) -> None:
    label = "io.cri-containerd.pinned="
    harm = meddling(lambda: containerd.ctr("k8s.io", "images", "label", name, label))
    with environment(**containerd.environment), harm:
        answer = gap.offline("load", bundle, "--to", "containerd", code=3).json
    failed = [image["reference"] for image in answer["images"] if image["verdict"] == "failed"]
    assert failed == [name]


def test_registry(gap: Gap, bundle: Path, tmp_path: Path) -> None:
    with (
        RealRegistry(tmp_path / "enclave") as enclave,
        meddling(lambda: push(enclave, {"acme/one:1": IMAGES["two"]})),
    ):
        check_told(gap, bundle, f"registry:{enclave.host}", IMAGES["two"].descriptor.digest)


def test_one_image_from_two_registries_is_one_at_a_registry(
    gap: Gap, registry: RealRegistry, tmp_path: Path
) -> None:
    push(registry, {"acme/one:1": IMAGES["one"]})
    ref = f"ref: '{registry.host}/acme/one:1'"
    bundle = gap.pack(manifest_of(*(f"{{{ref}, as: '{host}.test/acme/one:1'}}" for host in "ab")))
    with RealRegistry(tmp_path / "enclave") as enclave:
        images = gap.offline("load", bundle, "--to", f"registry:{enclave.host}").json["images"]
        digest = str(IMAGES["one"].descriptor.digest)
        assert [(image["verdict"], image["after"]) for image in images] == [("loaded", digest)] * 2
        again = gap.offline("load", bundle, "--to", f"registry:{enclave.host}").json["images"]
        assert [image["verdict"] for image in again] == ["already there"] * 2
    refused = gap.offline("load", bundle, "--to", f"oci:{tmp_path}/out", "--map", "a.test=B.test", code=2)
    assert "two images would have the same name: b.test/acme/one:1" in refused.err


# -- all or nothing


def check_together(gap: Gap, registry: RealRegistry, bundle: Path, target: str) -> None:
    """All are loaded; then a bundle with one damaged image moves no name, and does so once it is whole."""
    words = ("--to", target, "--all-or-nothing")
    first = gap.offline("load", bundle, *words).json["images"]
    assert [image["verdict"] for image in first] == ["loaded"] * 2
    newer = {name: simple_image(f"newer {name}") for name in ("one", "two")}
    push(registry, {f"acme/{name}:1": image for name, image in newer.items()})
    entries = [f"{{ref: '{registry.host}/acme/{name}:1', as: 'plant.test/acme/{name}:1'}}" for name in newer]
    second = gap.pack(manifest_of(*entries))
    layer = second / newer["two"].layers[-1].path
    whole = layer.read_bytes()
    layer.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    failed = gap.offline("load", second, *words, code=12).json["images"]
    assert [image["verdict"] for image in failed] == ["failed"] * 2
    again = gap.offline("load", bundle, "--back", "--reason", "x", "--to", target).json["images"]
    assert [image["verdict"] for image in again] == ["already there"] * 2
    layer.write_bytes(whole)
    done = gap.offline("load", second, *words).json["images"]
    assert [(image["verdict"], image["moved"]) for image in done] == [("loaded", True)] * 2


def test_docker_takes_all_or_nothing(gap: Gap, registry: RealRegistry, bundle: Path, engine: Engine) -> None:
    check_together(gap, registry, bundle, f"docker:{engine.host}")
    assert "airgap.invalid" not in str(engine.docker("images").stdout)


def test_podman_takes_all_or_nothing(
    gap: Gap, registry: RealRegistry, bundle: Path, podman: RealPodman
) -> None:
    check_together(gap, registry, bundle, f"podman:unix://{podman.socket}")
    assert "airgap.invalid" not in str(podman.podman("images").stdout)


def test_containerd_takes_all_or_nothing(
    gap: Gap, registry: RealRegistry, bundle: Path, containerd: RealContainerd
) -> None:
    with environment(**containerd.environment):
        check_together(gap, registry, bundle, "containerd:together")
    assert set(containerd.names("together")) == {ONE, TWO}


def test_a_registry_takes_all_or_nothing(
    gap: Gap, registry: RealRegistry, bundle: Path, tmp_path: Path
) -> None:
    with RealRegistry(tmp_path / "enclave") as enclave:
        check_together(gap, registry, bundle, f"registry:{enclave.host}")
