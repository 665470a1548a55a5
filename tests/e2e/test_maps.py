"""Other names at real targets: a registry with projects, as Harbor has them, and an engine."""

from pathlib import Path

from tests.e2e.airgap import Gap, manifest_of
from tests.e2e.conftest import Tool
from tests.e2e.corpus import push, version
from tests.support.engines import Engine
from tests.support.registries import RealRegistry


def test_registry_and_engine(
    gap: Gap, registry: RealRegistry, docker20: Engine, skopeo: Tool, tmp_path: Path
) -> None:
    push(registry, {"acme/app:1": version(1), "acme/tool:1": version(2)})
    names = [f"{registry.host}/acme/{which}:1" for which in ("app", "tool")]
    bundle = gap.pack(manifest_of(*names))
    with RealRegistry(tmp_path / "enclave") as enclave:
        maps = ("--map", f"{registry.host}/acme={enclave.host}/mirror/acme")
        loaded = gap.offline("load", bundle, "--to", f"registry:{enclave.host}", *maps).json["images"]
        assert loaded[0]["reference"] == f"{enclave.host}/mirror/acme/app:1"
        for image in loaded:
            found = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{image['reference']}").stdout
            assert found in (version(1).raw, version(2).raw)
        gap.offline("load", bundle, "--to", f"registry:{enclave.host}/plant", *maps)
        skopeo("inspect", "--tls-verify=false", f"docker://{enclave.host}/plant/mirror/acme/tool:1")
    gap.offline("load", bundle, "--to", f"docker:{docker20.host}", "--map", f"{registry.host}=docker.io")
    assert docker20.inspect("acme/app:1")["Id"] == str(version(1).config)
    assert len(docker20.images()) == 2
