"""Other names for the images of a load, as `--map FROM=TO` gives them; what was signed stays as it is."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from airgap.carry.verify_small_files import VerifiedImage
from airgap.errors import FormatError, UsageError
from airgap.oci.reference import PASSING_NAME, ImageReference, normal_host

_WANT = "FROM=TO, each HOST[:PORT][/PATH] without a tag, as in docker.io/library=harbor.example/mirror"


@dataclass(frozen=True, slots=True)
class Renaming:
    """Names below `before` lie below `after`: whole components of the path count, so that `ghcr.io/acme`
    is not the beginning of `ghcr.io/acme2`.
    """

    before: str
    after: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `FROM=TO`; raises `UsageError`."""
        before, _, after = text.partition("=")
        for prefix in (before, after):
            if not _is_prefix(prefix):
                raise UsageError("not a --map", subject=text, want=_WANT, got=repr(prefix))
        return cls(before, after)

    @property
    def prefix(self) -> str:
        """`before`, with its host in the normal form."""
        host, slash, path = self.before.partition("/")
        return f"{normal_host(host)}{slash}{path}"

    def applies_to(self, name: ImageReference) -> bool:
        return f"{name.normal.name}/".startswith(f"{self.prefix}/")

    def apply(self, name: ImageReference) -> ImageReference:
        """The new name; tag and digest stay. Raises `UsageError` when it would be none."""
        _, slash, path = self.before.partition("/")
        text = f"{self.after}{str(name)[len(name.registry) + len(slash + path) :]}"
        refusal = UsageError("--map makes no image name", subject=f"{self}: {name}", got=text)
        try:
            found = ImageReference.parse(text)
        except FormatError as error:
            raise refusal from error
        if found.registry != self.after.partition("/")[0]:  # it has become a repository of Docker Hub
            raise refusal
        return found

    def __str__(self) -> str:
        return f"{self.before}={self.after}"


def parse_renamings(texts: Iterable[str]) -> tuple[Renaming, ...]:
    """Those of a command line; raises `UsageError`, also when one prefix is to become two."""
    found: dict[str, Renaming] = {}
    for text in texts:
        renaming = Renaming.parse(text)
        if renaming.prefix in found:
            raise UsageError("--map twice for one prefix", subject=renaming.before)
        found[renaming.prefix] = renaming
    return tuple(found.values())


def renamed(
    images: Sequence[VerifiedImage], renamings: Sequence[Renaming], note: Callable[[str], object]
) -> tuple[VerifiedImage, ...]:
    """The images under their names here: of several renamings that fit, the longest counts.

    Raises `UsageError` when two would have one name, in whatever spelling, and for a passing name. `note`
    hears of a renaming that fits none.
    """
    for renaming in renamings:
        if not any(renaming.applies_to(image.record.name) for image in images):
            note(f"--map {renaming}: no image of this bundle has such a name")
    found = tuple(_rename(image, renamings) for image in images)
    owners: dict[ImageReference, VerifiedImage] = {}
    for image in found:
        if image.name.is_passing:
            raise UsageError(PASSING_NAME, subject=image.name, got=f"--map of {image.record.name}")
        other = owners.setdefault(image.name.normal, image)
        if other is not image:
            raise UsageError(
                "two images would have one name",
                subject=image.name,
                got=f"{other.record.name} and {image.record.name}",
                hint="give them different ones with --map; nothing was changed",
            )
    return found


def _rename(image: VerifiedImage, renamings: Sequence[Renaming]) -> VerifiedImage:
    name = image.record.name
    fitting = [renaming for renaming in renamings if renaming.applies_to(name)]
    if not fitting:
        return image
    return replace(image, renamed=max(fitting, key=lambda each: len(each.prefix)).apply(name))


def _is_prefix(text: str) -> bool:
    """Whether `text` is a registry's host, alone or with the beginning of a repository's name."""
    try:
        name = ImageReference.parse(f"{text}/x")
    except FormatError:
        return False
    return name.tag == "latest" and text.partition("/")[0] == name.registry
