"""How many requests a lock and a pack cost a registry, by what is asked."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.support.attachments import attach, index_with
from tests.support.images import Image, simple_image
from tests.support.registry import FakeRegistry
from tests.support.registry_parts import Request

KINDS = {
    "token": r"/token",
    "referrers": r"/referrers/",
    "tag list": r"/tags/list",
    "tags": r"/manifests/sha256-",
    "manifests": r"/manifests/",
    "configs and layers": r"/blobs/",
}
"""Patterns of paths, the first that fits decides. `tags` are those of attachments."""


def platforms(count: int) -> list[str]:
    return [f"linux/p{number}" for number in range(count)]


def image_of(count: int, name: str = "app", *, attested: bool = False) -> Image:
    """An image of one layer for each of `count` platforms: an image manifest for one, an index for more. With
    an attestation in the index for each, as BuildKit writes them, where it is `attested`.
    """
    images = [simple_image(f"{name}{number}", 200, where) for number, where in enumerate(platforms(count))]
    if count == 1:
        return images[0]
    return index_with([(image, _attestation(image, name) if attested else None) for image in images])


def _attestation(image: Image, name: str) -> Image:
    return simple_image(f"{name} provenance {image.descriptor.digest}", 200)


def count(requests: Iterable[Request]) -> Counter[str]:
    """Requests by kind."""
    return Counter(next(k for k, pattern in KINDS.items() if re.search(pattern, r.path)) for r in requests)


@dataclass(frozen=True)
class Case:
    """A registry that holds an image of so many platforms, and what else is so."""

    platforms: int
    arrange: Callable[[FakeRegistry, Image], object] = lambda fake, image: None
    attested: bool = False

    @property
    def image(self) -> Image:
        return image_of(self.platforms, attested=self.attested)


def with_api(fake: FakeRegistry, image: Image) -> None:
    fake.referrers_api = True


def with_token(fake: FakeRegistry, image: Image) -> None:
    fake.require_bearer(anonymous=True)


def with_cosign(fake: FakeRegistry, image: Image) -> None:
    attach(fake, "app", image, "sig")


def with_referrer(fake: FakeRegistry, image: Image) -> None:
    with_api(fake, image)
    attach(fake, "app", image, "api")


def with_many_tags(fake: FakeRegistry, image: Image, last: str = "stable") -> None:
    for number in range(2999):
        fake.add("app", f"0.{number}", image)
    fake.add("app", last, image)
    fake.page_size = 1000


def both(*steps: Callable[[FakeRegistry, Image], object]) -> Callable[[FakeRegistry, Image], object]:
    return lambda fake, image: [step(fake, image) for step in steps]


CASES = {
    "1 platform": Case(1),
    "2 platforms": Case(2),
    "10 platforms": Case(10),
    "1 platform, referrers API": Case(1, with_api),
    "2 platforms, referrers API": Case(2, with_api),
    "10 platforms, referrers API": Case(10, with_api),
    "1 platform, token": Case(1, with_token),
    "10 platforms, token": Case(10, with_token),
    "1 platform, referrers API, token": Case(1, both(with_api, with_token)),
    "10 platforms, referrers API, token": Case(10, both(with_api, with_token)),
    "10 platforms and 10 attestations": Case(10, attested=True),
    "10 platforms and 10 attestations, referrers API": Case(10, with_api, attested=True),
    "2 platforms, cosign signature": Case(2, with_cosign),
    "2 platforms, referrer": Case(2, with_referrer),
    "2 platforms, 3,000 tags": Case(2, with_many_tags),
    "2 platforms, 3,000 tags, numbers only": Case(2, lambda f, i: with_many_tags(f, i, "1.0")),
}
