"""What all loaders share: the parameters of a load, its result, and the `Loader` protocol."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, assert_never

from airgap.audit.receipt import Verdict
from airgap.bundle.statement import ImageKind, Statement
from airgap.carry.verify import VerifiedBundle
from airgap.carry.verify_small_files import VerifiedImage
from airgap.errors import AirgapError, EndpointError
from airgap.oci.digest import Advance, Digest
from airgap.oci.documents import Descriptor
from airgap.offline.holdings import Holdings
from airgap.offline.rename import Renaming
from airgap.progress import Progress
from airgap.values import dataclass

LOADED, PLACED, THERE = Verdict.LOADED, Verdict.PLACED, Verdict.THERE
SKIPPED, FAILED = Verdict.SKIPPED, Verdict.FAILED

ARTIFACT = "an artifact; engines take images only"
"""The reason why an engine's load skips a signature, an SBOM or a chart."""
FILES = "files; --files-to DIR writes them into a folder"
"""The reason why an engine's load skips files."""


@dataclass(slots=True)
class LoadedImage:
    """The result for one image."""

    image: VerifiedImage
    verdict: Verdict
    _: KW_ONLY
    before: Digest | None = None
    """The digest that its name had at the target before the load."""
    after: Digest | None = None
    """The digest that its name has now."""
    error: AirgapError | None = None
    reason: str | None = None
    """Why it was skipped, or how it differs at the target from the signed image."""

    @property
    def moved(self) -> bool:
        """Whether its name meant another image at the target before, and means this one now."""
        return self.verdict in (LOADED, PLACED) and self.before not in (None, self.after)


class ConflictRule(StrEnum):
    """What to do with a name that refers to another image at the target."""

    REPLACE = "replace"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Loading:
    """The parameters of a load."""

    bundle: VerifiedBundle
    progress: Progress
    _: KW_ONLY
    on_conflict: ConflictRule = ConflictRule.REPLACE
    files_conflict: ConflictRule = ConflictRule.REFUSE
    """What to do with a file that differs, in a folder for files."""
    jobs: int = 4
    before_names_move: Callable[[], None] = field(default=lambda: None)
    """Called once, after the target was examined and before anything changes there."""
    check_names: Callable[[Sequence[VerifiedImage]], None] = field(default=lambda _: None)
    """Raises `PolicyError` if the sender may not set a name; called with the final names."""
    holdings: Holdings = field(default_factory=lambda: Holdings(Path()))
    """The images that were loaded into the target before."""
    renamings: tuple[Renaming, ...] = ()
    """Renamings of the signed names, from `--map`."""
    allow_urls: bool = False
    """Load images with foreign layers even if tools at the target connect to the addresses in them."""

    all_or_nothing: bool = False
    """Move no name before every image is at the target."""
    only_for: tuple[Statement, ...] = ()
    """Newer bundles that need content of this older one, newest first: only that is loaded, and no tag is
    moved."""
    asked: frozenset[Digest] | None = None
    """Blobs to look for at the target, in place of those that the bundle leaves out."""

    required: frozenset[Digest] = field(init=False)
    """Blobs that the bundle leaves out because the target has them, and that are in none of its bases."""

    def __post_init__(self) -> None:
        left_out = self.asked
        if left_out is None:
            left_out = frozenset(item.digest for item in self.bundle.left_out)
        object.__setattr__(self, "required", left_out)


class Loader(Protocol):
    """A strategy of loading into one kind of target."""

    def look(self, image: VerifiedImage) -> LoadedImage:
        """Return what the target has under the image's name, without changing anything."""

    def missing(self, image: VerifiedImage) -> list[Descriptor]:
        """Return the blobs that the bundle leaves out and the target is not proved to have."""

    def total(self, todo: Sequence[LoadedImage]) -> int:
        """Return about how many bytes `load_all` will report for `todo`."""

    def load_all(self, todo: Sequence[LoadedImage], advance: Advance) -> None:
        """Load each of `todo`, set its result, and add it to the holdings if that saves later loads work. If
        an image fails, its name stays as it was.
        """

    def now(self, result: LoadedImage, wanted: Digest) -> Digest | None:
        """Look up all names of an image again; return their digest, which should be `wanted`."""


class TogetherLoader(Loader, Protocol):
    """A loader that can bring the content of all images before it moves a name."""

    def load_content(self, todo: Sequence[LoadedImage], advance: Advance) -> Sequence[LoadedImage]:
        """Bring the content of all images and check it, without moving a name; return them in the order in
        which they get their names. If an image fails, its verdict says so.
        """

    def all_names(self) -> AbstractContextManager[None]:
        """Return a context at whose end a target that can change all names in one step does so. Raises
        `AirgapError` there.
        """

    def give_name(self, result: LoadedImage) -> Digest:
        """Give an image its names, and return their digest. Raises `AirgapError`."""

    def take_back(self, result: LoadedImage) -> None:
        """Give the names of an image back to the image that had them before; a failure is only noted."""

    def drop_temporary(self, todo: Sequence[LoadedImage]) -> None:
        """Remove the temporary names of images."""


def confirm_digest(current: Digest | None, wanted: Digest, image: VerifiedImage) -> Digest:
    """Return `wanted` if it is what the target has. Raises `EndpointError` if not."""
    if current != wanted:
        raise EndpointError(
            "the target does not have the image under its name", subject=image.name, want=wanted, got=current
        )
    return wanted


def not_for_engines(image: VerifiedImage) -> LoadedImage | None:
    """Return the result for an artifact or files, which engines cannot run; None for an image."""
    match image.record.kind:
        case ImageKind.IMAGE:
            return None
        case ImageKind.ARTIFACT:
            return LoadedImage(image, SKIPPED, reason=ARTIFACT)
        case ImageKind.FILES:
            return LoadedImage(image, SKIPPED, reason=FILES)
        case _:
            assert_never(image.record.kind)
