"""The whole journey on real parts: registry or engine -> bundle -> engine, registry, folder, with stock
tools as judges of what arrived."""

import base64
import json
import subprocess
from pathlib import Path

from airgap.endpoints.docker.logins import DockerLogins
from airgap.endpoints.registry import RegistryOptions
from tests.e2e.airgap import Gap, manifest_of
from tests.e2e.conftest import Tool
from tests.e2e.corpus import corpus, push
from tests.support.by_hand import Hand, block
from tests.support.engines import Engine
from tests.support.images import Layer, make_image, noise, simple_image
from tests.support.registries import RealRegistry


def pulled(engine: Engine, names: list[str]) -> dict[str, tuple[str, list[str]]]:
    """ID and RepoDigests of images as the engine itself pulls them."""
    found = {}
    for name in names:
        engine.docker("pull", name)
        image = engine.inspect(name)
        found[name] = (image["Id"], sorted(image["RepoDigests"]))
    engine.reset()
    return found


def test_registry_to_engine(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    images = corpus()
    push(registry, images)
    names = [f"{registry.host}/{name}" for name in images]
    old = engine.version.startswith("20.")
    before = pulled(engine, [name for name in names if not (old and "zstd" in name)])
    bundle = gap.pack(manifest_of(*names, platforms="linux/amd64"))
    gap.offline("verify", bundle)
    loaded = gap.offline("load", bundle, "--to", f"docker:{engine.host}").json
    assert [image["verdict"] for image in loaded["images"]] == ["loaded"] * len(names)
    keeps_digests = "containerd" in engine.kind
    for name in names:
        image = engine.inspect(name)
        if name in before:
            assert image["Id"] == before[name][0]
        if keeps_digests:
            assert sorted(image["RepoDigests"]) == before[name][1]
        engine.docker("create", name, "/hello")
    again = gap.offline("load", bundle, "--to", f"docker:{engine.host}").json
    assert [image["verdict"] for image in again["images"]] == ["already there"] * len(names)


def test_zstd_layers_unpack_to_what_the_config_says(
    gap: Gap, registry: RealRegistry, docker20: Engine
) -> None:
    image = corpus()["acme/zstd:1"]
    push(registry, {"acme/zstd:1": image})
    name = f"{registry.host}/acme/zstd:1"
    gap.offline("load", gap.pack(manifest_of(name)), "--to", f"docker:{docker20.host}")
    assert docker20.inspect(name)["Id"] == str(image.config)


def test_digest_only_image(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    image = simple_image("nameless")
    push(registry, {"acme/nameless:gone": image})
    name = f"{registry.host}/acme/nameless@{image.descriptor.digest}"
    bundle = gap.pack(manifest_of(name))
    gap.offline("load", bundle, "--to", f"docker:{engine.host}")
    found = engine.inspect(str(image.descriptor.digest if "containerd" in engine.kind else image.config))
    if "containerd" in engine.kind:
        assert found["RepoDigests"] == [name]
    again = gap.offline("load", bundle, "--to", f"docker:{engine.host}").json
    assert [result["verdict"] for result in again["images"]] == ["already there"]


def test_multi_platform_image_goes_to_each_as_it_can(
    gap: Gap, registry: RealRegistry, docker28c: Engine
) -> None:
    image = corpus()["acme/multi:1"]
    push(registry, {"acme/multi:1": image})
    name = f"{registry.host}/acme/multi:1"
    bundle = gap.pack(manifest_of(name))
    gap.offline("load", bundle, "--to", f"docker:{docker28c.host}")
    assert docker28c.inspect(name)["Id"] == str(image.descriptor.digest)
    gap.offline("load", bundle, "--to", f"oci:{gap.folder / 'out'}")
    assert (gap.folder / "out" / image.descriptor.digest.path).read_bytes() == image.raw


def test_large_layer(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    image = make_image([Layer.of({"big": noise(120_000_000, 7)}, "none")], label="big")
    push(registry, {"acme/big:1": image})
    name = f"{registry.host}/acme/big:1"
    gap.offline("load", gap.pack(manifest_of(name)), "--to", f"docker:{engine.host}")
    wanted = image.descriptor.digest if "containerd" in engine.kind else image.config
    assert engine.inspect(name)["Id"] == str(wanted)


def test_old_name_is_reported_and_refused_on_demand(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    push(registry, {"acme/app:1": simple_image("first")})
    name = f"{registry.host}/acme/app:1"
    target = f"docker:{engine.host}"
    first = gap.offline("load", gap.pack(manifest_of(name)), "--to", target).json["images"][0]
    assert first["before"] is None
    push(registry, {"acme/app:1": simple_image("second")})
    bundle = gap.pack(manifest_of(name))
    refused = gap.offline("load", bundle, "--to", target, "--on-conflict", "refuse", code=16)
    assert "refers to another image" in refused.err
    assert engine.inspect(name)["Id"] == first["after"]
    second = gap.offline("load", bundle, "--to", target).json["images"][0]
    assert second["before"] == first["after"]
    assert engine.inspect(name)["Id"] == second["after"] != first["after"]


def test_what_a_container_uses_is_not_pruned(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    names = [f"{registry.host}/acme/{name}:1" for name in ("app", "one", "two")]
    push(registry, {f"acme/{name}:1": simple_image(name) for name in ("app", "one", "two")})
    to = f"docker:{engine.host}"
    gap.offline("load", gap.pack(manifest_of(*names)), "--to", to)
    engine.docker("create", "--name", "user", names[1], "/hello")
    value = gap.offline("load", gap.pack(manifest_of(names[0])), "--to", to, "--prune", "--yes").json
    assert [name["reference"] for name in value["pruned"]] == names[2:]
    assert [(k["reference"], "a container uses" in k["reason"]) for k in value["not_pruned"]] == [
        (names[1], True)
    ]
    assert len(engine.images()) == 2
    engine.docker("rm", "user")
    value = gap.offline("load", gap.folder / "stick/stack-0002", "--to", to, "--prune", "--yes").json
    assert [name["reference"] for name in value["pruned"]] == names[1:2]
    assert len(engine.images()) == 1


def test_damaged_bundle_leaves_the_engine_as_it_was(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    push(registry, {"acme/app:1": simple_image("first")})
    name = f"{registry.host}/acme/app:1"
    target = f"docker:{engine.host}"
    gap.offline("load", gap.pack(manifest_of(name)), "--to", target)
    before = engine.inspect(name)["Id"]
    second = simple_image("second", size=3_000_000)
    push(registry, {"acme/app:1": second})
    bundle = gap.pack(manifest_of(name))
    layer = bundle / second.layers[0].path
    raw = bytearray(layer.read_bytes())
    raw[-1] ^= 1
    layer.write_bytes(raw)
    answer = gap.offline("load", bundle, "--to", target, code=12)
    assert "wrong digest" in answer.err
    assert engine.inspect(name)["Id"] == before
    assert len(engine.images()) == 1


def test_from_engine_to_engine(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    images = {name: image for name, image in corpus().items() if "zstd" not in name and "multi" not in name}
    push(registry, images)
    names = [f"{registry.host}/{name}" for name in images]
    before = {}
    for name in names:
        engine.docker("pull", name)
        before[name] = engine.inspect(name)["Id"]
    entries = [f"{{ref: {name}, source: 'docker:{engine.host}'}}" for name in names]
    bundle = gap.pack(manifest_of(*entries))
    again = gap.online("pack", gap.folder / "stack.yaml", "--to", gap.folder / "stick").json
    assert again["fresh"] is False
    engine.reset()
    gap.offline("verify", bundle)
    gap.offline("load", bundle, "--to", f"docker:{engine.host}")
    assert {name: engine.inspect(name)["Id"] for name in names} == before


def test_from_docker_save(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    images = {name: image for name, image in corpus().items() if name in ("acme/one:1", "acme/two:1")}
    push(registry, images)
    names = [f"{registry.host}/{name}" for name in images]
    for name in names:
        engine.docker("pull", name)
    before = {name: engine.inspect(name)["Id"] for name in names}
    engine.docker("save", "-o", gap.folder / "vendor.tar", *names)
    engine.reset()
    bundle = gap.pack(manifest_of("archive: vendor.tar"))
    gap.offline("load", bundle, "--to", f"docker:{engine.host}")
    assert {name: engine.inspect(name)["Id"] for name in names} == before


def test_stock_docker_loads_the_folder(gap: Gap, registry: RealRegistry, engine: Engine) -> None:
    images = {name: image for name, image in corpus().items() if "zstd" not in name}
    push(registry, images)
    names = [f"{registry.host}/{name}" for name in images]
    bundle = gap.pack(manifest_of(*names, platforms="linux/amd64"))
    tar = subprocess.run(["tar", "-C", bundle, "-c", "."], capture_output=True, check=True).stdout
    engine.docker("load", input=tar)
    for name, image in zip(names, images.values(), strict=True):
        found = engine.inspect(name)["Id"]
        if "containerd" in engine.kind:
            assert found == str(image.descriptor.digest)
        elif image.config is not None:
            assert found == str(image.config)


def test_stock_tools_read_and_check_the_bundle(
    gap: Gap, registry: RealRegistry, skopeo: Tool, sid: Tool
) -> None:
    images = corpus()
    push(registry, images)
    names = [f"{registry.host}/{name}" for name in images]
    bundle = gap.pack(manifest_of(*names))
    key = gap.folder / "online" / "keys" / "alice.pub"
    done = Hand(gap.folder)(block((bundle / "VERIFY.txt").read_text("ascii")), BUNDLE=bundle, KEY=key)
    assert (done.returncode, done.stdout) == (0, "Verified OK\n"), done.stderr
    for name, image in zip(names, images.values(), strict=True):
        found = json.loads(sid("skopeo", "inspect", "--raw", f"oci:{bundle}:{name}").stdout)
        assert found == json.loads(image.raw)
    one = names[0]
    skopeo("copy", "--preserve-digests", f"oci:{bundle}:{one}", f"dir:{gap.folder / 'dir'}")
    assert (gap.folder / "dir" / "manifest.json").read_bytes() == images["acme/one:1"].raw


def test_registry_to_registry(gap: Gap, registry: RealRegistry, tmp_path: Path, sid: Tool) -> None:
    images = corpus()
    push(registry, images)
    names = [f"{registry.host}/{name}" for name in images]
    bundle = gap.pack(manifest_of(*names))
    with RealRegistry(tmp_path / "enclave") as enclave:
        target = f"registry:{enclave.host}/mirror"
        loaded = gap.offline("load", bundle, "--to", target).json
        assert {image["verdict"] for image in loaded["images"]} == {"loaded"}
        for name, image in images.items():
            digest = (
                sid("crane", "digest", "--insecure", f"{enclave.host}/mirror/{name}").stdout.decode().strip()
            )
            assert digest == str(image.descriptor.digest)
        again = gap.offline("load", bundle, "--to", target).json
        assert {image["verdict"] for image in again["images"]} == {"already there"}


def test_private_ca(gap: Gap, tls_registry: RealRegistry) -> None:
    options = RegistryOptions(ca_file=tls_registry.ca_file)
    push(tls_registry, {"acme/app:1": simple_image("app")}, options)
    manifest = _write(gap, f"{tls_registry.host}/acme/app:1")
    gap.online("lock", manifest, code=18)
    gap.online("lock", manifest, "--ca-file", tls_registry.ca_file)


def test_login_from_dockers_config(gap: Gap, auth_registry: RealRegistry, home: Path) -> None:
    manifest = _write(gap, f"{auth_registry.host}/acme/app:1")
    refused = gap.online("lock", manifest, code=18)
    assert "docker login" in refused.err
    token = base64.b64encode(f"{auth_registry.user}:{auth_registry.password}".encode()).decode()
    config = home / ".docker" / "config.json"
    config.parent.mkdir(exist_ok=True)
    config.write_text(json.dumps({"auths": {auth_registry.host: {"auth": token}}}))
    push(auth_registry, {"acme/app:1": simple_image("app")}, RegistryOptions(credentials=DockerLogins()))
    gap.online("lock", manifest)


def _write(gap: Gap, name: str) -> Path:
    path = gap.folder / "stack.yaml"
    path.write_text(manifest_of(name))
    return path


def test_one_platform_of_several_into_a_registry(gap: Gap, registry: RealRegistry, tmp_path: Path) -> None:
    image = corpus()["acme/multi:1"]
    push(registry, {"acme/multi:1": image})
    name = f"{registry.host}/acme/multi:1"
    bundle = gap.pack(manifest_of(name, platforms="linux/amd64"))
    with RealRegistry(tmp_path / "enclave") as enclave:
        loaded = gap.offline("load", bundle, "--to", f"registry:{enclave.host}").json
        assert loaded["images"][0]["verdict"] == "loaded"


def test_one_bad_image_does_not_stop_the_others(gap: Gap, registry: RealRegistry) -> None:
    images = corpus()
    push(registry, images)
    names = [f"{registry.host}/{name}" for name in images]
    missing = f"{registry.host}/acme/nobody:1"
    path = gap.folder / "stack.yaml"
    path.write_text(manifest_of(*names, missing, f"{registry.host}/acme/nothing:1"))
    words = ("pack", path, "--to", gap.folder / "stick")
    failed = gap.online(*words, code=3).json["error"]
    assert failed["failures"][missing]["kind"] == "NotFoundError"
    assert not (gap.folder / "stick" / "stack-0001" / "bundle.dsse.json").exists()
    sealed = gap.online(*words, "--allow-partial", code=3).json
    assert len(sealed["images"]) == len(names)
    assert set(sealed["error"]["failures"]) == {missing, f"{registry.host}/acme/nothing:1"}
    gap.offline("verify", sealed["bundle"])
