import collections
import io
import tarfile

import pytest

from airgap.errors import EndpointError, IntegrityError, MissingContentError
from airgap.oci.digest import Digest
from airgap.oci.platform import Platform
from airgap.offline.engine_image import runnable
from airgap.offline.image_tar import ImageTar
from tests.support.bundles import MULTI, ONE, small_images

IMAGES = small_images()
AMD64 = Platform("linux", "amd64")
BASE, LAYER = IMAGES[ONE].layers


def whole(bundle, **options):
    tar = ImageTar(bundle, **options)
    for image in bundle.images:
        tar.add_whole(image, runnable(image, AMD64))
    return tar


def read(tar: ImageTar) -> dict[str, bytes]:
    """As an independent reader reads it."""
    raw = b"".join(tar.chunks(lambda _: None))
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as found:
        return {member.name: found.extractfile(member).read() for member in found.getmembers()}


def test_whole(bundle):
    tar = whole(bundle)
    files = read(tar)
    assert list(files)[-3:] == ["oci-layout", "index.json", "manifest.json"]
    contents = {d.path: raw for image in IMAGES.values() for d, raw in image.contents.items()}
    assert {name: raw for name, raw in files.items() if name.startswith("blobs/")} == contents
    assert tar.total == sum(map(len, contents.values()))


def test_the_tables_are_those_of_the_bundle(gap, bundle):
    """Made anew from verified documents, and so the same."""
    files = read(whole(bundle))
    for name in ("index.json", "manifest.json", "oci-layout"):
        assert files[name] == (gap.bundle / name).read_bytes()


def test_one_platform(bundle):
    tar = ImageTar(bundle)
    image = bundle.images[2]
    item = runnable(image, AMD64)
    tar.add_runnable(image, item)
    files = read(tar)
    assert list(files) == [*(blob.digest.path for blob in item.manifest.blobs), "manifest.json"]


def test_zstd_layers_are_unpacked_where_asked(bundle):
    image = bundle.images[2]
    item = runnable(image, AMD64)
    tar = ImageTar(bundle, unpack=frozenset({"zstd"}))
    tar.add_runnable(image, item)
    files = read(tar)
    diff_id = item.config.diff_ids[1]
    assert Digest.of(files[diff_id.path]) == diff_id
    assert item.manifest.layers[1].digest.path not in files
    assert f'"{diff_id.path}"'.encode() in files["manifest.json"]


@pytest.mark.parametrize("unpack", [frozenset(), frozenset({"zstd", "gzip"})])
def test_left_out(bundle, unpack):
    image = bundle.images[2]
    item = runnable(image, AMD64)
    layers = frozenset(layer.digest for layer in item.manifest.layers)
    tar = ImageTar(bundle, unpack=unpack, leave_out=layers)
    tar.add_runnable(image, item)
    assert list(read(tar)) == [item.manifest.config.digest.path, "manifest.json"]


def test_progress(bundle):
    seen = []
    tar = whole(bundle)
    for _ in tar.chunks(seen.append):
        pass
    assert sum(seen) == tar.total


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_raises_before_the_tables(gap, bundle, harm):
    path = gap.blob(LAYER)
    if harm == "flip":
        gap.flip(LAYER.path)
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    seen = bytearray()
    with pytest.raises(MissingContentError if harm == "remove" else IntegrityError):
        collections.deque(map(seen.extend, whole(bundle).chunks(lambda _: None)))
    assert b"manifest.json" not in seen
    assert b"index.json" not in seen


class TestRunnable:
    @pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64", "linux/arm"])
    def test_exact(self, bundle, platform):
        assert str(runnable(bundle.images[2], Platform.parse(platform)).platform) == platform

    def test_the_only_one_goes_anywhere(self, bundle):
        assert runnable(bundle.images[0], Platform("linux", "s390x")).platform == AMD64

    def test_none(self, bundle):
        with pytest.raises(EndpointError) as caught:
            runnable(bundle.images[2], Platform("linux", "s390x"))
        assert str(caught.value) == (
            f"the image has no platform for this engine: {MULTI}, want linux/s390x, got linux/arm, linux/amd64, linux/arm64"
        )
