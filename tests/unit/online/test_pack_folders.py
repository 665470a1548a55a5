"""What of a bundle goes on every volume: each volume is proved alone, but for the layers that are elsewhere."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.bundle.volumes import VolumeSet, open_bundle, read_table
from airgap.carry.receiver import Receiver
from airgap.carry.verify import check, verify_content
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from airgap.progress import Silent
from airgap.site import Site
from tests.support.cut import run
from tests.support.images import Image, Layer, make_image, noise, write_layout
from tests.unit.online.test_upstream import ACME, signature_of, tag_of

SIGNED = make_image([Layer.of({"a": noise(3_000_000, 1)}), Layer.of({"b": noise(3_000_000, 2)})])
SIGNATURE = signature_of(SIGNED.descriptor.digest)
NAME = "example.com/app:1"
BESIDE = f"example.com/app:{tag_of(SIGNED.descriptor.digest)}"
(PAYLOAD,) = (d for d, raw in SIGNATURE.contents.items() if b"cosign container image signature" in raw)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A site that has packed an image with its cosign signature over two volumes, and cut it once more."""
    folder = tmp_path_factory.mktemp("signed")
    write_layout(folder / "source", {NAME: SIGNED, BESIDE: SIGNATURE})
    (folder / "acme.pub").write_text(ACME.public_key.pem)
    manifest = folder / "stack.yaml"
    manifest.write_text(
        "version: 1\nname: stack\nimages:\n"
        f"  - {{oci: source, ref: '{NAME}', cosign-key: acme.pub}}\n"
        f"  - {{oci: source, ref: '{BESIDE}'}}\n"
    )
    home = folder / "hq"
    run(home, "init", "--owner", "alice", "--site", "hq")
    for name, verb, sources in (("pack", "pack", [manifest]), ("repack", "repack", None)):
        media = [word for n in (1, 2) for word in ("--to", folder / name / str(n))]
        run(home, verb, *(sources or volumes(folder / "pack")), *media, "--volume-size", "5MB")
    return folder


def volumes(folder: Path) -> list[Path]:
    return [folder / str(number) / f"stack-0001.v{number}" for number in (1, 2)]


def receiver(made: Path) -> Receiver:
    site = Site(made / "hq")
    return Receiver(site="hq", root=site.root(), mark=lambda _: None, now=datetime.now(UTC))


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("command", ["pack", "repack"])
def test_an_upstream_signature_is_proved_on_each_volume_alone(made, command, number):
    path = volumes(made / command)[number - 1]
    assert (path / PAYLOAD.path).exists()
    with open_bundle((path,), alone=True) as found:
        assert isinstance(found, VolumeSet)
        assert found.missing == (3 - number,)
        bundle = check(found, receiver(made))
        table = read_table(found.folders[number])
    assert [image.record.upstream_signature is not None for image in bundle.images] == [True, False]
    assert table is not None
    assert set(table.cut.parts) == set(SIGNED.layers)


@pytest.mark.parametrize("command", ["pack", "repack"])
def test_volumes_with_an_upstream_signature_are_whole_together(made, command):
    with open_bundle(volumes(made / command)) as found:
        assert verify_content(check(found, receiver(made)), Silent(), 1) == []


def artifact(config: bytes, layer: bytes) -> Image:
    """What is no image: nobody knows its config."""
    kinds = {"config": ("application/x.test.config", config), "layer": ("application/x.test", layer)}
    parts = {name: Descriptor(kind, Digest.of(raw), len(raw)) for name, (kind, raw) in kinds.items()}
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/x.test",
            "config": parts["config"].to_json(),
            "layers": [parts["layer"].to_json()],
        }
    ).encode()
    contents = {Digest.of(each): each for each in (raw, config, layer)}
    return Image(Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw)), raw, contents)


@pytest.mark.parametrize(
    ("size", "is_cut"), [(1000, False), (4 << 20, False), ((4 << 20) + 1, True), (12_000_000, True)]
)
def test_a_large_config_of_an_artifact_is_cut_as_layers_are(tmp_path, size, is_cut):
    config = noise(size, 1)
    write_layout(tmp_path / "source", {NAME: artifact(config, noise(11_000_000, 2))})
    manifest = tmp_path / "stack.yaml"
    manifest.write_text(f"version: 1\nname: stack\nimages:\n  - {{oci: source, ref: '{NAME}'}}\n")
    run(tmp_path / "hq", "init", "--owner", "alice", "--site", "hq")
    media = [word for n in (1, 2, 3) for word in ("--to", tmp_path / str(n))]
    run(tmp_path / "hq", "pack", manifest, *media, "--volume-size", "10MB")
    paths = sorted(tmp_path.glob("*/stack-0001.v*"))
    with Folder(paths[0]) as folder:
        table = read_table(folder)
    assert table is not None
    assert (Digest.of(config) in table.cut.parts) == is_cut
    with open_bundle(paths) as found:
        assert verify_content(check(found, receiver(tmp_path)), Silent(), 1) == []


@pytest.mark.parametrize("inner", ["config", "manifest"])
def test_a_layer_that_another_image_is_read_by_is_on_every_volume(tmp_path, inner):
    """An archive of images as an artifact has such layers; each volume is checked alone all the same."""
    raw = SIGNED.contents[SIGNED.config] if inner == "config" else SIGNED.raw
    other = "example.com/backup:1"
    write_layout(tmp_path / "source", {NAME: SIGNED, other: artifact(b"{}", raw)})
    manifest = tmp_path / "stack.yaml"
    entries = "".join(f"  - {{oci: source, ref: '{name}'}}\n" for name in (NAME, other))
    manifest.write_text(f"version: 1\nname: stack\nimages:\n{entries}")
    run(tmp_path / "hq", "init", "--owner", "alice", "--site", "hq")
    media = [word for n in (1, 2) for word in ("--to", tmp_path / str(n))]
    run(tmp_path / "hq", "pack", manifest, *media, "--volume-size", "5MB")
    paths = volumes(tmp_path)
    for path in paths:
        with open_bundle((path,), alone=True) as found:
            assert len(check(found, receiver(tmp_path)).images) == 2
    again = [word for n in (1, 2) for word in ("--to", tmp_path / "again" / str(n))]
    run(tmp_path / "hq", "repack", *paths, *again, "--volume-size", "5MB")
    for here in (paths, volumes(tmp_path / "again")):
        with open_bundle(here) as found:
            assert isinstance(found, VolumeSet)
            assert set(found.table.cut.parts) == set(SIGNED.layers)
            assert verify_content(check(found, receiver(tmp_path)), Silent(), 1) == []
