"""Step 9 alone: small files that are signed, and disagree. The long table is in tests/cli/test_bad_bundles.py."""

import json
from dataclasses import replace

import pytest

from airgap.bundle.files import Folder
from airgap.bundle.statement import Requirement
from airgap.bundle.upstream import UpstreamSignature
from airgap.carry.verify_small_files import SmallFilesCheck
from airgap.errors import (
    AirgapError,
    AmbiguousError,
    DigestMismatchError,
    FormatError,
    SignatureMismatchError,
    SizeMismatchError,
    UnsignedError,
)
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.trust.keys import SigningKey
from tests.support import harms
from tests.support.bundles import MULTI, ONE, TWO, Gap, make_gap, small_images
from tests.support.images import make_index, simple_image
from tests.unit.online.test_upstream import ACME, signature_of, tag_of

IMAGES = small_images()
LAYER = IMAGES[ONE].layers[1]


def read(gap: Gap, **changes):
    statement = replace(gap.statement, **changes)
    sizes = {
        name: (gap.bundle / name).stat().st_size
        for name in statement.subjects
        if (gap.bundle / name).exists()
    }
    with Folder(gap.bundle) as folder:
        return SmallFilesCheck(folder, statement, sizes).images()


def test_images_in_the_order_of_the_statement(gap):
    images = read(gap)
    assert [str(image.name) for image in images] == [ONE, TWO, MULTI]
    assert [image.graph.root.digest for image in images] == [
        IMAGES[name].descriptor.digest for name in (ONE, TWO, MULTI)
    ]
    assert [str(item.platform) for item in images[2].graph.manifests] == [
        "linux/arm",
        "linux/amd64",
        "linux/arm64",
    ]


def test_layers_are_not_read(gap):
    gap.rewrite(LAYER.path, lambda raw: bytes(len(raw)))
    assert len(read(gap)) == 3


SIZE = len(IMAGES[ONE].contents[LAYER])


@pytest.mark.parametrize(
    ("requires", "words"),
    [
        ((Requirement(LAYER, SIZE, ()),), None),
        ((), f"{ONE}, want {LAYER}"),
        ((Requirement(LAYER, SIZE + 1, ()),), f"{ONE}, want {LAYER}"),
        ((Requirement(LAYER, SIZE, ()), Requirement(Digest.of(b""), 7, ())), "is not a layer"),
        ((Requirement(LAYER, SIZE, ()), Requirement(harms.OTHER_CONFIG, 7, ())), "is not a layer"),
        ((Requirement(LAYER, SIZE, ()), Requirement(IMAGES[ONE].layers[0], 7, ())), "is in the bundle"),
    ],
)
def test_a_layer_that_is_left_out_must_be_required(gap, requires, words):
    gap.forge({LAYER.path: None}, requires=requires)
    if words is None:
        assert len(read(gap)) == 3
        return
    with pytest.raises(AirgapError) as caught:
        read(gap)
    assert words in str(caught.value)


def test_sparse_index(gap):
    """A manifest of an index that is not carried belongs to another platform."""
    *others, index = gap.statement.images
    dropped = index.platforms[0]
    manifest = json.loads(IMAGES[MULTI].contents[dropped.digest])
    layers = (Digest.parse(layer["digest"]) for layer in manifest["layers"])
    gone = {digest.path: None for digest in (dropped.digest, dropped.config_digest, *layers)}
    gap.forge(gone, images=(*others, replace(index, platforms=index.platforms[1:])))
    assert [str(item.platform) for item in read(gap)[2].graph.manifests] == ["linux/amd64", "linux/arm64"]


def test_two_images_may_carry_different_platforms_of_one_index(tmp_path):
    index = make_index([simple_image(name, platform=f"linux/{name}") for name in ("386", "arm64", "s390x")])
    gap = make_gap(tmp_path, images={ONE: index, TWO: index})
    one, two = gap.statement.images
    images = read(gap, images=(replace(one, platforms=one.platforms[:2]), two))
    assert [len(image.graph.manifests) for image in images] == [2, 3]


CASES = {
    "sums": (harms.flip("SHA256SUMS", 0), DigestMismatchError),
    "help text": (harms.flip("VERIFY.txt"), DigestMismatchError),
    "root": (harms.flip("trust/1.root.json"), DigestMismatchError),
    "config": (harms.flip(harms.CONFIG.path, 9), DigestMismatchError),
    "cut layer": (harms.cut(LAYER.path), SizeMismatchError),
    "statement and index differ": (harms.first_image(digest=Digest.of(b"x")), AmbiguousError),
    "statement and sums differ": (harms.lying_sums, AmbiguousError),
    "wrong total": (harms.restate(total_bytes=1), SizeMismatchError),
}


@pytest.mark.parametrize(("harm", "error"), CASES.values(), ids=CASES)
def test_refused(gap, harm, error):
    harm(gap)
    with pytest.raises(error):
        read(gap)


SIGNED = IMAGES[ONE].descriptor.digest
SIGNATURE = signature_of(SIGNED)
KEY, OTHER_KEY = ACME.public_key, SigningKey.generate().public_key
UPSTREAM = UpstreamSignature(KEY.pem, KEY.keyid, SIGNATURE.descriptor.digest)
CLAIMS = {
    "valid": (UPSTREAM, None, ""),
    "not in the bundle": (replace(UPSTREAM, manifest=LAYER), AmbiguousError, "the upstream signature is missing"),
    "another key id": (replace(UPSTREAM, keyid="0" * 64), AmbiguousError, "the upstream signature is missing"),
    "an image without signatures": (replace(UPSTREAM, manifest=SIGNED), UnsignedError, "no cosign signature"),
    "of another key": (
        replace(UPSTREAM, key=OTHER_KEY.pem, keyid=OTHER_KEY.keyid), SignatureMismatchError, "no valid cosign",
    ),
    "not a key": (replace(UPSTREAM, key="x"), FormatError, "upstream_signature"),
}  # fmt: skip


@pytest.mark.parametrize(("claim", "error", "words"), CLAIMS.values(), ids=CLAIMS)
def test_an_upstream_signature_is_checked_again(tmp_path, claim, error, words):
    gap = make_gap(tmp_path, images={ONE: IMAGES[ONE], f"registry.test/one:{tag_of(SIGNED)}": SIGNATURE})
    images = [
        replace(record, upstream_signature=claim if record.digest == SIGNED else None)
        for record in gap.statement.images
    ]
    if error is None:
        assert read(gap, images=tuple(images))[0].record.upstream_signature == claim
        return
    with pytest.raises(error, match=words):
        read(gap, images=tuple(images))


@pytest.mark.parametrize(
    ("asked", "renamed", "name", "full"),
    [
        ("a.b/c:1", None, "a.b/c:1", "a.b/c:1"),
        (f"a.b/c:1@{SIGNED}", None, "a.b/c:1", f"a.b/c:1@{SIGNED}"),
        (f"a.b/c@{SIGNED}", None, f"a.b/c@{SIGNED}", f"a.b/c@{SIGNED}"),
        (f"a.b/c:1@{SIGNED}", "x.y/z:2", "x.y/z:2", f"x.y/z:2@{SIGNED}"),
        ("a.b/c:1", "x.y/z:2", "x.y/z:2", "x.y/z:2"),
    ],
)
def test_the_names_of_an_image_in_the_target(gap, asked, renamed, name, full):
    image, *_ = read(gap)
    reference = ImageReference.parse(asked)
    image = replace(
        image,
        record=replace(image.record, reference=reference, name=reference),
        renamed=ImageReference.parse(renamed) if renamed else None,
    )
    assert (str(image.name), str(image.full_name)) == (name, full)


@pytest.mark.parametrize("name", ["SHA256SUMS", "index.json", "manifest.json", "oci-layout"])
def test_files_that_must_be_listed(gap, name):
    subjects = {key: value for key, value in gap.statement.subjects.items() if key != name}
    with pytest.raises(
        AirgapError, match=f"not listed in the statement: {name}|SHA256SUMS and the statement differ"
    ):
        read(gap, subjects=subjects)
