"""Which images of an archive or layout are meant by an item of a manifest, and what stays behind."""

from collections.abc import Sequence
from dataclasses import dataclass

from airgap.endpoints.listing import ListedImage
from airgap.errors import FormatError, NotFoundError
from airgap.manifest import ImageEntry
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import cosign_tags, is_fallback_tag

_DEPTH = 2
"""A signature of an SBOM of an image is found; what refers to that is not."""
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Pick:
    """One image to lock: how to ask the source for it, and its name on the offline side."""

    image: ListedImage
    reference: ImageReference
    rename: ImageReference | None


def pick(entry: ImageEntry, source: str, listed: Sequence[ListedImage]) -> list[Pick]:
    """The images that an item without a `ref` means: the one of its digest, the only one, or all that have a
    name. What is attached to another image does not count.

    Raises `NotFoundError` when there is none, and `FormatError` when it is not clear which one, or how it
    should be called.
    """
    if entry.digest is not None:
        chosen = [image for image in listed if entry.digest in image.ids]
        if not chosen:
            raise NotFoundError(
                "no image of that digest",
                subject=f"{source}: {entry.digest}",
                hint=f"it has {_shown(listed)}",
            )
    else:
        chosen = _on_their_own(listed)
    if not chosen:
        raise NotFoundError("no image in it", subject=source)
    if len(chosen) > 1 and (entry.rename or entry.digest):
        raise FormatError(
            "`as` and `digest` want one image", subject=source, got=_shown(chosen),
            hint="`ref` or `digest` picks one",
        )  # fmt: skip
    picked = [found for image in chosen for found in _named(entry, image)]
    if not picked:
        more = " and `digest:`, which picks one of them" if len(chosen) > 1 else ""
        raise FormatError(
            "no image in it has a name", subject=source, got=_shown(chosen),
            hint=f"write `as: NAME:TAG`{more}",
        )  # fmt: skip
    return picked


def hint_for(reference: ImageReference, listed: Sequence[ListedImage]) -> str | None:
    """What to write where the one image that is there has no name, and so not this one."""
    found = _on_their_own(listed)
    if reference.digest is not None or len(found) != 1 or found[0].names:
        return None
    return f"its one image has no name there: write `as: {reference}` in place of `ref`"


def _named(entry: ImageEntry, image: ListedImage) -> list[Pick]:
    """The image under the name that the manifest gives it, or under each of its own."""
    if entry.rename is not None:
        return [Pick(image, entry.rename.with_digest(image.digest), entry.rename)]
    return [Pick(image, name, None) for name in image.names]


def attached_to(image: ListedImage, listed: Sequence[ListedImage]) -> list[tuple[ListedImage, str | None]]:
    """What refers to an image or to the manifests in it: by its `subject`, or by a tag of cosign's, which is
    given too.
    """
    found: dict[Digest, tuple[ListedImage, str | None]] = {}
    subjects = image.contents
    for _ in range(_DEPTH):
        tags = {tag for digest in subjects for tag in cosign_tags(digest)}
        fresh = [
            (other, other.tag if other.tag in tags else None)
            for other in listed
            if other.digest not in found and (other.subject in subjects or other.tag in tags)
        ]
        found |= {other.digest: (other, tag) for other, tag in fresh}
        subjects = frozenset(other.digest for other, _ in fresh)
    return list(found.values())


def why_left_out(image: ListedImage) -> str:
    """Why an image is not among those that are taken without being asked for."""
    if image.subject is not None:
        return f"attached to {image.subject}, which is not taken"
    if image.problem:
        return f"{image.problem}; `digest:` and `as:` take it"
    if image.tag is not None:
        return f"it has only the tag {image.tag!r}; `digest:` and `as:` take it"
    return "it has no name; `digest:` and `as:` take it"


def _on_their_own(listed: Sequence[ListedImage]) -> list[ListedImage]:
    """The images that are neither a part of another one nor attached to one."""
    tags = {tag for image in listed for digest in image.contents for tag in cosign_tags(digest)}
    within = {digest for image in listed for digest in image.contents - {image.digest}}
    return [
        image
        for image in listed
        if image.names
        or not (image.subject or image.tag in tags or image.digest in within or is_fallback_tag(image.tag))
    ]


def _shown(images: Sequence[ListedImage]) -> str:
    """Digests with what is known of their names."""
    texts = [
        f"{image.digest} ({', '.join(map(str, image.names)) or image.tag or 'no name'})" for image in images
    ]
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
