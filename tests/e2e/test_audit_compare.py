"""audit compare on real parts: what runs there that nobody sent."""

from tests.e2e.airgap import Gap, environment, manifest_of
from tests.e2e.corpus import push
from tests.support.containerds import RealContainerd, RealPodman
from tests.support.engines import Engine
from tests.support.images import archive_of, simple_image
from tests.support.registries import RealRegistry


def states(gap: Gap, target: str, code: int) -> dict[str, str]:
    shown = gap.offline("audit", "compare", "--to", target, code=code).json
    return {image["reference"]: image["state"] for image in shown["images"]}


def test_an_engine(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    images = {f"acme/{name}:1": simple_image(name) for name in ("api", "web", "miner")}
    push(registry, images)
    api, web, miner = (f"{registry.host}/{name}" for name in images)
    target = f"docker:{engine.host}"
    gap.offline("load", gap.pack(manifest_of(api, web)), "--to", target)
    assert states(gap, target, 0) == {api: "as loaded", web: "as loaded"}
    engine.docker("pull", miner)
    engine.docker("tag", web, f"{registry.host}/acme/copy:1")
    engine.docker("rmi", web)
    engine.docker("tag", miner, api)
    assert states(gap, target, 21) == {
        api: "moved",
        web: "missing",
        miner: "unexplained",
        f"{registry.host}/acme/copy:1": "explained",
        "": "explained",  # the image that lost its name
    }


def test_a_registry(gap: Gap, registry: RealRegistry) -> None:
    """Below the prefix only; the names at the registry have no host."""
    images = {f"acme/{name}:1": simple_image(name) for name in ("api", "web")}
    push(registry, images)
    target = f"registry:{registry.host}/mirror"
    bundle = gap.pack(manifest_of(*(f"{registry.host}/{name}" for name in images)))
    gap.offline("load", bundle, "--to", target)
    assert states(gap, target, 0) == {"mirror/acme/api:1": "as loaded", "mirror/acme/web:1": "as loaded"}
    push(registry, {"mirror/acme/api:1": simple_image("other"), "mirror/acme/web:2": images["acme/web:1"]})
    push(registry, {"mirror/miner:1": simple_image("miner")})
    assert states(gap, target, 21) == {
        "mirror/acme/api:1": "moved",
        "mirror/acme/web:1": "as loaded",
        "mirror/acme/web:2": "explained",
        "mirror/miner:1": "unexplained",
    }


def test_podman(gap: Gap, registry: RealRegistry, podman: RealPodman) -> None:
    images = {f"acme/{name}:1": simple_image(name) for name in ("api", "web", "miner")}
    push(registry, images)
    api, web, miner = (f"{registry.host}/{name}" for name in images)
    target = f"podman:unix://{podman.socket}"
    gap.offline("load", gap.pack(manifest_of(api, web)), "--to", target)
    assert states(gap, target, 0) == {api: "as loaded", web: "as loaded"}
    gap.offline("load", gap.pack(manifest_of(miner)), "--to", f"oci:{gap.folder}/elsewhere")
    assert states(gap, target, 0) == {api: "as loaded", web: "as loaded"}


def test_containerd(gap: Gap, registry: RealRegistry, containerd: RealContainerd) -> None:
    """A name with its digest, as Kubernetes asks for it, is no other image."""
    images = {f"acme/{name}:1": simple_image(name) for name in ("api", "web")}
    push(registry, images)
    api, web = (f"{registry.host}/{name}" for name in images)
    pinned = f"{api}@{images['acme/api:1'].descriptor.digest}"
    with environment(**containerd.environment):
        target = "containerd:compared"
        gap.offline("load", gap.pack(manifest_of(pinned, web)), "--to", target)
        assert set(states(gap, target, 0).values()) <= {"as loaded", "explained"}
        raw = archive_of({"docker.io/acme/miner:1": simple_image("miner")})
        containerd.ctr("compared", "images", "import", "-", input=raw)
        containerd.ctr("compared", "images", "rm", web)
        found = states(gap, target, 21)
        assert found[web] == "missing"
        assert found[api] == "as loaded"
        assert found["docker.io/acme/miner:1"] == "unexplained"
