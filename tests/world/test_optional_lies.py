"""What a registry lists as attached is believed only as far as its bytes say the same."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airgap.oci.documents import OCI_INDEX, OCI_MANIFEST
from airgap.oci.referrers import cosign_tags, fallback_tag
from tests.support.attachments import Way, attach, referrer
from tests.support.images import simple_image
from tests.support.registry import FakeRegistry
from tests.support.registry_parts import index_of

ONE, OTHER = simple_image("one"), simple_image("other")
TAG = fallback_tag(ONE.descriptor.digest)
THING = referrer(ONE, "thing")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


LIES = {
    "listed, but about another image": lambda fake: fake.manifests.__setitem__(
        ("api", TAG), (OCI_INDEX, index_of([_other(fake).to_json()]))
    ),
    "listed, but gone": lambda fake: (
        attach(fake, "api", ONE, "tag"), fake.manifests.pop(("api", str(THING.descriptor.digest)))
    ),
    "other bytes": lambda fake: (
        attach(fake, "api", ONE, "tag"),
        fake.fault(method="GET", path=f"/manifests/{THING.descriptor.digest}", body=b"{}"),
    ),
    "an image in the place of a signature": lambda fake: (
        attach(fake, "api", ONE, "tag"),
        fake.manifests.__setitem__(("api", TAG),
                                   (OCI_INDEX, index_of([OTHER.descriptor.to_json()]))),
        fake.add("api", None, OTHER),
    ),
}  # fmt: skip


def _other(fake: FakeRegistry) -> Any:
    found = referrer(OTHER, "about another")
    fake.add("api", None, found)
    return found.descriptor


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_what_is_listed_is_checked(fake: FakeRegistry, lie: Callable[[FakeRegistry], object]) -> None:
    """It is left out, with a word, and is an error where attachments are demanded."""
    fake.add("api", "1", ONE)
    lie(fake)
    plan = Way(fake).go("api:1")
    assert [image.graph.root.digest for image in plan.images] == [ONE.descriptor.digest]
    assert [image.descriptor for image in plan.lock.images] == [plan.images[0].locked.descriptor]
    assert list(plan.unknown) == [name for name in plan.unknown if "/api@sha256:" in name] != []
    for demand in ("attachments: required", "cosign-key: k.pub"):
        with pytest.raises(Exception, match=r"want subject|not found|wrong size"):
            Way(fake).go(f"{{ref: 'HOST/api:1', {demand}}}")


def test_a_tag_of_cosign_that_means_the_image_itself(fake: FakeRegistry) -> None:
    fake.add("api", "1", ONE)
    for tag in cosign_tags(ONE.descriptor.digest):
        fake.manifests["api", tag] = (OCI_MANIFEST, ONE.raw)
    assert len(Way(fake).go("api:1").images) == 1
