"""What `Layout` writes, other tools read; what they write, `Layout` reads."""

import json
from pathlib import Path

import pytest

from airgap.endpoints.layout import Layout
from airgap.oci.documents import OCI_LAYER_TAR, Descriptor
from airgap.oci.reference import ImageReference
from tests.support.images import Image, make_index, simple_image, write_layout
from tests.support.registries import RealRegistry
from tests.support.streams import Bytes

API = ImageReference.parse("ghcr.io/acme/api:2.3")
NGINX = ImageReference.parse("nginx:1.27")
IMAGE = simple_image("judged")
INDEX = make_index([IMAGE, simple_image("arm", platform="linux/arm64")])


def put(layout: Layout, reference: ImageReference, image: Image) -> None:
    for digest, raw in image.contents.items():
        layout.put_blob(reference, Descriptor(OCI_LAYER_TAR, digest, len(raw)), Bytes(raw))
    layout.tag(reference, image.descriptor, image.raw)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    layout = Layout(tmp_path / "layout")
    put(layout, API, IMAGE)
    put(layout, NGINX, INDEX)
    return tmp_path / "layout"


COPY = ("copy", "--all", "--preserve-digests", "--dest-tls-verify=false")


@pytest.mark.parametrize(("reference", "image"), [(API, IMAGE), (NGINX, INDEX)], ids=["image", "index"])
def test_skopeo_copies_it_bit_for_bit(
    folder: Path, registry: RealRegistry, skopeo, reference: ImageReference, image: Image
):
    skopeo(*COPY, f"oci:{folder}:{reference}", f"docker://{registry.host}/copied:1")
    found = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{registry.host}/copied:1").stdout
    assert found == image.raw


def test_skopeo_copies_an_image_without_a_name(tmp_path: Path, registry: RealRegistry, skopeo):
    put(Layout(tmp_path / "layout"), ImageReference.parse(f"acme/api@{IMAGE.descriptor.digest}"), IMAGE)
    skopeo(*COPY, f"oci:{tmp_path}/layout", f"docker://{registry.host}/copied:1")
    found = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{registry.host}/copied:1").stdout
    assert found == IMAGE.raw


def test_new_skopeo_and_oras_read_it(folder: Path, sid):
    raw = sid("skopeo", "inspect", "--raw", f"oci:{folder}:{NGINX}").stdout
    assert raw == INDEX.raw
    tags = sid("oras", "repo", "tags", "--oci-layout", folder).stdout.decode().split()
    assert set(tags) == {str(API), str(NGINX)}
    assert (
        sid("oras", "manifest", "fetch", "--oci-layout", f"{folder}@{IMAGE.descriptor.digest}").stdout
        == IMAGE.raw
    )


def test_crane_pushes_it(folder: Path, registry: RealRegistry, sid):
    target = f"{registry.host}/pushed:1"
    sid("crane", "push", "--insecure", "--index", folder, target)
    index = json.loads(sid("crane", "manifest", "--insecure", target).stdout)
    assert [e["digest"] for e in index["manifests"]] == [
        str(IMAGE.descriptor.digest),
        str(INDEX.descriptor.digest),
    ]


def test_layouts_of_skopeo_and_crane_are_read(tmp_path: Path, registry: RealRegistry, skopeo, sid):
    name = f"{registry.host}/made:1"
    source = write_layout(tmp_path / "source", {"made:1": IMAGE})
    skopeo("copy", "--dest-tls-verify=false", f"oci:{source}:made:1", f"docker://{name}")
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path}/by-tag:1")
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path}/by-name:{name}")
    sid("crane", "pull", "--insecure", "--format=oci", "--annotate-ref", name, tmp_path / "by-crane")
    reference = ImageReference.parse(name)
    for folder in ("by-tag", "by-name", "by-crane"):
        layout = Layout(tmp_path / folder)
        descriptor = layout.resolve(reference)
        assert descriptor.digest == IMAGE.descriptor.digest
        assert layout.read_document(reference, descriptor) == IMAGE.raw
