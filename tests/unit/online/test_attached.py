"""What refers to an image is found by the referrers API and by cosign's tags, and is locked like it."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest

from airgap.errors import DigestMismatchError, EndpointError, UnavailableError
from airgap.manifest import LockedImage
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import cosign_tags
from airgap.online import attached as module
from airgap.online.attached import attached
from tests.support.images import make_index, simple_image
from tests.support.memory_sources import MemorySource

NAME, OFFLINE = "example.com/app:1", "plant.local/app:9"
APP, AMD, ARM = simple_image("app"), simple_image("amd"), simple_image("arm", platform="linux/arm64")
MULTI = make_index([AMD, ARM])
ANNOTATED = {"artifact_type": "application/spdx+json", "annotations": {"a": "b"}}


def thing(text: str) -> Descriptor:
    return Descriptor(OCI_MANIFEST, Digest.of(text.encode()), len(text), **ANNOTATED)


@dataclass
class Registry(MemorySource):
    about: dict[Digest, list[Descriptor]] = field(default_factory=dict)
    tags: dict[str, Descriptor] = field(default_factory=dict)
    asked: list[Digest] = field(default_factory=list)

    def referrers(self, reference, digest):
        self.asked.append(digest)
        return self.about.get(digest, [])

    def resolve(self, reference):
        if reference.tag in self.tags and not reference.digest:
            return self.tags[reference.tag]
        return super().resolve(reference)


def locked(image=APP, **changes) -> LockedImage:
    names = map(ImageReference.parse, (NAME, OFFLINE))
    key = Path("/keys/acme.pub")
    found = LockedImage(*names, "registry", None, (), image.descriptor, None, key)
    return replace(found, **changes)


def registry(**fields) -> Registry:
    return Registry({NAME: APP, "example.com/multi:1": MULTI}, **fields)


def digests(found: list[LockedImage]) -> list[Digest]:
    return [image.descriptor.digest for image in found]


def test_nothing_attached():
    source = registry()
    assert attached(locked(), source) == []
    assert source.asked == [APP.descriptor.digest]


def test_sources_without_referrers_and_exports():
    assert attached(locked(), MemorySource({NAME: APP})) == []
    source = registry(about={APP.descriptor.digest: [thing("sbom")]})
    assert attached(locked(descriptor=None), source) == []
    assert source.asked == []


def test_by_referrers():
    sbom = thing("sbom")
    (found,) = attached(locked(), registry(about={APP.descriptor.digest: [sbom]}))
    assert str(found.reference) == f"example.com/app@{sbom.digest}"
    assert str(found.name) == f"plant.local/app@{sbom.digest}"
    assert found.descriptor == Descriptor(sbom.media_type, sbom.digest, sbom.size)
    assert (found.source, found.platforms, found.image_id, found.cosign_key) == ("registry", (), None, None)


def test_by_the_tags_of_cosign():
    things = {tag: thing(tag) for tag in cosign_tags(APP.descriptor.digest)}
    found = attached(locked(), registry(tags=things))
    assert digests(found) == [each.digest for each in things.values()]
    assert [str(image.reference) for image in found] == [f"example.com/app:{tag}" for tag in things]
    assert [str(image.name) for image in found] == [f"plant.local/app:{tag}" for tag in things]


def test_of_the_index_and_of_the_chosen_platforms():
    source = registry(about={each.descriptor.digest: [thing(each.raw.hex())] for each in (MULTI, AMD, ARM)})
    assert len(attached(locked(MULTI), source)) == 3
    chosen = attached(locked(MULTI, platforms=(Platform.parse("linux/arm64"),)), source)
    assert digests(chosen) == [thing(each.raw.hex()).digest for each in (MULTI, ARM)]


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
            with pytest.raises(EndpointError, match="too much refers to it"):
                attached(locked(), source)


def test_a_swapped_index_is_refused():
    source = registry(swaps={MULTI.descriptor.digest: MULTI.raw[:-1] + b" "})
    with pytest.raises(DigestMismatchError):
        attached(locked(MULTI), source)


def test_failures_are_not_taken_for_absence():
    class Down(Registry):
        def resolve(self, reference):
            raise UnavailableError("down")

    with pytest.raises(UnavailableError):
        attached(locked(), Down({NAME: APP}))
