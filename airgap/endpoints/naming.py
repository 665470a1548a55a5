"""Which image in an archive or layout has which name: one rule for everything that is read.

An entry of `index.json` has its name in an annotation. containerd, Docker and BuildKit write the whole
name as `io.containerd.image.name` and the tag alone as `org.opencontainers.image.ref.name`; podman, crane
and skopeo write a whole name or a tag as the latter, whichever they were given.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from airgap.errors import AmbiguousError, FormatError
from airgap.oci.digest import Digest
from airgap.oci.documents import CONTAINERD_NAME, REF_NAME, Descriptor
from airgap.oci.reference import ImageReference

_KEYS = (CONTAINERD_NAME, REF_NAME)
_IDS = ("sha256:", "sha512:")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_SHOWN = 120
_PLACEHOLDER = "i-was-a-digest"
"""The tag that crane writes where it was given none."""

_KIND = re.compile(r"dev\.(?:cosignproject\.cosign|hauler)/(\w+)(?:/.*)?", re.ASCII)
"""The annotation `kind` by which `cosign save` and Hauler tell an image from what belongs to it. cosign gives
no names, and Hauler gives all of them the name of the image.
"""
_IMAGES = frozenset({"image", "imageIndex"})
_EXTRAS = {"sigs": "sig", "atts": "att", "sboms": "sbom", "referrers": None}


class Named(Protocol):
    """An image with what it is called."""

    @property
    def names(self) -> tuple[ImageReference, ...]:
        """Whole names."""

    @property
    def tag(self) -> str | None:
        """What it is called where it has no whole name."""

    @property
    def ids(self) -> frozenset[Digest]:
        """Digests that mean this image."""


N = TypeVar("N", bound=Named)


@dataclass(frozen=True, slots=True)
class Naming:
    """What the annotations of an entry say about its name."""

    names: tuple[ImageReference, ...] = ()
    tag: str | None = None
    problem: str = ""
    """Why a name that is written there cannot be used; that hides the entry's name, and nothing else."""


def namings(entries: Sequence[Descriptor], where: str) -> list[Naming]:
    """What each entry of an index is called. Raises `AmbiguousError` for an entry with two whole names.

    What `cosign save` and Hauler put beside an image has the tag that it has in a registry, and no name.
    """
    found = [_naming(entry.annotations, entry.digest, where) for entry in entries]
    kinds = [_kind(entry.annotations) for entry in entries]
    owners: dict[tuple[ImageReference, ...], set[Digest]] = {}
    for entry, own, kind in zip(entries, found, kinds, strict=True):
        if kind in _IMAGES:
            owners.setdefault(own.names, set()).add(entry.digest)
    return [
        Naming(tag=_extra_tag(owners.get(own.names, set()), kind)) if kind in _EXTRAS else own
        for own, kind in zip(found, kinds, strict=True)
    ]


def _kind(annotations: Mapping[str, str]) -> str:
    match = _KIND.fullmatch(annotations.get("kind", ""))
    return match[1] if match else ""


def _extra_tag(owners: set[Digest], kind: str) -> str | None:
    """The tag at which cosign keeps something of this kind for the one image that owns it."""
    suffix = _EXTRAS[kind]
    if suffix is None or len(owners) != 1:
        return None
    [digest] = owners
    return f"{digest.algorithm}-{digest.hex}.{suffix}"


def _naming(annotations: Mapping[str, str], digest: Digest, where: str) -> Naming:
    """The name of an entry with this digest."""
    texts = [text for key in _KEYS if is_whole(text := annotations.get(key, ""))]
    names, problem = usable(texts, digest)
    if not texts and (named := annotations.get(CONTAINERD_NAME)):
        problem = f"not a whole name: {named[:_SHOWN]!r}"
    if len({name.normal for name in names}) > 1:
        raise AmbiguousError(
            "an image has two names", subject=f"{where} {digest}", got=" and ".join(map(repr, texts))
        )
    if names:
        return Naming(names[:1])
    tag = annotations.get(REF_NAME, "").partition("@")[0]
    return Naming((), tag if _TAG.fullmatch(tag) else None, problem)


def usable(texts: Iterable[str], *digests: Digest) -> tuple[tuple[ImageReference, ...], str]:
    """The names that can be used, and what is wrong with the first that cannot.

    A name with a digest must have one of `digests`: otherwise it would call one image by another's digest.
    """
    names: dict[ImageReference, None] = {}
    problem = ""
    for text in texts:
        try:
            name = ImageReference.parse(text)
        except FormatError as error:
            problem = problem or f"unusable name {text[:_SHOWN]!r}: {error.what}"
            continue
        if name.digest is not None and name.digest not in digests:
            problem = problem or f"unusable name {text[:_SHOWN]!r}: it has the digest of another image"
        elif text.startswith(_IDS) or name.tag == _PLACEHOLDER or name.is_passing:
            problem = problem or f"not a name of its own: {text[:_SHOWN]!r}"
        else:
            names[name] = None
    return tuple(names), problem


def is_whole(text: str) -> bool:
    """Whether `text` is meant as a whole name. A bare tag (`1.27`, `1.27@sha256:…`) and a bare digest, as the
    kubelet's containerd has it, would read as the short name of an image.
    """
    name, _, _ = text.partition("@")
    return any(mark in name for mark in "/:") and not name.startswith(_IDS)


def by_digest(images: Iterable[N], digest: Digest | None) -> list[N]:
    """The images that this digest means."""
    return [image for image in images if digest in image.ids]


def by_name(images: Iterable[N], reference: ImageReference) -> list[N]:
    """The images with the whole name of `reference`, whose digest does not count."""
    if reference.tag is None:
        return []
    wanted = reference.normal
    return [image for image in images if any(name.normal == wanted for name in image.names)]


def by_tag(images: Iterable[N], reference: ImageReference) -> list[N]:
    """The image that is called just like the tag of `reference`, if it is the only one."""
    found = [image for image in images if image.tag is not None and image.tag == reference.tag]
    return found if len(found) == 1 else []


def matching(images: Iterable[N], reference: ImageReference) -> list[N]:
    """The images that `reference` means: its digest goes before its name, and that before its tag alone."""
    images = list(images)
    if reference.digest is not None:
        return by_digest(images, reference.digest)
    return by_name(images, reference) or by_tag(images, reference)


def without_names(descriptor: Descriptor) -> dict[str, str]:
    """The annotations of an entry, less its name."""
    return {key: text for key, text in descriptor.annotations.items() if key not in _KEYS}


def with_name(name: ImageReference) -> dict[str, str]:
    """The annotations that give an entry this name, for every reader."""
    return dict.fromkeys(_KEYS, str(name))
