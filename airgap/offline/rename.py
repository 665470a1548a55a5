"""Rename the images of a load with `--map FROM=TO`; the signed names are unchanged."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Self

from airgap.carry.verify_small_files import VerifiedImage
from airgap.errors import FormatError, UsageError
from airgap.oci.reference import PASSING_NAME, ImageReference, normal_host
from airgap.values import dataclass

_WANT = "FROM=TO, each HOST[:PORT][/PATH] without a tag, as in docker.io/library=harbor.example/mirror"


@dataclass(frozen=True, slots=True)
class Renaming:
    """Moves names below `before` to below `after`. Whole path components are compared, so `ghcr.io/acme` is
    not a prefix of `ghcr.io/acme2`.
    """

    before: str
    after: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `FROM=TO`. Raises `UsageError`."""
        before, _, after = text.partition("=")
        for prefix in (before, after):
            if not _is_prefix(prefix):
                raise UsageError("not a valid --map", subject=text, want=_WANT, got=repr(prefix))
        return cls(before, after)

    @property
    def prefix(self) -> str:
        """`before`, with its host in the normal form."""
        host, slash, path = self.before.partition("/")
        return f"{normal_host(host)}{slash}{path}"

    def applies_to(self, name: ImageReference) -> bool:
        return f"{name.normal.name}/".startswith(f"{self.prefix}/")

    def apply(self, name: ImageReference) -> ImageReference:
        """Return the new name with the same tag and digest. Raises `UsageError` if it is not valid."""
        _, slash, path = self.before.partition("/")
        text = f"{self.after}{str(name)[len(name.registry) + len(slash + path) :]}"
        refusal = UsageError("the name from --map is not an image name", subject=f"{self}: {name}", got=text)
        try:
            new_name = ImageReference.parse(text)
        except FormatError as error:
            raise refusal from error
        if new_name.registry != self.after.partition("/")[0]:  # it was parsed as a Docker Hub repository
            raise refusal
        return new_name

    def __str__(self) -> str:
        return f"{self.before}={self.after}"


def parse_renamings(texts: Iterable[str]) -> tuple[Renaming, ...]:
    """Parse the renamings of a command line. Raises `UsageError`, including for two of the same prefix."""
    renamings: dict[str, Renaming] = {}
    for text in texts:
        renaming = Renaming.parse(text)
        if renaming.prefix in renamings:
            raise UsageError("two --map options have the same prefix", subject=renaming.before)
        renamings[renaming.prefix] = renaming
    return tuple(renamings.values())


def renamed(
    images: Sequence[VerifiedImage], renamings: Sequence[Renaming], note: Callable[[str], object]
) -> tuple[VerifiedImage, ...]:
    """Return the images with their new names. Of several matching renamings, the one with the longest prefix
    is used.

    Raises `UsageError` if two images would have the same name, in any spelling, and for a name that airgap
    uses temporarily. A renaming that matches no image is reported to `note`.
    """
    for renaming in renamings:
        if not any(renaming.applies_to(image.record.name) for image in images):
            note(f"--map {renaming}: no image of this bundle has such a name")
    moved = tuple(_rename(image, renamings) for image in images)
    owners: dict[ImageReference, VerifiedImage] = {}
    for image in moved:
        if image.name.is_passing:
            raise UsageError(PASSING_NAME, subject=image.name, got=f"--map of {image.record.name}")
        other = owners.setdefault(image.name.normal, image)
        if other is not image:
            raise UsageError(
                "two images would have the same name",
                subject=image.name,
                got=f"{other.record.name} and {image.record.name}",
                hint="give them different names with --map; nothing was changed",
            )
    return moved


def new_name(name: ImageReference, renamings: Sequence[Renaming]) -> ImageReference:
    """Return the name after the matching renaming with the longest prefix; `name` itself if none matches.

    Raises `UsageError` if the new name is not valid.
    """
    fitting = [renaming for renaming in renamings if renaming.applies_to(name)]
    return max(fitting, key=lambda renaming: len(renaming.prefix)).apply(name) if fitting else name


def _rename(image: VerifiedImage, renamings: Sequence[Renaming]) -> VerifiedImage:
    if not any(renaming.applies_to(image.record.name) for renaming in renamings):
        return image
    return replace(image, renamed=new_name(image.record.name, renamings))


def _is_prefix(text: str) -> bool:
    """Return whether `text` is a registry host, optionally with the beginning of a repository name."""
    try:
        name = ImageReference.parse(f"{text}/x")
    except FormatError:
        return False
    return name.tag == "latest" and text.partition("/")[0] == name.registry
