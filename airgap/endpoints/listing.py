"""What an archive or a layout says about the images in it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image in an archive or a layout. A reference with its digest means it there, whatever the name."""

    digest: Digest
    names: tuple[ImageReference, ...] = ()
    """Whole names."""
    tag: str | None = None
    """What it is called where it has no whole name."""
    problem: str = ""
    """Why a name that it has cannot be used."""
    ids: frozenset[Digest] = frozenset()
    """All digests by which a person may know it: its own, and its config's."""
    contents: frozenset[Digest] = frozenset()
    """Its own digest, and those of the manifests in it."""
    subject: Digest | None = None
    """What it is attached to: it is a signature, an SBOM or the like."""


def merged(images: Iterable[ListedImage]) -> list[ListedImage]:
    """Each image once, with all its names."""
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


@runtime_checkable
class ListingSource(Protocol):
    """A source that can list what it holds: a layout, an archive."""

    @property
    def name(self) -> str:
        """How a person would call it."""

    def list_images(self) -> list[ListedImage]:
        """All images in it, each once, also those without a name."""
