"""The single-file form: one pass, repeatable bytes, taken by every offline command and by stock tools."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.airgap import Gap, manifest_of
from tests.e2e.conftest import Tool
from tests.e2e.corpus import corpus, push
from tests.support.engines import Engine
from tests.support.registries import RealRegistry


def test_every_reader_takes_it(
    gap: Gap, registry: RealRegistry, docker28c: Engine, sid: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = corpus()
    push(registry, images)
    names = [f"{registry.host}/{name}" for name in images]
    bundle = gap.pack(manifest_of(*names), "--tar")
    assert bundle.name == "stack-0001.tar"
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]
    assert gap.offline("inspect", bundle).json["serial"] == 1
    gap.offline("verify", bundle)
    gap.offline("load", bundle, "--to", f"oci:{gap.folder / 'out'}")
    for image in images.values():
        assert (gap.folder / "out" / image.descriptor.digest.path).read_bytes() == image.raw
    with bundle.open("rb") as stream:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        loaded = gap.offline("load", "-", "--to", f"docker:{docker28c.host}").json
    assert {image["verdict"] for image in loaded["images"]} == {"loaded"}
    assert list((gap.offline.home / "staging").iterdir()) == []
    docker28c.reset()
    docker28c.docker("load", "-i", bundle)
    assert docker28c.inspect(names[0])["Id"] == str(images["acme/one:1"].descriptor.digest)
    found = sid("skopeo", "inspect", "--raw", f"oci-archive:{bundle}:{names[0]}").stdout
    assert found == images["acme/one:1"].raw
    listed = subprocess.run(["tar", "-tf", bundle], capture_output=True, text=True, check=True).stdout.split()
    assert listed[:2] == ["bundle.dsse.json", "statement.json"]


def test_again_and_damaged(gap: Gap, registry: RealRegistry) -> None:
    images = corpus()
    push(registry, images)
    bundle = gap.pack(manifest_of(*(f"{registry.host}/{name}" for name in images)), "--tar")
    raw = bundle.read_bytes()
    words = ("pack", gap.folder / "stack.yaml", "--to", gap.folder / "stick", "--tar")
    assert gap.online(*words).json["fresh"] is False
    at = raw.index(images["acme/one:1"].contents[images["acme/one:1"].layers[0]])
    bundle.write_bytes(raw[: at + 9] + bytes([raw[at + 9] ^ 1]) + raw[at + 10 :])
    assert "wrong digest" in gap.offline("verify", bundle, code=12).err
    assert gap.online(*words).json["fresh"] is True
    assert bundle.read_bytes() == raw
    gap.offline("verify", bundle)
    bundle.write_bytes(raw[:-2000])
    assert "not the whole tar" in gap.offline("verify", bundle, code=19).err
    bundle.write_bytes(raw)
    gap.offline("verify", bundle)
    unfinished = bundle.with_name(bundle.name + ".part")
    bundle.rename(unfinished)
    assert gap.online(*words).json["fresh"] is True
    assert bundle.read_bytes() == raw


def test_same_files_as_the_folder(gap: Gap, registry: RealRegistry, tmp_path: Path) -> None:
    images = corpus()
    push(registry, images)
    manifest = manifest_of(*(f"{registry.host}/{name}" for name in images))
    folder, tar = gap.pack(manifest), gap.pack(manifest, "--tar")
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["tar", "-xf", tar, "-C", unpacked], check=True)
    assert (unpacked / "SHA256SUMS").read_bytes() == (folder / "SHA256SUMS").read_bytes()
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=unpacked, check=True)


def test_exports_are_refused_with_a_way_out(gap: Gap, docker28c: Engine) -> None:
    docker28c.docker("import", "-", "acme/built:1", input=bytes(10240))
    manifest = manifest_of(f"{{ref: 'acme/built:1', source: 'docker:{docker28c.host}'}}")
    refused = gap.folder / "stack.yaml"
    refused.write_text(manifest)
    answer = gap.online("pack", refused, "--to", gap.folder / "stick", "--tar", code=2)
    assert "leave out --tar" in json.loads(answer.out)["error"]["hint"]
