"""What all ways of loading share: the order, the result, and how one looks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from airgap.audit.receipt import Verdict
from airgap.carry.verify import VerifiedBundle
from airgap.carry.verify_small_files import VerifiedImage
from airgap.errors import AirgapError, EndpointError
from airgap.oci.digest import Advance, Digest
from airgap.oci.documents import Descriptor
from airgap.offline.holdings import Holdings
from airgap.offline.rename import Renaming
from airgap.progress import Progress

LOADED, PLACED, THERE = Verdict.LOADED, Verdict.PLACED, Verdict.THERE
SKIPPED, FAILED = Verdict.SKIPPED, Verdict.FAILED

ARTIFACT = "an artifact; engines take images only"
"""Why an engine's load skips a signature, an SBOM, a chart."""


@dataclass(slots=True)
class LoadedImage:
    """What became of one image."""

    image: VerifiedImage
    verdict: Verdict
    before: Digest | None = None
    """What its name meant at the target before."""
    after: Digest | None = None
    """What it means now."""
    error: AirgapError | None = None
    reason: str | None = None
    """Why it was skipped, or in what it differs at the target from what was signed."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How to load: `on_conflict` is `replace` or `refuse` a name that means something else there."""

    bundle: VerifiedBundle
    progress: Progress
    on_conflict: str = "replace"
    jobs: int = 4
    before_names_move: Callable[[], None] = field(default=lambda: None)
    """Called once, after the target was looked at and before anything there changes."""
    holdings: Holdings = field(default_factory=lambda: Holdings(Path()))
    """What was loaded there before."""
    renamings: tuple[Renaming, ...] = ()
    """Other names than the signed ones."""
    allow_urls: bool = False
    """Load images with foreign layers also where tools ask the addresses in them."""

    @property
    def required(self) -> frozenset[Digest]:
        """Blobs that the bundle leaves out, for the target has them."""
        return frozenset(item.digest for item in self.bundle.statement.requires)


class Loader(Protocol):
    """One way of loading."""

    def look(self, image: VerifiedImage) -> LoadedImage:
        """What the target has under the image's name; changes nothing."""

    def missing(self, image: VerifiedImage) -> list[Descriptor]:
        """The blobs of the image that the bundle leaves out and the target is not proved to have."""

    def total(self, todo: Sequence[LoadedImage]) -> int:
        """About how many bytes `load` will report for all of `todo`."""

    def load_all(self, todo: Sequence[LoadedImage], advance: Advance) -> None:
        """Load each of `todo`, set its result, and remember it in the holdings where that can spare
        later loads work. An image whose load fails has its old name.
        """

    def now(self, result: LoadedImage, wanted: Digest) -> Digest | None:
        """What the target says, asked again, that all names of an image mean, which should be `wanted`."""


def confirmed(found: Digest | None, wanted: Digest, image: VerifiedImage) -> Digest:
    """What the target says it has now, when that is what was sent."""
    if found != wanted:
        raise EndpointError("the target has something else now", subject=image.name, want=wanted, got=found)
    return wanted


def not_for_engines(image: VerifiedImage) -> LoadedImage | None:
    """The result for an artifact, which no engine could run; None for an image."""
    return LoadedImage(image, SKIPPED, reason=ARTIFACT) if image.record.kind == "artifact" else None
