"""Loading into real podmans over their Docker-compatible socket; podman itself is the judge."""

import json

from tests.e2e.airgap import Gap, manifest_of
from tests.e2e.corpus import corpus, push, version
from tests.support.containerds import RealPodman
from tests.support.images import simple_image
from tests.support.registries import RealRegistry


def test_digests_are_kept(gap: Gap, registry: RealRegistry, podman: RealPodman) -> None:
    """Also when it is called a Docker engine: `/version` tells."""
    images = corpus()
    push(registry, images)
    names = [f"{registry.host}/{name}" for name in images]
    bundle = gap.pack(manifest_of(*names, platforms="linux/amd64"))
    loaded = gap.offline("load", bundle, "--to", f"docker:unix://{podman.socket}").json["images"]
    assert [image["verdict"] for image in loaded] == ["loaded"] * len(names)
    for name, image in zip(names, images.values(), strict=True):
        assert str(image.descriptor.digest) in podman.digests(name)
        if image.config:
            assert f"sha256:{podman.inspect(name)['Id']}" == str(image.config)
    again = gap.offline("load", bundle, "--to", f"podman:unix://{podman.socket}").json["images"]
    assert [image["verdict"] for image in again] == ["already there"] * len(names)


def test_of_all_platforms_its_own_is_kept(gap: Gap, registry: RealRegistry, podman: RealPodman) -> None:
    image = corpus()["acme/multi:1"]
    push(registry, {"acme/multi:1": image})
    name = f"{registry.host}/acme/multi:1"
    bundle = gap.pack(manifest_of(name, platforms="linux/amd64, linux/arm64"))
    for verdict in ("loaded", "already there"):
        [loaded] = gap.offline("load", bundle, "--to", f"podman:unix://{podman.socket}").json["images"]
        assert loaded["verdict"] == verdict
    assert str(image.descriptor.digest) in podman.digests(name)


def test_delta_and_a_base_that_is_gone(gap: Gap, registry: RealRegistry, podman: RealPodman) -> None:
    name, target = f"{registry.host}/acme/app:1", f"podman:unix://{podman.socket}"
    push(registry, {"acme/app:1": version(1)})
    gap.offline("load", gap.pack(manifest_of(name)), "--to", target)
    push(registry, {"acme/app:1": version(2)})
    delta = gap.pack(manifest_of(name), "--since", 1)
    [loaded] = gap.offline("load", delta, "--to", target).json["images"]
    assert (loaded["before"], loaded["after"]) == (str(version(1).config), str(version(2).config))
    assert podman.digests(name) == [str(version(2).descriptor.digest)]
    podman.reset()
    refused = gap.offline("load", delta, "--to", target, code=19)
    assert "the base is not at the target" in refused.err
    assert podman.names() == set()


def test_an_old_name_stays_when_a_layer_is_wrong(
    gap: Gap, registry: RealRegistry, podman: RealPodman
) -> None:
    name, target = f"{registry.host}/acme/app:1", f"podman:unix://{podman.socket}"
    push(registry, {"acme/app:1": version(1)})
    gap.offline("load", gap.pack(manifest_of(name)), "--to", target)
    push(registry, {"acme/app:1": version(2)})
    bundle = gap.pack(manifest_of(name))
    layer = bundle / version(2).layers[1].path
    layer.write_bytes(layer.read_bytes()[:-8] + b"\0" * 8)
    gap.offline("load", bundle, "--to", target, code=12)
    assert podman.digests(name) == [str(version(1).descriptor.digest)]


def test_podman_as_a_source(gap: Gap, registry: RealRegistry, podman: RealPodman) -> None:
    """It hands out no manifests over this socket, so they are made anew, as of a graph driver."""
    image = simple_image("app")
    push(registry, {"acme/app:1": image})
    name = f"{registry.host}/acme/app:1"
    gap.offline("load", gap.pack(manifest_of(name)), "--to", f"podman:unix://{podman.socket}")
    source = f"ref: {name}\n    source: docker:unix://{podman.socket}"
    answer = gap.pack(manifest_of(source))
    [found] = json.loads((answer / "statement.json").read_text())["predicate"]["images"]
    assert found["source"] == "docker, repacked"
    assert found["platforms"][0]["config_digest"] == str(image.config)
