"""What is attached to an image is locked like it; what a source does not answer is written down."""

import json
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest

from airgap.endpoints.attachments import Attachment, Attachments, AttachmentSource
from airgap.errors import DigestMismatchError, EndpointError
from airgap.manifest import AttachmentChoice, LockedImage
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX, OCI_MANIFEST, Descriptor
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import cosign_tags
from airgap.online import referrers as module
from airgap.online.plan import DocumentCache
from airgap.online.platforms import ATTESTED
from airgap.online.referrers import with_attached
from tests.support.images import Image, make_index, simple_image
from tests.support.memory_sources import MemorySource

NAME, OFFLINE = "example.com/app:1", "plant.local/app:9"
APP, AMD, ARM = simple_image("app"), simple_image("amd"), simple_image("arm", platform="linux/arm64")
MULTI = make_index([AMD, ARM])
ANNOTATED = {"artifact_type": "application/spdx+json", "annotations": {"a": "b"}}


def thing(text: str) -> Descriptor:
    return Descriptor(OCI_MANIFEST, Digest.of(text.encode()), len(text), **ANNOTATED)


@dataclass
class Registry(MemorySource, AttachmentSource):
    """A source that finds attachments."""

    about: dict[Digest, list[Descriptor]] = field(default_factory=dict)
    tags: dict[str, Descriptor] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    asked: list[tuple[list[Digest], list[Digest], bool]] = field(default_factory=list)

    def attachments(self, reference, subjects, also=(), *, thorough=False):
        self.asked.append((list(subjects), list(also), thorough))
        listed = [Attachment(each, item) for each in subjects for item in self.about.get(each, [])]
        tagged = [
            Attachment(each, self.tags[tag], tag)
            for each in subjects
            for tag in cosign_tags(each)
            if tag in self.tags
        ]
        return Attachments((*listed, *tagged), self.unknown)


def locked(image=APP, **changes) -> LockedImage:
    found = LockedImage(
        reference=ImageReference.parse(NAME), name=ImageReference.parse(OFFLINE), source="registry", path=None,
        platforms=(), descriptor=image.descriptor, image_id=None,
    )  # fmt: skip
    return replace(found, **changes)


def registry(**fields) -> Registry:
    return Registry({NAME: APP, "example.com/multi:1": MULTI}, **fields)


def attached(image: LockedImage, source: MemorySource) -> list[LockedImage]:
    return with_attached(image, source, DocumentCache())[1:]


def digests(found: list[LockedImage]) -> list[Digest]:
    return [image.descriptor.digest for image in found]


def test_nothing_attached():
    source = registry()
    assert with_attached(locked(), source, DocumentCache()) == [locked()]
    assert source.asked == [([APP.descriptor.digest], [], False)]


def test_sources_that_cannot_be_asked():
    assert attached(locked(), MemorySource({NAME: APP})) == []
    source = registry(about={APP.descriptor.digest: [thing("sbom")]})
    assert attached(locked(descriptor=None), source) == []
    assert attached(locked(attachments=AttachmentChoice.NONE), source) == []
    assert source.asked == []


def test_by_referrers():
    sbom = thing("sbom")
    (found,) = attached(
        locked(cosign_key=Path("/keys/acme.pub")), registry(about={APP.descriptor.digest: [sbom]})
    )
    assert str(found.reference) == f"example.com/app@{sbom.digest}"
    assert str(found.name) == f"plant.local/app@{sbom.digest}"
    assert found.descriptor == Descriptor(sbom.media_type, sbom.digest, sbom.size)
    assert (found.source, found.platforms, found.image_id, found.cosign_key) == ("registry", (), None, None)
    assert (found.subject, found.attachments) == (APP.descriptor.digest, "required")


def test_by_the_tags_of_cosign():
    things = {tag: thing(tag) for tag in cosign_tags(APP.descriptor.digest)}
    found = attached(locked(), registry(tags=things))
    assert digests(found) == [each.digest for each in things.values()]
    assert [str(image.reference) for image in found] == [f"example.com/app:{tag}" for tag in things]
    assert [str(image.name) for image in found] == [f"plant.local/app:{tag}" for tag in things]
    assert all(image.is_optional for image in found)


def test_of_the_index_and_of_the_chosen_platforms():
    source = registry(about={each.descriptor.digest: [thing(each.raw.hex())] for each in (MULTI, AMD, ARM)})
    assert len(attached(locked(MULTI), source)) == 3
    chosen = attached(locked(MULTI, platforms=(Platform.parse("linux/arm64"),)), source)
    assert digests(chosen) == [thing(each.raw.hex()).digest for each in (MULTI, ARM)]


def test_attestations_in_an_index_cost_no_question():
    about = simple_image("attestation")
    entry = {
        **about.descriptor.to_json(),
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {ATTESTED: str(AMD.descriptor.digest)},
    }
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [AMD.descriptor.to_json(), entry]}
    raw = json.dumps(index).encode()
    root = Descriptor(OCI_INDEX, Digest.of(raw), len(raw))
    image = Image(root, raw, AMD.contents | about.contents | {root.digest: raw})
    source = Registry({NAME: image})
    attached(locked(image), source)
    assert source.asked == [([root.digest, AMD.descriptor.digest], [about.descriptor.digest], False)]


def test_what_the_image_itself_consists_of_is_not_attached_to_it():
    source = registry(about={MULTI.descriptor.digest: [MULTI.descriptor, AMD.descriptor, ARM.descriptor]})
    assert attached(locked(MULTI, platforms=(Platform.parse("linux/arm64"),)), source) == []


def test_signatures_of_sboms_are_found_and_no_more():
    chain = [APP.descriptor, *(thing(str(number)) for number in range(4))]
    about = {one.digest: [two] for one, two in pairwise(chain)}
    assert digests(attached(locked(), registry(about=about))) == [each.digest for each in chain[1:3]]


def test_circles_end():
    one, two = thing("one"), thing("two")
    source = registry(about={APP.descriptor.digest: [one], one.digest: [two, one], two.digest: [one]})
    assert digests(attached(locked(), source)) == [one.digest, two.digest]


def test_too_much(monkeypatch):
    monkeypatch.setattr(module, "MAX_ATTACHED", 5)
    for count in (5, 6):
        source = registry(about={APP.descriptor.digest: [thing(str(number)) for number in range(count)]})
        if count == 5:
            assert len(attached(locked(), source)) == 5
        else:
            with pytest.raises(EndpointError, match="too many attachments"):
                attached(locked(), source)


def test_a_swapped_index_is_refused():
    source = registry(swaps={MULTI.descriptor.digest: MULTI.raw[:-1] + b" "})
    with pytest.raises(DigestMismatchError):
        attached(locked(MULTI), source)


REASONS = ("referrers API: access denied, got HTTP 401", "tags: no answer in time")


def test_failures_are_not_taken_for_absence():
    sbom = thing("sbom")
    source = registry(unknown=REASONS, about={APP.descriptor.digest: [sbom]})
    image, found = with_attached(locked(), source, DocumentCache())
    assert image.attachments_unknown == "; ".join(REASONS)
    assert (found.descriptor.digest, found.attachments_unknown) == (sbom.digest, None)


def test_reasons_fit_into_a_lock():
    [image] = with_attached(locked(), registry(unknown=("\x1b[31m\u202e" * 500,)), DocumentCache())
    assert image.attachments_unknown.isprintable()
    assert len(image.attachments_unknown) <= 900


@pytest.mark.parametrize(
    "demand",
    [{"attachments": AttachmentChoice.REQUIRED}, {"cosign_key": Path("/k.pub")}],
    ids=["required", "key"],
)
def test_where_attachments_are_demanded_failures_are_errors(demand):
    source = registry(unknown=REASONS)
    with pytest.raises(
        EndpointError, match=r"attachments are unknown: example\.com/app:1, got referrers API"
    ):
        attached(locked(**demand), source)
    assert source.asked[0][2]


def test_a_key_is_content_with_what_was_found():
    """Whether it is the signature is checked when the image is packed."""
    source = registry(unknown=REASONS, about={APP.descriptor.digest: [thing("signature")]})
    assert len(attached(locked(cosign_key=Path("/k.pub")), source)) == 1
    with pytest.raises(EndpointError, match="attachments are unknown"):
        attached(locked(attachments=AttachmentChoice.REQUIRED), source)
