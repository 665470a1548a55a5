"""Signatures, SBOMs and charts travel with the images they belong to; cosign and oras judge."""

import json
from pathlib import Path

import pytest

from tests.e2e.airgap import Gap, manifest_of
from tests.e2e.corpus import push
from tests.support.engines import Engine
from tests.support.images import make_index, simple_image
from tests.support.registries import RealRegistry
from tests.support.sid import Sid

OFFLINE = ("--tlog-upload=false", "--use-signing-config=false", "--yes", "--allow-insecure-registry")
FORMS = {"tag": "--new-bundle-format=false", "referrer": "--new-bundle-format=true"}
PASSWORD = {"COSIGN_PASSWORD": "x"}
IMAGE = make_index([simple_image("amd"), simple_image("arm", platform="linux/arm64")])


def generate_key(sid: Sid, folder: Path, name: str = "acme") -> Path:
    sid("cosign", "generate-key-pair", "--output-key-prefix", folder / name, env=PASSWORD)
    return folder / f"{name}.pub"


def sign(sid: Sid, folder: Path, name: str, form: str) -> None:
    key = folder / "acme.key"
    sid("cosign", "sign", "--key", key, FORMS[form], *OFFLINE, name, env=PASSWORD)


def verified(sid: Sid, key: Path, name: str, form: str) -> None:
    words = ("--insecure-ignore-tlog=true", FORMS[form], "--allow-insecure-registry")
    sid("cosign", "verify", "--key", key, *words, name)


@pytest.mark.parametrize("form", FORMS)
def test_cosign_signature_crosses_the_gap(
    gap: Gap, registry: RealRegistry, tmp_path: Path, sid: Sid, docker28c: Engine, form: str
) -> None:
    push(registry, {"acme/app:1": IMAGE})
    name = f"{registry.host}/acme/app"
    key = generate_key(sid, tmp_path)
    entry = f"{{ref: '{name}:1', cosign-key: acme.pub}}"
    unsigned = tmp_path / "stack.yaml"
    unsigned.write_text(manifest_of(entry))
    assert "no upstream signature" in gap.online("pack", unsigned, "--to", tmp_path / "x", code=13).err
    sign(sid, tmp_path, f"{name}@{IMAGE.descriptor.digest}", form)
    bundle = gap.pack(manifest_of(entry))
    gap.offline("verify", bundle)
    kinds = [image["kind"] for image in gap.offline("inspect", bundle).json["images"]]
    assert kinds == ["image", "artifact"]
    with RealRegistry(tmp_path / "enclave") as enclave:
        gap.offline("load", bundle, "--to", f"registry:{enclave.host}")
        verified(sid, key, f"{enclave.host}/acme/app@{IMAGE.descriptor.digest}", form)
    loaded = gap.offline("load", bundle, "--to", f"docker:{docker28c.host}").json
    assert [image["verdict"] for image in loaded["images"]] == ["loaded", "skipped"]


def test_another_key_and_another_image(gap: Gap, registry: RealRegistry, tmp_path: Path, sid: Sid) -> None:
    push(registry, {"acme/app:1": IMAGE, "acme/app:2": simple_image("other")})
    name = f"{registry.host}/acme/app"
    generate_key(sid, tmp_path)
    generate_key(sid, tmp_path, "stranger")
    sign(sid, tmp_path, f"{name}@{IMAGE.descriptor.digest}", "tag")
    for entry in (
        f"{{ref: '{name}:1', cosign-key: stranger.pub}}",
        f"{{ref: '{name}:2', cosign-key: acme.pub}}",
    ):
        manifest = tmp_path / "stack.yaml"
        manifest.write_text(manifest_of(entry))
        assert "upstream signature" in gap.online("pack", manifest, "--to", tmp_path / "x", code=13).err


def test_sbom_and_chart(gap: Gap, registry: RealRegistry, tmp_path: Path, sid: Sid) -> None:
    push(registry, {"acme/app:1": IMAGE})
    name = f"{registry.host}/acme/app"
    sbom = tmp_path / "sbom.json"
    sbom.write_text(json.dumps({"spdxVersion": "SPDX-2.3"}))
    words = ("--plain-http", "--disable-path-validation")
    sid("oras", "attach", *words, "--artifact-type", "application/spdx+json", f"{name}:1", sbom)
    chart = tmp_path / "chart.tgz"
    chart.write_bytes(b"a chart, for all we know")
    (tmp_path / "config.json").write_text('{"name": "demo"}')
    config = f"{tmp_path / 'config.json'}:application/vnd.cncf.helm.config.v1+json"
    layer = f"{chart}:application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    sid("oras", "push", *words, "--config", config, f"{registry.host}/charts/demo:1.0", layer)
    bundle = gap.pack(manifest_of(f"{name}:1", f"{registry.host}/charts/demo:1.0"))
    listed = sid("oras", "discover", "--plain-http", "--format", "json", f"{name}:1").stdout
    with RealRegistry(tmp_path / "enclave") as enclave:
        gap.offline("load", bundle, "--to", f"registry:{enclave.host}")
        there = sid(
            "oras", "discover", "--plain-http", "--format", "json", f"{enclave.host}/acme/app:1"
        ).stdout
        assert referrers(there) == referrers(listed) != []
        before, after = (f"{host}/charts/demo:1.0" for host in (registry.host, enclave.host))
        assert (
            sid("crane", "digest", "--insecure", after).stdout
            == sid("crane", "digest", "--insecure", before).stdout
        )
        chart.unlink()
        sid("oras", "pull", "--plain-http", "--allow-path-traversal", after)
        assert chart.read_bytes() == b"a chart, for all we know"
    gap.offline("load", bundle, "--to", f"oci:{tmp_path / 'out'}")


def test_oras_pulls_files(gap: Gap, tmp_path: Path, sid: Sid) -> None:
    files = {"tool": b"#!/bin/sh\n", "sub/a.yaml": b"a: 1\n", "sub/same.yaml": b"a: 1\n", "empty": b""}
    for name, content in files.items():
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).write_bytes(content)
    (tmp_path / "files" / "tool").chmod(0o755)
    bundle = gap.pack(
        "version: 1\nname: stack\nfiles: [{folder: files, match: '**', as: 'registry.example/edge/files:1'}]\n"
    )
    with RealRegistry(tmp_path / "enclave") as enclave:
        loaded = gap.offline(
            "load", bundle, "--to", f"registry:{enclave.host}", "--files-to", tmp_path / "srv"
        ).json
        assert [image["verdict"] for image in loaded["images"]] == ["loaded"]
        sid("oras", "pull", "--plain-http", "-o", tmp_path / "pulled", f"{enclave.host}/edge/files:1")
    for folder in (tmp_path / "srv", tmp_path / "pulled"):
        assert {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        } == files


def referrers(listed: bytes) -> list[tuple[str, str]]:
    found = json.loads(listed)
    items = found.get("referrers") or found.get("manifests") or []
    return sorted((item["artifactType"], item["digest"]) for item in items)
