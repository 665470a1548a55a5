"""Layers of Windows base images, which say where they can be had besides (`urls`)."""

import json
from pathlib import Path
from typing import Any

import pytest

from airgap.oci.documents import parse_document
from tests.cli.conftest import Gap, gap, passphrase
from tests.support.images import FOREIGN_LAYER, Image, foreign_image, make_index, simple_image
from tests.support.registry import FakeRegistry
from tests.world.table import Kind, row

__all__ = ["gap", "passphrase"]

LINUX, WINDOWS = simple_image("linux"), foreign_image()
BOTH = make_index([LINUX, WINDOWS])
BASE = WINDOWS.layers[0]
ORDINARY = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def manifest(gap: Gap, registry: FakeRegistry, platforms: str) -> Path:
    return gap.manifest(f"{registry.url.removeprefix('http://')}/app:1", head=f"platforms: {platforms}\n")


def packed(gap: Gap, found: Image, platforms: str = "all") -> Path:
    with FakeRegistry() as registry:
        registry.add("app", "1", found)
        gap.online("pack", manifest(gap, registry, platforms), "--to", gap.stick)
    return gap.stick / "stack-0001"


@row(
    Kind.PLATFORMS, "skopeo copy", "leaves foreign layers out, and only a reference to their address is left",
    "podman-container-tools/skopeo#2875", "carries them from the registry, byte for byte, and never contacts the address",
)  # fmt: skip
@row(
    Kind.PLATFORMS, "imgpkg", "skips foreign layers unless `--include-non-distributable` is given",
    "carvel-dev/imgpkg#71", "carries them with the platform that was asked for",
)  # fmt: skip
@pytest.mark.parametrize("platforms", ["all", "windows/amd64"])
@pytest.mark.parametrize("docker", [True, False])
def test_carried_where_the_registry_has_them(gap: Gap, platforms: str, docker: bool) -> None:
    windows = foreign_image(docker=docker)
    bundle = packed(gap, make_index([LINUX, windows]), platforms)
    assert (bundle / BASE.path).read_bytes() == WINDOWS.contents[BASE]
    assert (bundle / windows.descriptor.digest.path).read_bytes() == windows.raw
    assert "good: stack-0001" in gap.offline("verify", bundle).out


@row(
    Kind.PLATFORMS, "Docker Hub, registry:2", "do not have the foreign layers of images that were pushed to them",
    "oras-project/oras-go#319", "the error names the image, the platform, the layer and `platforms:` that leave it out",
)  # fmt: skip
@pytest.mark.parametrize("command", ["plan", "pack"])
def test_not_there(gap: Gap, command: str) -> None:
    with FakeRegistry() as registry:
        registry.add("app", "1", BOTH)
        del registry.blobs["app", BASE]
        words = [] if command == "plan" else ["--to", gap.stick]
        for platforms, hint in (
            ("all", "hint: `platforms: [linux/amd64]` on this image leaves it out"),
            ("windows/amd64", "hint: use a tag whose base image has ordinary layers"),
        ):
            err = gap.online(command, manifest(gap, registry, platforms), *words, code=18).err
            assert "the source does not have a foreign layer" in err
            assert f"/app:1 for windows/amd64, want {BASE}" in err
            assert hint in err
        gap.online("plan", manifest(gap, registry, "linux/amd64"))


def changed(**base: object) -> dict[str, Any]:
    return {"base": base}


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ({"mediaType": ORDINARY}, "content kept elsewhere (urls) cannot cross the gap"),
        ({"mediaType": "application/vnd.oci.image.layer.v1.tar"}, "content kept elsewhere"),
        ({"mediaType": "application/octet-stream"}, "content kept elsewhere"),
        ({"urls": ["http://mcr.example.com/base"]}, "bad addresses of a foreign layer"),
        ({"urls": ["https://mcr.example.com/a b"]}, "bad addresses"),
        ({"urls": ["https://a\r\nHost: b"]}, "bad addresses"),
        ({"urls": ["file:///etc/passwd"]}, "bad addresses"),
        ({"urls": ["https://a.example/"] * 17}, "bad addresses"),
        ({"urls": [1]}, "urls"),
        ({"urls": "https://a.example/"}, "urls"),
    ],
)
def test_hostile_twins_stay_refused(gap: Gap, base: dict[str, object], words: str) -> None:
    with FakeRegistry() as registry:
        registry.add("app", "1", foreign_image(**base))
        err = gap.online("plan", manifest(gap, registry, "all"), code=10).err
    assert words in err


@pytest.mark.parametrize("place", ["config", "subject"])
def test_only_layers_may_have_addresses(place: str) -> None:
    value = json.loads(WINDOWS.raw)
    foreign = dict(value["layers"][0])
    value[place] = {**foreign, "digest": str(WINDOWS.config), "size": len(WINDOWS.contents[WINDOWS.config])}
    assert value[place]["mediaType"] == FOREIGN_LAYER
    with pytest.raises(Exception, match="content kept elsewhere"):
        parse_document(json.dumps(value).encode(), None, "x")


@row(
    Kind.PLATFORMS, "containerd, ctr", "goes to the addresses of foreign layers first when it pulls, though the registry has them",
    "containerd/containerd#7676", "such images are not loaded into registries and layouts without --allow-urls",
)  # fmt: skip
@pytest.mark.parametrize("target", ["oci:out", "archive:out.tar", "registry"])
def test_loaded_where_they_are_asked_only_on_demand(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    bundle = packed(gap, BOTH)
    monkeypatch.chdir(gap.folder)
    with FakeRegistry() as enclave:
        words = [
            "--to",
            f"registry:{enclave.url.removeprefix('http://')}" if target == "registry" else target,
        ]
        done = gap.offline("load", bundle, *words, code=16)
        assert (
            "the image has foreign layers, and tools that read it there connect to their addresses (urls)"
            in done.err
        )
        assert "got https://mcr.example.com/windows" in done.err
        assert enclave.manifests == {}
        assert not list(gap.folder.glob("out*"))
        loaded = gap.offline("load", bundle, *words, "--allow-urls", "--json").json["images"]
        assert [image["error"] for image in loaded] == [None]


def test_a_folder_of_archives_takes_them(gap: Gap) -> None:
    """k3s and k0s import with containerd, which takes what is in the archive."""
    bundle = packed(gap, BOTH)
    loaded = gap.offline("load", bundle, "--to", f"k3s:{gap.folder / 'images'}", "--json").json["images"]
    assert [image["error"] for image in loaded] == [None]
