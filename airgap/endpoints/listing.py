"""The images listed in an archive or a layout, and the tags listed by a registry."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace

from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image in an archive or a layout. A reference with its digest matches it, whatever the name."""

    digest: Digest
    names: tuple[ImageReference, ...] = ()
    """Whole names."""
    tag: str | None = None
    """Its tag, if it has no whole name."""
    problem: str = ""
    """The reason why one of its names cannot be used."""
    ids: frozenset[Digest] = frozenset()
    """All digests by which a person may know it: its own, and its config's."""
    contents: frozenset[Digest] = frozenset()
    """Its own digest, and those of the manifests in it."""
    subject: Digest | None = None
    """The image that it is attached to, if it is a signature, an SBOM or the like."""


def merged(images: Iterable[ListedImage]) -> list[ListedImage]:
    """Return each image once, with all its names."""
    found: dict[Digest, ListedImage] = {}
    for image in images:
        known = found.setdefault(image.digest, image)
        found[image.digest] = replace(
            known,
            names=tuple(dict.fromkeys((*known.names, *image.names))),
            tag=known.tag or image.tag,
            problem=known.problem or image.problem,
        )
    return list(found.values())


class ListingSource(ABC):
    """A source that can list what it holds: a layout, an archive."""

    @abstractmethod
    def list_images(self) -> list[ListedImage]:
        """Return all images in it, each once, including those without a name."""


class TagListSource(ABC):
    """A source that can list the tags of a repository: a registry."""

    @abstractmethod
    def tags(self, reference: ImageReference) -> list[str]:
        """Return all tags of the repository of `reference`, at most 100,000, in the source's order. Some may
        not be tags as the specification has them.
        """
