"""Step 9 alone: small files that are signed, and disagree. The long table is in tests/cli/test_bad_bundles.py."""

import json
from dataclasses import replace

import pytest

from airgap.bundle.files import Folder
from airgap.bundle.statement import Requirement
from airgap.carry.verify_small_files import SmallFilesCheck
from airgap.errors import (
    AirgapError,
    AmbiguousError,
    DigestMismatchError,
    SizeMismatchError,
)
from airgap.oci.digest import Digest
from tests.support import harms
from tests.support.bundles import MULTI, ONE, TWO, Gap, small_images

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


@pytest.mark.parametrize("name", ["SHA256SUMS", "index.json", "manifest.json", "oci-layout"])
def test_files_that_must_be_listed(gap, name):
    subjects = {key: value for key, value in gap.statement.subjects.items() if key != name}
    with pytest.raises(
        AirgapError, match=f"not listed in the statement: {name}|SHA256SUMS and the statement differ"
    ):
        read(gap, subjects=subjects)
