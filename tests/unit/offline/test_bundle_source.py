"""A verified bundle hands out what is in it, by name and by digest."""

import contextlib
import shutil
from dataclasses import replace

import pytest

from airgap.bundle.files import Folder
from airgap.bundle.statement import Requirement
from airgap.carry.verify import verify
from airgap.errors import DigestMismatchError, IncompleteError, NotFoundError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from airgap.offline.bundle_source import BundleSource
from tests.support.bundles import MULTI, ONE, TWO, small_images

IMAGES = small_images()
REF = ImageReference.parse(ONE)
LAYER = IMAGES[ONE].layers[0]


@pytest.fixture
def source(bundle):
    return BundleSource(bundle)


def blob(digest: Digest) -> Descriptor:
    return Descriptor("x", digest, len(IMAGES[ONE].contents[digest]))


def read(stream) -> bytes:
    out, view = bytearray(), memoryview(bytearray(999))
    with contextlib.closing(stream):
        while got := stream.readinto(view):
            out += view[:got]
    return bytes(out)


def test_names(source, gap):
    assert sorted(map(str, source.names())) == sorted(IMAGES)
    assert source.name == f"bundle:{gap.bundle}"


@pytest.mark.parametrize("name", [ONE, TWO, MULTI])
def test_resolve(source, name):
    reference, want = ImageReference.parse(name), IMAGES[name].descriptor.digest
    assert source.resolve(reference).digest == want
    assert source.resolve(replace(reference, tag=None, digest=want)).digest == want


def test_the_digest_wins_over_the_tag(source):
    other = IMAGES[TWO].descriptor.digest
    assert source.resolve(replace(REF, digest=other)).digest == other


@pytest.mark.parametrize(
    "reference",
    [
        ImageReference.parse("registry.test/one:2"),
        ImageReference.parse("registry.test/else:1"),
        replace(REF, digest=Digest.of(b"?")),
        replace(REF, digest=LAYER),
    ],
)
def test_unknown_images(source, reference):
    with pytest.raises(NotFoundError, match="no such image"):
        source.resolve(reference)


@pytest.mark.parametrize("name", [ONE, TWO, MULTI])
def test_documents(source, name):
    image = IMAGES[name]
    assert source.read_document(REF, image.descriptor) == image.raw


@pytest.mark.parametrize("digest", [Digest.of(b"?"), LAYER])
def test_unknown_documents(source, digest):
    with pytest.raises(NotFoundError, match="no such document"):
        source.read_document(REF, Descriptor("x", digest, 9))


@pytest.mark.parametrize("offset", [0, 1, 2000])
def test_blobs(source, offset):
    for digest, raw in IMAGES[ONE].contents.items():
        assert read(source.open_blob(REF, blob(digest), offset)) == raw[offset:]


@pytest.mark.parametrize("digest", [Digest.of(b"?"), Digest.of(b"?", "sha512")])
def test_unknown_blobs(source, digest):
    with pytest.raises(NotFoundError, match="no such blob"):
        source.open_blob(REF, Descriptor("x", digest, 1))


def test_blobs_are_checked_as_they_are_read(source, gap):
    gap.flip(LAYER.path, at=5)
    with pytest.raises(DigestMismatchError):
        read(source.open_blob(REF, blob(LAYER)))


@pytest.mark.parametrize("offset", [0, 7])
def test_what_a_delta_leaves_out_comes_from_its_base(gap, tmp_path, offset):
    whole = shutil.copytree(gap.bundle, tmp_path / "whole")
    gap.forge({LAYER.path: None}, requires=(Requirement(LAYER, blob(LAYER).size, (ONE,)),))
    with Folder(whole) as first, Folder(gap.bundle) as second:
        base, delta = (BundleSource(verify(folder, gap.receiver())) for folder in (first, second))
        with pytest.raises(NotFoundError, match="no such blob"):
            delta.open_blob(REF, blob(LAYER), offset)
        with pytest.raises(IncompleteError, match=f"leaves out blobs .* want {LAYER}$"):
            delta.build_on([delta])
        delta.build_on([delta, base])
        assert read(delta.open_blob(REF, blob(LAYER), offset)) == IMAGES[ONE].contents[LAYER][offset:]


def test_a_full_bundle_needs_no_base(source):
    source.build_on([])
