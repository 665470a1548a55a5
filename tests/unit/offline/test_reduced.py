"""An image without the parts that are not carried."""

import json

from airgap.bundle.graph import ImageGraph, walk_image
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor
from airgap.offline.reduced import described, reduced
from tests.support.images import Image, make_index, simple_image

AMD64, ARM64, S390X = (simple_image(name, platform=f"linux/{name}") for name in ("amd64", "arm64", "s390x"))


def attestation(subject: Image) -> Image:
    """As BuildKit writes it: an in-toto statement in the clothes of an image, for no platform."""
    layer, config = b'{"predicateType":"https://spdx.dev/Document"}', b"{}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor(OCI_CONFIG, Digest.of(config), len(config)).to_json(),
        "layers": [Descriptor("application/vnd.in-toto+json", Digest.of(layer), len(layer)).to_json()],
        "annotations": {"about": str(subject.descriptor.digest)},
    }
    raw = json.dumps(manifest).encode()
    found = Image(Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw)), raw)
    found.contents = {Digest.of(each): each for each in (raw, layer, config)}
    return found


def index_of(*images: Image, notes: dict[str, str] | None = None) -> Image:
    """An index whose entries say more than ours would."""
    entries = []
    for image in images:
        entry = image.descriptor.to_json()
        if image.descriptor.platform is None and image.descriptor.media_type == OCI_MANIFEST:
            entry["platform"] = {"architecture": "unknown", "os": "unknown"}
            entry["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
        else:
            entry["x-vendor"] = ["kept", 1]
        entries.append(entry)
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, "annotations": notes or {}}
    raw = json.dumps(value, indent=3).encode()
    contents = {digest: each for image in images for digest, each in image.contents.items()}
    descriptor = Descriptor(OCI_INDEX, Digest.of(raw), len(raw))
    return Image(descriptor, raw, contents | {descriptor.digest: raw})


def graph_of(image: Image, *absent: Image) -> ImageGraph:
    gone = {each.descriptor.digest for each in absent}
    return walk_image(
        image.descriptor,
        lambda descriptor: image.contents[descriptor.digest],
        lambda index: [entry for entry in index.manifests if entry.digest not in gone],
        "image",
    )


def entries(graph: ImageGraph) -> list[dict[str, object]]:
    return json.loads(graph.documents[graph.root.digest][1])["manifests"]


def test_a_whole_image_is_not_reduced() -> None:
    assert reduced(graph_of(AMD64)) is None
    assert reduced(graph_of(make_index([AMD64, ARM64]))) is None


def test_the_only_platform_stands_for_the_index() -> None:
    less = reduced(graph_of(make_index([AMD64, ARM64]), ARM64))
    assert less is not None
    assert less.root.digest == AMD64.descriptor.digest
    assert described(less) == "its linux/amd64 image"


def test_entries_stay_as_they_are_with_their_attestations() -> None:
    notes = attestation(AMD64)
    image = index_of(ARM64, AMD64, notes, S390X, notes={"org.example": "kept"})
    less = reduced(graph_of(image, S390X))
    assert less is not None
    value = json.loads(image.raw)
    assert json.loads(less.documents[less.root.digest][1]) == {**value, "manifests": value["manifests"][:3]}
    assert less.root.size == len(less.documents[less.root.digest][1])
    assert less.root.digest == Digest.of(less.documents[less.root.digest][1])
    assert [item.descriptor.digest for item in less.manifests] == [
        each.descriptor.digest for each in (ARM64, AMD64, notes)
    ]
    assert described(less) == "an index made by airgap of linux/arm64, linux/amd64"


def test_it_is_the_same_each_time() -> None:
    image = index_of(ARM64, AMD64, S390X)
    one, two = (reduced(graph_of(image, S390X)) for _ in range(2))
    assert one == two


def test_what_is_refused_is_left_out() -> None:
    notes = attestation(AMD64)
    less = reduced(graph_of(index_of(AMD64, ARM64, notes)), {notes.descriptor.digest})
    assert less is not None
    assert [entry["digest"] for entry in entries(less)] == [
        str(each.descriptor.digest) for each in (AMD64, ARM64)
    ]


def test_without_its_images_nothing_of_use_is_left() -> None:
    image = index_of(AMD64, attestation(AMD64))
    assert reduced(graph_of(image), {AMD64.descriptor.digest}) is None


def test_an_index_in_an_index_gets_its_new_digest_into_the_outer_one() -> None:
    inner = index_of(AMD64, S390X)
    outer = index_of(inner, ARM64)
    less = reduced(graph_of(outer, S390X))
    assert less is not None
    [first, second] = entries(less)
    assert second["digest"] == str(ARM64.descriptor.digest)
    made = Digest.parse(str(first["digest"]))
    raw = less.documents[made][1]
    assert (made, first["size"]) == (Digest.of(raw), len(raw))
    assert [entry["digest"] for entry in json.loads(raw)["manifests"]] == [str(AMD64.descriptor.digest)]
    assert list(less.documents)[-1] == less.root.digest, "children come first"


def test_an_index_of_artifacts_is_reduced_too() -> None:
    one, two = attestation(AMD64), attestation(ARM64)
    less = reduced(graph_of(index_of(one, two), two))
    assert less is not None
    assert [entry["digest"] for entry in entries(less)] == [str(one.descriptor.digest)]
