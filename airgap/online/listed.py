"""Finds the images of an archive or layout that an item of a manifest names, and those that it leaves out."""

from collections.abc import Iterable, Sequence

from airgap.endpoints.listing import ListedImage
from airgap.errors import FormatError, NotFoundError
from airgap.limits import MAX_ATTACHED_DEPTH
from airgap.manifest import ImageEntry
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import cosign_tags, is_fallback_tag
from airgap.values import dataclass

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Pick:
    """One image to lock: its reference at the source, and its name on the offline side."""

    image: ListedImage
    reference: ImageReference
    rename: ImageReference | None


def pick(entry: ImageEntry, source: str, listed: Sequence[ListedImage]) -> list[Pick]:
    """Return the images that an item without a `ref` names: the one with its digest, the only one, or all
    that have a name. Images that are attached to another image are not counted.

    Raises `NotFoundError` if there is none, and `FormatError` if the image or its name is ambiguous.
    """
    if entry.digest is not None:
        chosen = [image for image in listed if entry.digest in image.ids]
        if not chosen:
            raise NotFoundError(
                "no image has this digest",
                subject=f"{source}: {entry.digest}",
                hint=f"the source has {_shown(listed)}",
            )
    else:
        chosen = _on_their_own(listed)
    if not chosen:
        raise NotFoundError("there is no image to lock", subject=source)
    if len(chosen) > 1 and (entry.rename or entry.digest):
        raise FormatError(
            "`as` and `digest` need a single image", subject=source, got=_shown(chosen),
            hint="select one with `ref` or `digest`",
        )  # fmt: skip
    picked = [named for image in chosen for named in _named(entry, image)]
    if not picked:
        more = " and `digest:` to select one" if len(chosen) > 1 else ""
        raise FormatError(
            "none of the images has a name", subject=source, got=_shown(chosen),
            hint=f"write `as: NAME:TAG`{more}",
        )  # fmt: skip
    return picked


def hint_for(reference: ImageReference, listed: Sequence[ListedImage]) -> str | None:
    """Return a hint if the source's only image has no name, and so was not found under `reference`."""
    images = _on_their_own(listed)
    if reference.digest is not None or len(images) != 1 or images[0].names:
        return None
    return f"the only image there has no name: write `as: {reference}` instead of `ref`"


def _named(entry: ImageEntry, image: ListedImage) -> list[Pick]:
    """Return the image with the name from the manifest, or once for each of its own names."""
    if entry.rename is not None:
        return [Pick(image, entry.rename.with_digest(image.digest), entry.rename)]
    return [Pick(image, name, None) for name in image.names]


class Attached:
    """Finds what is attached to an image, among the images of one archive or layout."""

    def __init__(self, listed: Sequence[ListedImage]) -> None:
        self._images = {image.digest: image for image in listed}
        self._order = {digest: number for number, digest in enumerate(self._images)}
        self._by_subject: dict[Digest, list[ListedImage]] = {}
        self._by_tag: dict[str, list[ListedImage]] = {}
        for image in listed:
            if image.subject is not None:
                self._by_subject.setdefault(image.subject, []).append(image)
            if image.tag is not None:
                self._by_tag.setdefault(image.tag, []).append(image)

    def images(self, digests: Iterable[Digest | None]) -> list[ListedImage]:
        """Return the images that have one of these digests; None is ignored."""
        return [image for digest in digests if digest and (image := self._images.get(digest))]

    def to(self, image: ListedImage) -> list[tuple[ListedImage, str | None]]:
        """Return the images that refer to an image or to its manifests, by `subject` or by a cosign tag, in
        the order of the archive or layout at each depth. The tag is returned too.
        """
        attached: dict[Digest, tuple[ListedImage, str | None]] = {}
        subjects = image.contents
        for _ in range(MAX_ATTACHED_DEPTH):
            fresh: dict[Digest, tuple[ListedImage, str | None]] = {}
            for digest in subjects:
                for tag in cosign_tags(digest):
                    fresh |= {other.digest: (other, tag) for other in self._by_tag.get(tag, ())}
                for other in self._by_subject.get(digest, ()):
                    fresh.setdefault(other.digest, (other, None))
            subjects = frozenset(fresh.keys() - attached.keys())
            attached |= {digest: fresh[digest] for digest in sorted(subjects, key=self._order.__getitem__)}
        return list(attached.values())


def why_left_out(image: ListedImage) -> str:
    """Return the reason why an image is left out if an item does not name one."""
    if image.subject is not None:
        return f"attached to {image.subject}, which is left out"
    if image.problem:
        return f"{image.problem}; add it with `digest:` and `as:`"
    if image.tag is not None:
        return f"it has only the tag {image.tag!r}; add it with `digest:` and `as:`"
    return "it has no name; add it with `digest:` and `as:`"


def _on_their_own(listed: Sequence[ListedImage]) -> list[ListedImage]:
    """Return the images that are neither part of another image nor attached to one."""
    tags = {tag for image in listed for digest in image.contents for tag in cosign_tags(digest)}
    within = {digest for image in listed for digest in image.contents - {image.digest}}
    return [
        image
        for image in listed
        if image.names
        or not (image.subject or image.tag in tags or image.digest in within or is_fallback_tag(image.tag))
    ]


def _shown(images: Sequence[ListedImage]) -> str:
    """Return the digests with their names."""
    texts = [
        f"{image.digest} ({', '.join(map(str, image.names)) or image.tag or 'no name'})" for image in images
    ]
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
