"""A plan knows every byte from metadata alone, and trusts none of it unread."""

import gzip
import json
from dataclasses import replace

import pytest

from airgap.errors import AmbiguousError, DigestMismatchError, FormatError, SizeMismatchError
from airgap.oci.digest import Digest
from airgap.oci.documents import EMPTY_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor
from airgap.oci.reference import ImageReference
from airgap.online.plan import make_plan
from tests.support.images import Image, Layer, make_image, make_index, noise, simple_image
from tests.support.memory_sources import MemoryEngine, MemorySource, Opener
from tests.unit.online.support import lock_of, manifest_of, plan_of

SHARED = Layer.of({"base": noise(9000, 1)})
A, B = (make_image([SHARED, Layer.of({n: n.encode()})], label=n) for n in "ab")
AMD, ARM = simple_image("amd"), simple_image("arm", platform="linux/arm64")
MULTI = make_index([AMD, ARM])
IMAGES = {"example.com/a:1": A, "example.com/b:1": B, "example.com/multi:1": MULTI}


def test_shared_content_is_counted_once():
    plan = plan_of(manifest_of("example.com/a:1", "example.com/b:1"), registry=MemorySource(IMAGES))
    contents = A.contents | B.contents
    assert set(plan.blobs) == set(contents)
    assert plan.total_bytes == sum(map(len, contents.values()))


def test_only_configs_are_read():
    source = MemorySource(IMAGES)
    plan_of(manifest_of("example.com/a:1"), registry=source)
    assert source.opened == [(A.config, 0)]


@pytest.mark.parametrize(
    ("platforms", "carried"),
    [
        ("all", [AMD, ARM]),
        ("[]", [AMD, ARM]),
        ("linux/arm64", [ARM]),
        ("[linux/arm64]", [ARM]),
        ("[linux/arm64, linux/amd64]", [AMD, ARM]),
    ],
)
def test_platforms_are_chosen(platforms, carried):
    entry = f"{{ref: 'example.com/multi:1', platforms: {platforms}}}"
    plan = plan_of(manifest_of(entry), registry=MemorySource(IMAGES))
    wanted = {MULTI.descriptor.digest} | {digest for image in carried for digest in image.contents}
    assert set(plan.blobs) == wanted


def test_exports_are_grouped_by_source():
    manifest = manifest_of(*(f"{{ref: '{name}', source: docker}}" for name in IMAGES))
    plan = plan_of(manifest, docker=MemoryEngine(IMAGES))
    assert [len(export.images) for export in plan.exports] == [3]
    assert plan.blobs == {}


@pytest.mark.parametrize(
    ("digest", "content", "error"),
    [
        (A.config, b"{}", SizeMismatchError),
        (A.config, b"x" * len(A.contents[A.config]), DigestMismatchError),
        (A.descriptor.digest, b"x" * len(A.raw), DigestMismatchError),
    ],
)
def test_metadata_is_checked(digest, content, error):
    source = MemorySource(IMAGES)
    lock = lock_of(manifest_of("example.com/a:1"), registry=source)
    source.swaps[digest] = content
    with pytest.raises(error):
        make_plan(lock, Opener({"registry": source}))


def test_a_lock_that_does_not_fit_its_source():
    """A lock edited by hand: a digest for what only an engine has, and none for what a registry has."""
    direct = lock_of(manifest_of("example.com/a:1"), registry=MemorySource(IMAGES))
    with pytest.raises(FormatError, match="has a digest for an export"):
        make_plan(direct, Opener({"registry": MemoryEngine(IMAGES)}))
    engine = lock_of(manifest_of("{ref: example.com/a:1, source: docker}"), docker=MemoryEngine(IMAGES))
    with pytest.raises(FormatError, match="has no digest"):
        make_plan(engine, Opener({"docker": MemorySource(IMAGES)}))


def test_the_base_spares_layers_and_no_config():
    lock = lock_of(manifest_of("example.com/a:1"), registry=MemorySource(IMAGES))
    held = frozenset(A.contents)
    plan = make_plan(lock, Opener({"registry": MemorySource(IMAGES)}), held)
    assert set(plan.blobs) == set(A.contents) - set(A.layers)
    assert plan.left_out_bytes == sum(len(A.contents[layer]) for layer in A.layers)


def test_an_artifact_is_for_every_platform():
    raw = json.loads(A.raw)
    raw["config"]["mediaType"] = "application/vnd.example.chart"
    content = json.dumps(raw).encode()
    root = Descriptor(OCI_MANIFEST, Digest.of(content), len(content))
    chart = Image(root, content, {**A.contents, root.digest: content})
    entry = "{ref: 'example.com/chart:1', platforms: [linux/arm64]}"
    plan = plan_of(manifest_of(entry), registry=MemorySource({"example.com/chart:1": chart}))
    assert plan.images[0].graph.kind == "artifact"


BASE, FIRST, SECOND = (Layer.of({name: name.encode()}) for name in ("base", "first", "second"))
EMPTY = Layer(gzip.compress(bytes(1024), mtime=0), OCI_LAYER_GZIP, EMPTY_LAYER)


@pytest.mark.parametrize(
    ("held", "wanted", "behind"),
    {
        "an update": ([BASE, FIRST], [BASE, FIRST, SECOND], [BASE, FIRST]),
        "on another base": ([BASE, SECOND], [FIRST, SECOND], []),
        "above a new layer": ([BASE, SECOND], [BASE, FIRST, SECOND], [BASE]),
        "twice": ([BASE, FIRST], [BASE, FIRST, FIRST], [BASE]),
        "the empty layer": ([BASE, EMPTY, FIRST], [BASE, EMPTY, FIRST], [BASE, FIRST]),
    }.values(),
)
def test_only_what_every_engine_can_use_where_the_image_has_it_stays_behind(held, wanted, behind):
    """Docker's classic store has a layer only on top of those that it came on."""
    source = MemorySource({"example.com/a:1": make_image(wanted)})
    lock = lock_of(manifest_of("example.com/a:1"), registry=source)
    plan = make_plan(lock, Opener({"registry": source}), frozenset(make_image(held).contents))
    assert plan.left_out_layers() == {Digest.of(layer.blob) for layer in behind}
    assert not plan.left_out_layers() & plan.blobs.keys()


def test_what_one_image_needs_does_not_stay_behind_for_another():
    images = {"example.com/a:1": make_image([BASE, FIRST]), "example.com/b:1": make_image([SECOND, FIRST])}
    source = MemorySource(images)
    lock = lock_of(manifest_of(*images), registry=source)
    plan = make_plan(lock, Opener({"registry": source}), frozenset(images["example.com/a:1"].contents))
    assert plan.left_out_layers() == {Digest.of(BASE.blob)}
    assert Digest.of(FIRST.blob) in plan.blobs


# -- the names in a lock that was written by hand


@pytest.mark.parametrize(
    ("names", "words"),
    {
        "a digest beside the tag": (
            ("example.com/a:1", f"example.com/a:1@{B.descriptor.digest}"),
            "two images have the same name: lock, got example.com/a:1 and",
        ),
        "another spelling": (("example.com/a:1", "EXAMPLE.com:443/a:1"), "two images have the same name"),
        "the digest of another image": (
            (f"example.com/a:1@{B.descriptor.digest}", "example.com/b:1"),
            "the name has the digest of another image",
        ),
        "without a tag": (
            ("example.com/a:1", f"example.com/b@{A.descriptor.digest}"),
            "the name has the digest of another image",
        ),
        "a passing name": (
            ("airgap.invalid/loading/1:x", "example.com/b:1"),
            "airgap.invalid is reserved",
        ),
    }.values(),
)
def test_names_that_could_mean_another_image_are_refused_before_anything_is_asked_for(names, words):
    source = MemorySource(dict(IMAGES))
    lock = lock_of(manifest_of("example.com/a:1", "example.com/b:1"), registry=source)
    images = tuple(
        replace(image, name=ImageReference.parse(name))
        for image, name in zip(lock.images, names, strict=True)
    )
    opener = Opener({"registry": source})
    with pytest.raises(AmbiguousError) as caught:
        make_plan(replace(lock, images=images), opener)
    assert words in str(caught.value)
    assert opener.asked == []


def test_a_digest_of_its_own_beside_the_tag_is_left_out():
    source = MemorySource(dict(IMAGES))
    lock = lock_of(manifest_of("example.com/a:1"), registry=source)
    [image] = lock.images
    pinned = replace(image, name=image.name.with_digest(A.descriptor.digest))
    plan = make_plan(replace(lock, images=(pinned,)), Opener({"registry": source}))
    assert [str(each.name) for each in plan.lock.images] == ["example.com/a:1"]
    assert [str(each.locked.name) for each in plan.images] == ["example.com/a:1"]
