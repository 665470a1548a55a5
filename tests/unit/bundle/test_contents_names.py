import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.bundle.contents import (
    DockerView,
    docker_entries,
    index_json,
    manifest_json,
    read_index,
    repo_tag,
    sha256sums,
)
from airgap.errors import AmbiguousError, FormatError
from airgap.oci.digest import Digest
from airgap.oci.documents import CONTAINERD_NAME, OCI_MANIFEST, REF_NAME, Descriptor, parse_document
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference
from tests.support.images import simple_image

A, B = (ImageReference.parse(f"r.test/{name}:1") for name in "ab")
NAMELESS = ImageReference.parse(f"r.test/c@{Digest.of(b'c')}")
ONE = Descriptor(
    OCI_MANIFEST,
    Digest.of(b"1"),
    1,
    platform=Platform("linux", "arm"),
    annotations={"x": "y"},
    artifact_type="text/x",
)
TWO = Descriptor(OCI_MANIFEST, Digest.of(b"2"), 2)


def test_index():
    raw = index_json([(B, TWO), (A, ONE), (NAMELESS, TWO)])
    value = json.loads(raw)
    assert [entry["annotations"] for entry in value["manifests"]] == [
        {REF_NAME: str(name), CONTAINERD_NAME: str(name)} for name in (A, B, NAMELESS)
    ]
    assert all(set(entry) == {"mediaType", "digest", "size", "annotations"} for entry in value["manifests"])
    assert raw.count(b"\n") == 5
    parse_document(raw, None, "index.json")
    assert {name: found.digest for name, found in read_index(raw).items()} == {
        A: ONE.digest,
        B: TWO.digest,
        NAMELESS: TWO.digest,
    }


def test_no_images():
    assert read_index(index_json([])) == {}


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2**40), max_size=5))
def test_index_is_read_as_written(sizes):
    images = {
        ImageReference.parse(f"r.test/{n}:1"): Descriptor(OCI_MANIFEST, Digest.of(n.encode()), s)
        for n, s in sizes.items()
    }
    found = read_index(index_json(images.items()))
    assert {name: (d.digest, d.size) for name, d in found.items()} == {
        name: (d.digest, d.size) for name, d in images.items()
    }


GOOD = index_json([(A, ONE), (B, TWO)])
ENTRY = GOOD.split(b"\n")[1].rstrip(b",")


@pytest.mark.parametrize(
    "raw",
    [
        GOOD + b" ",
        GOOD.replace(b":1,", b": 1,"),
        GOOD.replace(b'"schemaVersion":2', b'"schemaVersion":1'),
        GOOD.replace(ENTRY, ENTRY + b",\n" + ENTRY),
        index_json([(B, TWO), (A, ONE)]).replace(str(A).encode(), b"r.test/z:1"),
        GOOD.replace(b'"manifests"', b'"annotations":{},"manifests"'),
        GOOD.replace(f'"{CONTAINERD_NAME}":"{A}"'.encode(), f'"{CONTAINERD_NAME}":"{B}"'.encode()),
        GOOD.replace(b'"size":1', b'"platform":{"os":"linux","architecture":"arm"},"size":1'),
        GOOD.replace(b"r.test/a:1", b"r.test/a"),
    ],
)  # fmt: skip
def test_only_in_canonical_form(raw):
    assert raw != GOOD
    with pytest.raises(AmbiguousError, match=r"not in canonical form: index\.json"):
        read_index(raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"[]", "not a JSON object"),
        (b"{}", "index.json: manifests"),
        (GOOD.replace(b"sha256:", b"SHA256:"), "not a digest"),
        (GOOD.replace(REF_NAME.encode(), b"x"), "not an image reference"),
        (GOOD.replace(b'"manifests"', b'"Manifests":1,"manifests"'), "differ in case only"),
    ],
)
def test_refused(raw, words):
    with pytest.raises(FormatError) as caught:
        read_index(raw)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("twin", "words"),
    [
        (
            A.with_digest(ONE.digest),
            "two images have the same name: index.json, got r.test/a:1 and r.test/a:1@",
        ),
        (
            replace(A, registry="R.test:443"),
            "two images have the same name: index.json, got R.test:443/a:1 and",
        ),
        (replace(A, registry="airgap.invalid"), "airgap.invalid is reserved for temporary names while"),
    ],
)
def test_names_that_meet_at_a_target_are_refused(twin, words):
    with pytest.raises(AmbiguousError) as caught:
        read_index(index_json([(A, ONE), (twin, ONE)]))
    assert words in str(caught.value)


def test_docker_view():
    image = simple_image("x")
    view = DockerView.of(A, parse_document(image.raw, None, "x"))
    assert view == DockerView(A, image.config.path, tuple(layer.path for layer in image.layers))
    nameless = DockerView(NAMELESS, "c", ())
    pinned = DockerView(B.with_digest(Digest.of(b"")), "b", ("l",))
    raw = manifest_json([nameless, pinned, view])
    assert json.loads(raw) == docker_entries([view, pinned, nameless])
    assert [entry["RepoTags"] for entry in json.loads(raw)] == [["r.test/a:1"], ["r.test/b:1"], []]
    assert raw.splitlines()[1].startswith(b'{"Config":"blobs/sha256/')


def test_repo_tag():
    assert repo_tag(NAMELESS) is None
    assert repo_tag(B.with_digest(Digest.of(b""))) == "r.test/b:1"


def test_sums():
    assert sha256sums({"b": "2" * 64, "a": "1" * 64}) == f"{'1' * 64}  a\n{'2' * 64}  b\n".encode()
    assert sha256sums({}) == b""
