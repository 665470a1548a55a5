"""Deltas on real engines and a real registry: only what is new travels, and the base is proved first."""

from pathlib import Path

from tests.e2e.airgap import Gap, manifest_of
from tests.e2e.corpus import push, size_of, version
from tests.support.engines import Engine
from tests.support.images import Image, Layer, noise
from tests.support.registries import RealRegistry


def identity(engine: Engine, image: Image) -> str:
    return str(image.descriptor.digest if "containerd" in engine.kind else image.config)


def test_update_of_an_engine(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    name, target = f"{registry.host}/acme/app:1", f"docker:{engine.host}"
    push(registry, {"acme/app:1": version(1)})
    gap.offline("load", gap.pack(manifest_of(name)), "--to", target)
    middle = Layer.of({"middle": noise(30_000, 99)})
    for number, image in ((2, version(2)), (3, version(3, middle)), (4, version(4, middle))):
        push(registry, {"acme/app:1": image})
        bundle = gap.pack(manifest_of(name), "--since", number - 1)
        assert size_of(bundle) < 100_000
        gap.offline("verify", bundle)
        loaded = gap.offline("load", bundle, "--to", target).json["images"][0]
        assert loaded["verdict"] == "loaded"
        assert engine.inspect(name)["Id"] == identity(engine, image)
        engine.docker("create", name, "/hello")


def test_base_that_is_gone(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    name, target = f"{registry.host}/acme/app:1", f"docker:{engine.host}"
    push(registry, {"acme/app:1": version(1)})
    gap.offline("load", gap.pack(manifest_of(name)), "--to", target)
    push(registry, {"acme/app:1": version(2)})
    delta = gap.pack(manifest_of(name), "--since", 1)
    engine.reset()
    refused = gap.offline("load", delta, "--to", target, code=19)
    assert "the base is not at the target" in refused.err
    assert str(version(2).layers[0]) in refused.err
    assert engine.images() == []
    full = gap.pack(manifest_of(name))
    gap.offline("load", full, "--to", target)
    assert engine.inspect(name)["Id"] == identity(engine, version(2))


def test_full_bundle_over_a_base_streams_only_what_is_new(
    gap: Gap, registry: RealRegistry, engine: Engine
) -> None:
    name, target = f"{registry.host}/acme/app:1", f"docker:{engine.host}"
    push(registry, {"acme/app:1": version(1)})
    gap.offline("load", gap.pack(manifest_of(name)), "--to", target)
    push(registry, {"acme/app:1": version(2)})
    answer = gap.offline("load", gap.pack(manifest_of(name)), "--to", target)
    assert "kB" in answer.err
    assert "MB" not in answer.err.replace("MB/s", "")
    assert engine.inspect(name)["Id"] == identity(engine, version(2))


def test_registry_and_folder(gap: Gap, registry: RealRegistry, tmp_path: Path) -> None:
    name = f"{registry.host}/acme/app:1"
    push(registry, {"acme/app:1": version(1)})
    first = gap.pack(manifest_of(name))
    with RealRegistry(tmp_path / "enclave") as enclave:
        targets = (f"registry:{enclave.host}", f"oci:{tmp_path / 'out'}")
        receipts = [gap.offline("load", first, "--to", target).json["receipt"] for target in targets]
        push(registry, {"acme/app:1": version(2), "acme/other:1": version(3)})
        other = f"{registry.host}/acme/other:1"
        delta = gap.pack(manifest_of(name, other), *(word for path in receipts for word in ("--since", path)))
        assert size_of(delta) < 200_000
        for target in targets:
            loaded = gap.offline("load", delta, "--to", target).json["images"]
            assert [image["verdict"] for image in loaded] == ["loaded", "loaded"]
        fresh = gap.offline("load", delta, "--to", f"oci:{tmp_path / 'fresh'}", code=19)
        assert "the base is not at the target" in fresh.err
    gap.offline("load", delta, "--to", f"archive:{tmp_path / 'x.tar'}", code=19)


def test_re_pushed_tag_and_unknown_base(gap: Gap, registry: RealRegistry) -> None:
    name = f"{registry.host}/acme/app:1"
    push(registry, {"acme/app:1": version(1)})
    gap.pack(manifest_of(name))
    push(registry, {"acme/app:1": version(2)})
    plan = gap.online("plan", gap.folder / "stack.yaml", "--since", 1).json
    assert plan["images"][0]["digest"] == str(version(2).descriptor.digest)
    assert plan["spared_bytes"] > 1_900_000
    gap.pack(manifest_of(name), "--since", 7, code=2)
