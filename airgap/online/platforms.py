"""Chooses the platforms of an image that are carried.

The same rule applies to registries, layouts, archives and engines. An image index is read at all levels, and
each image in it has a platform: that of its entry, else that of its config. The platforms in the manifest are
chosen from those at the source. A missing platform is an error; platforms that are left out are counted.
"""

import contextlib
import os
import platform as machine
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from airgap.bundle.graph import Read, read_checked
from airgap.endpoints.ports import ContentSource, ExportSource
from airgap.errors import AirgapError, FormatError, NotFoundError
from airgap.limits import MAX_INDEX_DEPTH, MAX_INDEX_ENTRIES
from airgap.manifest import LockedImage
from airgap.oci.digest import Digest
from airgap.oci.documents import (
    DOCUMENT_TYPES,
    INDEX_TYPES,
    Descriptor,
    ImageIndex,
    ImageManifest,
    parse_document,
    runnable_config,
)
from airgap.oci.platform import UNKNOWN, Platform
from airgap.values import dataclass

ATTESTED = "vnd.docker.reference.digest"
"""Annotation of an attestation's entry in an index: the image manifest that it is about (BuildKit)."""

DEFAULT_PLATFORM = "DOCKER_DEFAULT_PLATFORM"
"""The environment variable that makes `docker pull` use another platform than the machine's."""

_MACHINES = {
    "armv8l": "arm/v7",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "armv5tel": "arm/v5",
    "x86": "386",
    "loongarch64": "loong64",
}
_ON_32_BITS = {"amd64": "386", "arm64": "arm/v7"}

Has = Callable[[Descriptor], bool]


def default_platform(
    environment: Mapping[str, str] = os.environ, name: str = "", bits: int = 8 * struct.calcsize("P")
) -> Platform:
    """Return the platform that `docker pull` uses here: `DOCKER_DEFAULT_PLATFORM`, else Linux on this
    machine's architecture, on macOS and Windows too. Raises `FormatError` for a bad variable.

    `name` is the kernel's name for the machine. `bits` is the word size of this program: a 32-bit system may
    run on a 64-bit kernel.
    """
    if chosen := environment.get(DEFAULT_PLATFORM):
        return Platform.parse(chosen if "/" in chosen else f"linux/{chosen}", DEFAULT_PLATFORM)
    name = (name or machine.machine()).lower()
    platform = Platform.parse(f"linux/{_MACHINES.get(name, name)}", "this machine")
    if bits == 32 and platform.architecture in _ON_32_BITS:
        return Platform.parse(f"linux/{_ON_32_BITS[platform.architecture]}")
    return platform


def has_of(source: ContentSource, locked: LockedImage) -> Has | None:
    """Return a function that asks a source whether it has a blob; None for a source that has all it lists."""
    if not source.is_sparse:
        return None
    return partial(source.has, locked.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The part of one image that is carried."""

    wanted: tuple[Platform, ...] = ()
    """The platforms in the lock; empty means all."""
    by_default: bool = False
    """True if `wanted` is the default because the manifest names no platforms."""
    keep: frozenset[Digest] | None = None
    """The entries of its indexes that are carried; None: all."""
    left_out: tuple[Platform, ...] = ()
    """Platforms at the source that are not carried."""
    notes: tuple[str, ...] = ()
    """Remarks for people, as sentences without the image's name."""

    def entries(self, index: ImageIndex) -> list[Descriptor]:
        """Return the entries of an index that are carried, in its order."""
        return [entry for entry in index.manifests if self.keep is None or entry.digest in self.keep]


EVERYTHING = Chosen()


@dataclass(frozen=True, slots=True)
class _Leaf:
    """An image manifest in an index, or an entry of it that is not read further."""

    descriptor: Descriptor
    parents: tuple[Digest, ...]
    """The indexes above it, without the top one."""
    platform: Platform | None
    """None if it is not an image (an artifact or an attestation)."""
    is_present: bool

    @property
    def digests(self) -> frozenset[Digest]:
        return frozenset({self.descriptor.digest, *self.parents})


def choose_platforms(locked: LockedImage, root: Descriptor, read: Read, has: Has | None = None) -> Chosen:
    """Choose among the platforms of the image at `root`.

    `read` returns documents and configs, which are checked here; `has` returns whether the source has a blob.
    For a missing platform, raises `NotFoundError`, which names the platforms that are present.
    """
    chosen = Chosen(wanted=locked.platforms, by_default=locked.by_default)
    if root.media_type not in INDEX_TYPES:
        return _choose_single(locked, chosen, root, read)
    if not locked.platforms and has is None:
        return chosen
    where = str(locked.reference)
    acceptable = frozenset(form for wanted in chosen.wanted for form in _best_first(chosen, wanted))
    leaves = list(_Survey(where=where, acceptable=acceptable, read=read, has=has).leaves(root, (), None))
    images = [leaf for leaf in leaves if leaf.platform is not None]
    present = [leaf for leaf in images if leaf.is_present]
    if not leaves or (images and not present):
        raise _nothing_present(where, images)
    picked = _pick(chosen, images, where) if images else []
    about = {str(leaf.descriptor.digest) for leaf in picked}
    whole = not chosen.wanted or not images
    picked += [leaf for leaf in leaves if leaf.is_present and (whole or _goes_along(leaf, about))]
    platforms = _platforms(picked)
    return replace(
        chosen,
        keep=frozenset(digest for leaf in picked for digest in leaf.digests),
        left_out=tuple(p for p in _platforms(present) if p not in platforms),
        notes=tuple(_notes(chosen, platforms, images)),
    )


def choose_held(locked: LockedImage, source: ExportSource) -> Chosen:
    """Choose from the platforms that an engine reports, before it exports anything; `choose_platforms`
    follows with the exported content. Raises `NotFoundError` as `choose_platforms` does.
    """
    chosen = Chosen(wanted=locked.platforms, by_default=locked.by_default)
    held = source.platforms(locked.reference)
    if held is None:
        return chosen
    where = str(locked.reference)
    images = [_Leaf(entry, (), entry.platform or UNKNOWN, is_present=present) for entry, present in held]
    if not any(leaf.is_present for leaf in images):
        raise _nothing_present(where, images)
    platforms = _platforms(_pick(chosen, images, where))
    present = _platforms(leaf for leaf in images if leaf.is_present)
    return replace(
        chosen,
        left_out=tuple(platform for platform in present if platform not in platforms),
        notes=tuple(_notes(chosen, platforms, images)),
    )


def _goes_along(leaf: _Leaf, about: set[str]) -> bool:
    """Return whether an entry that is not an image is carried too: an attestation goes with its image, an
    artifact without a platform with any image.
    """
    if leaf.platform is not None:
        return False
    subject = leaf.descriptor.annotations.get(ATTESTED)
    return leaf.descriptor.platform != UNKNOWN if subject is None else subject in about


def _best_first(chosen: Chosen, wanted: Platform) -> tuple[Platform, ...]:
    return wanted.pulled_as() if chosen.by_default else wanted.met_by()


def _pick(chosen: Chosen, images: list[_Leaf], where: str) -> list[_Leaf]:
    present = [leaf for leaf in images if leaf.is_present]
    if not chosen.wanted:
        return present
    if len(images) == 1 and present[0].platform == UNKNOWN:
        return present
    chosen_platforms: set[Platform] = set()
    missing: list[Platform] = []
    has = {leaf.platform.normal() for leaf in present if leaf.platform}
    for wanted in chosen.wanted:
        best = next((platform for platform in _best_first(chosen, wanted) if platform in has), None)
        if best is None:
            missing.append(wanted)
        else:
            chosen_platforms.add(best)
    if missing:
        raise _missing(chosen, missing, images, where)
    return [leaf for leaf in present if leaf.platform and leaf.platform.normal() in chosen_platforms]


def _missing(chosen: Chosen, missing: list[Platform], images: list[_Leaf], where: str) -> NotFoundError:
    present = _platforms(leaf for leaf in images if leaf.is_present)
    absent = [p for p in _platforms(leaf for leaf in images if not leaf.is_present) if p not in present]
    why = " (the default, as the manifest names no platforms)" if chosen.by_default else ""
    got = _listed(present) + (f"; {_listed(absent)}: in its index, but not at the source" if absent else "")
    met = [wanted for wanted in chosen.wanted if wanted not in missing] or present[:4]
    return NotFoundError(
        "no image for the platform",
        subject=where,
        want=_listed(missing) + why,
        got=got,
        hint=f"`platforms: [{_listed(met)}]` on this image carries {'it' if len(met) == 1 else 'these'}"
        + ("; for another one, pull it at the source first" if absent else ""),
    )


def _nothing_present(where: str, images: list[_Leaf]) -> NotFoundError:
    if not images:
        return NotFoundError("the index has no images", subject=where, got="an empty list of manifests")
    return NotFoundError(
        "the source has no complete platform of the image",
        subject=where,
        got=f"an index of {_listed(_platforms(images))} without the content",
        hint="pull the platform at the source first, or save the image again",
    )


def _notes(chosen: Chosen, picked: list[Platform], images: list[_Leaf]) -> Iterable[str]:
    for wanted in chosen.wanted:
        if wanted not in [platform.normal() for platform in picked]:
            best = next((p for p in _best_first(chosen, wanted) if p in picked), None)
            if best is not None:
                yield f"there is no image for {wanted}; {best}, which usually runs there, is carried"
    if not chosen.wanted:
        absent = [p for p in _platforms(leaf for leaf in images if not leaf.is_present) if p not in picked]
        if absent:
            yield f"{_listed(absent)}: in its index, but not at the source; not carried"
    if UNKNOWN in picked:
        yield "the image does not name its platform"


def _choose_single(locked: LockedImage, chosen: Chosen, root: Descriptor, read: Read) -> Chosen:
    """Check a single image. If its platform is wanted only by default, it is carried for any platform, as
    `docker pull` does.
    """
    where = str(locked.reference)
    if not chosen.wanted:
        return chosen
    platform = _platform_of(root, read, where)
    if platform is None:
        return chosen
    if platform == UNKNOWN:
        return replace(chosen, notes=("the image does not name its platform",))
    met = [wanted for wanted in chosen.wanted if platform.normal() in _best_first(chosen, wanted)]
    if chosen.by_default and not met:
        default = _listed(chosen.wanted)
        note = f"the only image is for {platform} (the default is {default}); it is carried"
        return replace(chosen, notes=(note,))
    missing = [wanted for wanted in chosen.wanted if wanted not in met]
    if missing:
        raise NotFoundError(
            "the image is for another platform",
            subject=where,
            want=_listed(missing),
            got=platform,
            hint=f"`platforms: [{platform}]` on this image carries it",
        )
    if platform.normal() not in chosen.wanted:
        note = f"there is no image for {_listed(met)}; {platform}, which usually runs there, is carried"
        return replace(chosen, notes=(note,))
    return chosen


@dataclass(slots=True, kw_only=True)
class _Survey:
    """Reads an index and its nested indexes, and no more manifests than necessary."""

    where: str
    acceptable: frozenset[Platform]
    """The platforms that could be chosen; empty means all."""
    read: Read
    has: Has | None
    left: int = MAX_INDEX_ENTRIES

    def leaves(
        self, index: Descriptor, parents: tuple[Digest, ...], platform: Platform | None
    ) -> Iterable[_Leaf]:
        """Yield the images. `platform` is that of the entry for `index`, and of its entries without one."""
        document = parse_document(self._read(index), index.media_type, self.where)
        if not isinstance(document, ImageIndex):
            raise FormatError("not an image index", subject=f"{self.where}: {index.digest}")
        for entry in document.manifests:
            self.left -= 1
            if self.left < 0:
                raise FormatError(
                    "too many image manifests", subject=self.where, want=f"at most {MAX_INDEX_ENTRIES:,}"
                )
            yield from self._entry(entry, parents, platform)

    def _entry(
        self, entry: Descriptor, parents: tuple[Digest, ...], outer: Platform | None
    ) -> Iterable[_Leaf]:
        platform = entry.platform or outer
        if entry.media_type not in DOCUMENT_TYPES:
            raise FormatError(
                "not an image manifest", subject=f"{self.where}: {entry.digest}", got=entry.media_type
            )
        if not self._has(entry):
            is_image = platform != UNKNOWN and ATTESTED not in entry.annotations
            yield _Leaf(entry, parents, (platform or UNKNOWN) if is_image else None, is_present=False)
            return
        refused = platform is not None and self.acceptable and platform.normal() not in self.acceptable
        if entry.media_type not in INDEX_TYPES:
            yield self._leaf(entry, parents, platform, is_refused=bool(refused))
        elif refused:
            yield _Leaf(entry, parents, platform, is_present=True)
        elif len(parents) + 1 == MAX_INDEX_DEPTH:
            raise FormatError(
                "image indexes are nested too deeply", subject=self.where, want=f"at most {MAX_INDEX_DEPTH}"
            )
        else:
            yield from self.leaves(entry, (*parents, entry.digest), platform)

    def _leaf(
        self, entry: Descriptor, parents: tuple[Digest, ...], platform: Platform | None, *, is_refused: bool
    ) -> _Leaf:
        if platform == UNKNOWN or ATTESTED in entry.annotations:
            return _Leaf(entry, parents, None, is_present=self._is_whole(entry))
        if is_refused:
            return _Leaf(entry, parents, platform, is_present=self._seems_whole(entry))
        is_present = self._is_whole(entry)
        if platform is None:
            platform = _platform_of(entry, self.read, self.where) if is_present else UNKNOWN
        return _Leaf(entry, parents, platform, is_present=is_present)

    def _read(self, descriptor: Descriptor) -> bytes:
        return read_checked(descriptor, self.read, f"{self.where}: {descriptor.digest}")

    def _has(self, blob: Descriptor) -> bool:
        return self.has is None or self.has(blob)

    def _seems_whole(self, entry: Descriptor) -> bool:
        """Do the same as `_is_whole` for an image that was not requested: its errors are not reported."""
        with contextlib.suppress(AirgapError):
            return self._is_whole(entry)
        return False

    def _is_whole(self, entry: Descriptor) -> bool:
        if self.has is None:
            return True
        manifest = parse_document(self._read(entry), entry.media_type, self.where)
        return isinstance(manifest, ImageManifest) and all(map(self._has, manifest.blobs))


def _platform_of(descriptor: Descriptor, read: Read, where: str) -> Platform | None:
    """Return the platform in the config of an image manifest; None for an artifact."""
    subject = f"{where}: {descriptor.digest}"
    manifest = parse_document(read_checked(descriptor, read, subject), descriptor.media_type, subject)
    if not isinstance(manifest, ImageManifest) or not manifest.is_image:
        return None
    subject = f"{where}: config {manifest.config.digest}"
    config = runnable_config(read_checked(manifest.config, read, subject), subject)
    return None if config is None else config.platform


def _platforms(leaves: Iterable[_Leaf]) -> list[Platform]:
    """Return each platform once, in the order of the index."""
    return list(dict.fromkeys(leaf.platform for leaf in leaves if leaf.platform is not None))


def _listed(platforms: Iterable[Platform]) -> str:
    return ", ".join(map(str, platforms))
