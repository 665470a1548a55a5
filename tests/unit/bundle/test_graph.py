import json

import pytest

from airgap.bundle import graph
from airgap.bundle.graph import UNKNOWN, walk_image
from airgap.errors import AmbiguousError, DigestMismatchError, FormatError, SizeMismatchError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference
from tests.support.images import make_index, simple_image

AMD64, ARM64 = simple_image("amd"), simple_image("arm", platform="linux/arm64")
INDEX = make_index([ARM64, AMD64])
NAME = ImageReference.parse("r.test/x:1")


def entry(raw: bytes, media_type: str = OCI_MANIFEST, **more):
    return {"mediaType": media_type, "digest": str(Digest.of(raw)), "size": len(raw), **more}


def index(*entries):
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def read_from(*images, extra=()):
    contents = {Digest.of(raw): raw for raw in extra}
    for image in images:
        contents |= image.contents
    return lambda descriptor: contents[descriptor.digest]


def go(raw: bytes, *extra: bytes, media_type: str = OCI_INDEX, select=lambda index: index.manifests):
    read = read_from(INDEX, extra=(raw, *extra))
    return walk_image(Descriptor(media_type, Digest.of(raw), len(raw)), read, select, "x")


def test_image():
    found = walk_image(AMD64.descriptor, read_from(AMD64), list, "x")
    assert found.kind == "image"
    assert list(found.documents) == [AMD64.descriptor.digest]
    assert set(found.blobs) == {AMD64.config, *AMD64.layers}
    assert set(found.contents) == set(AMD64.contents)
    record = found.records[0]
    assert (record.platform, record.digest, record.config_digest) == (
        "linux/amd64",
        AMD64.descriptor.digest,
        AMD64.config,
    )
    assert found.lone_manifest is None
    assert found.docker_view(NAME).config == AMD64.config.path


def test_index_children_come_first():
    found = walk_image(INDEX.descriptor, read_from(INDEX), lambda index: index.manifests, "x")
    assert list(found.documents) == [
        ARM64.descriptor.digest,
        AMD64.descriptor.digest,
        INDEX.descriptor.digest,
    ]
    assert [str(item.platform) for item in found.manifests] == ["linux/arm64", "linux/amd64"]
    assert found.for_platform(Platform("linux", "arm64")).manifest.config.digest == ARM64.config
    assert found.for_platform(Platform("linux", "s390x")) is None
    assert found.docker_view(NAME).config == AMD64.config.path
    assert found.lone_manifest is None
    assert set(found.contents) == set(INDEX.contents)


def test_sparse_index():
    found = walk_image(INDEX.descriptor, read_from(INDEX), lambda index: index.manifests[:1], "x")
    assert found.docker_view(NAME).config == ARM64.config.path
    assert found.lone_manifest.platform == Platform("linux", "arm64")
    assert AMD64.descriptor.digest not in found.contents


def test_artifact():
    config = b"{}"
    raw = json.dumps(
        {"schemaVersion": 2, "config": entry(config, "text/x"), "layers": [entry(b"chart", "text/y")]}
    ).encode()
    found = go(raw, config, media_type=OCI_MANIFEST)
    assert (found.kind, found.docker_view(NAME), found.lone_manifest) == ("artifact", None, None)
    assert found.records[0].platform == "unknown/unknown"


def test_attestation_has_a_config_that_is_not_read():
    raw = index(entry(AMD64.raw), entry(ARM64.raw, platform={"os": "unknown", "architecture": "unknown"}))
    found = go(raw)
    assert [item.config is None for item in found.manifests] == [False, True]
    assert found.manifests[1].platform == UNKNOWN
    assert found.lone_manifest.descriptor.digest == AMD64.descriptor.digest


def test_one_manifest_named_twice():
    raw = index(entry(AMD64.raw), entry(AMD64.raw))
    assert len(go(raw).manifests) == 1


def changed_manifest(**changes):
    return json.dumps(json.loads(AMD64.raw) | changes).encode()


LAYER = json.loads(AMD64.raw)["layers"][0]
INNER = index(entry(AMD64.raw))
MIDDLE = index(entry(INNER, OCI_INDEX))


@pytest.mark.parametrize(
    ("raw", "extra", "error", "words"),
    [
        (
            index(entry(MIDDLE, OCI_INDEX)),
            (MIDDLE, INNER),
            FormatError,
            "image indexes are nested too deeply: x, want at most 2",
        ),
        (index(entry(b"blob", "text/x")), (b"blob",), FormatError, "not an image manifest"),
        (
            index(entry(AMD64.raw), entry(AMD64.raw, size=1)),
            (),
            AmbiguousError,
            "a digest is listed with two sizes",
        ),
        (index(entry(AMD64.raw, size=1)), (), SizeMismatchError, "wrong size"),
        (index(entry(AMD64.raw, size=(4 << 20) + 1)), (), FormatError, "too large"),
        (index(entry(AMD64.raw, OCI_INDEX)), (), AmbiguousError, "mediaType differs"),
    ],
)
def test_bad_index(raw, extra, error, words):
    with pytest.raises(error) as caught:
        go(raw, *extra)
    assert words in str(caught.value)
    assert "x: sha256:" in str(caught.value) or ": x," in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"layers": [LAYER, LAYER]}, AmbiguousError, "layers and diff_ids differ in number"),
        ({"layers": []}, AmbiguousError, "layers and diff_ids differ in number"),
        ({"layers": [{**LAYER, "size": 1}, LAYER]}, AmbiguousError, "a digest is listed with two sizes"),
        ({"config": {**LAYER, "mediaType": OCI_CONFIG}}, FormatError, "config"),
        ({"config": entry(b"x" * ((4 << 20) + 1), OCI_CONFIG)}, FormatError, "too large"),
    ],
)
def test_bad_manifest(changes, error, words):
    with pytest.raises(error) as caught:
        go(changed_manifest(**changes), media_type=OCI_MANIFEST)
    assert words in str(caught.value)


def test_another_document_than_asked_for():
    with pytest.raises(DigestMismatchError, match=r"x: sha256:"):
        walk_image(AMD64.descriptor, lambda _: AMD64.raw.swapcase(), list, "x")


def test_a_deep_but_allowed_index():
    assert [str(item.platform) for item in go(MIDDLE, INNER).manifests] == ["linux/amd64"]


def test_too_many(monkeypatch):
    monkeypatch.setattr(graph, "MAX_IMAGE_DOCUMENTS", 2)
    with pytest.raises(FormatError, match="too many image manifests"):
        walk_image(INDEX.descriptor, read_from(INDEX), lambda index: index.manifests, "x")
