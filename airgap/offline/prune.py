"""Removes the names that earlier bundles of a stream brought to a target and the newest one does not list.

Only this site's own receipts prove what airgap brought (FORMAT.md §10, `pruned`). A name is left as it is if

- it was in use before the stream brought it, or the stream never brought it ("already there");
- it refers to another image now than the one that was loaded;
- another stream has it in its newest bundle at this target;
- a container uses the image, or the target does not remove names.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import field
from typing import assert_never

from airgap.audit.ledger import Attempt
from airgap.audit.receipt import PRESENT, PrunedName, Receipt, Verdict
from airgap.bundle.contents import INDEX_FILE, read_index
from airgap.carry.recalled import own_receipts
from airgap.carry.rollback import is_older
from airgap.carry.verify import VerifiedBundle
from airgap.endpoints.ports import (
    ContentTarget,
    EngineTarget,
    FilesTarget,
    FileTarget,
    FolderTarget,
    Target,
)
from airgap.errors import AirgapError, EndpointError, LoginError, MediaError, UnavailableError
from airgap.limits import MAX_INDEX_BYTES
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.offline.loader import FAILED, LoadedImage
from airgap.offline.rename import Renaming, renamed
from airgap.site import Site
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class BroughtName:
    """A name that the stream brought to the target."""

    reference: ImageReference
    digest: Digest
    """What the name referred to after it was loaded."""
    title: str
    """The bundle that brought it."""


@dataclass(frozen=True, slots=True)
class KeptName:
    """A name that an earlier bundle had and that is left as it is."""

    reference: ImageReference
    reason: str


@dataclass(slots=True)
class Pruning:
    """The names that a load removes, and those that it leaves."""

    target: Target
    remove: tuple[BroughtName, ...] = ()
    """The names to remove."""
    kept: list[KeptName] = field(default_factory=list)
    pruned: list[BroughtName] = field(default_factory=list)
    """The names that were removed."""

    def keep(self, name: BroughtName, reason: str) -> None:
        """Record that a name is left as it is."""
        self.kept.append(KeptName(name.reference, reason))

    def run(self, results: Sequence[LoadedImage], attempt: Attempt) -> tuple[PrunedName, ...]:
        """Remove the names, unless an image has failed; return what was removed, for the receipt."""
        for name in self.remove:
            if any(result.verdict == FAILED for result in results):
                self.keep(name, "some images failed")
            elif (reason := self._remove(name)) is None:
                self.pruned.append(name)
            else:
                self.keep(name, reason)
        if self.pruned:
            attempt.add(pruned=[str(name.reference) for name in self.pruned])
        if self.kept:
            attempt.add(not_pruned=[{"reference": str(k.reference), "reason": k.reason} for k in self.kept])
        return tuple(PrunedName(str(name.reference), str(name.digest)) for name in self.pruned)

    def _remove(self, name: BroughtName) -> str | None:
        """Remove a name that still refers to what was loaded. Return why it was not removed, or None."""
        try:
            if (now := digest_now(self.target, name.reference)) != name.digest:
                return _describe_change(now)
            self.target.remove_name(name.reference, name.digest)
            now = digest_now(self.target, name.reference)
        except (EndpointError, MediaError) as error:
            return f"{error.what}: {error.got}" if error.got else error.what
        return None if now is None else f"the target still has it: {now}"


Confirm = Callable[[Pruning], None]
"""Shows a person what a load removes. Raises `UsageError` or `KeyboardInterrupt` if it is not confirmed."""


def plan_pruning(
    confirm: Confirm | None,
    target: Target,
    bundle: VerifiedBundle,
    site: Site,
    renamings: Sequence[Renaming],
) -> Pruning:
    """Return what a load of `bundle` removes, after a person has confirmed it. Nothing is removed without
    `confirm`, or if the bundle is older than the newest accepted one.

    Raises an `AirgapError` if a receipt of this site cannot be read or is not signed by it: other streams
    might need what it lists.
    """
    if confirm is None or is_older(bundle.statement, bundle.mark):
        return Pruning(target)
    listed = {image.name for image in renamed(bundle.images, renamings, lambda _: None)}
    receipts = [r for r in own_receipts(site, strict=True) if _is_at(r, target)]
    signers = {key for root in site.root_versions().values() for key in root.roles["release"].keyids}
    pruning = choose_names(target, bundle.statement.stream, listed, receipts, signers)
    if pruning.remove:
        confirm(pruning)
    return pruning


def choose_names(
    target: Target,
    stream: str,
    listed: Iterable[ImageReference],
    receipts: Sequence[Receipt],
    signers: Iterable[str],
) -> Pruning:
    """Return the names to remove.

    Args:
        target: The target; it is asked what the names refer to now.
        stream: The name of the bundle's stream.
        listed: The names that the bundle's images have at the target.
        receipts: This site's receipts of loads into the target, in any order.
        signers: The keys that may sign the stream's bundles, now or earlier.
    """
    known = set(signers)
    receipts = sorted(receipts, key=lambda receipt: receipt.time)
    own = [r for r in receipts if r.bundle_stream == stream and known.intersection(r.keyids)]
    wanted = {target.kept_name(name) for name in listed}
    others = _names_of_others(target, [receipt for receipt in receipts if receipt not in own])
    pruning = Pruning(target)
    remove = []
    for name in _brought(target, own):
        place = target.kept_name(name.reference)
        if place in wanted:
            continue
        if place in others:
            pruning.keep(name, f"{others[place]} has it too")
        elif _is_unchanged(pruning, name):
            remove.append(name)
    pruning.remove = tuple(remove)
    return pruning


def _is_unchanged(pruning: Pruning, name: BroughtName) -> bool:
    """Return whether a name still refers to what was loaded. Record that it is kept if it refers to something
    else.
    """
    try:
        now = digest_now(pruning.target, name.reference)
    except (LoginError, UnavailableError):
        raise
    except EndpointError as error:  # about this name only: some registries refuse a name that is gone
        pruning.keep(name, str(error))
        return False
    if now not in (None, name.digest):
        pruning.keep(name, _describe_change(now))
    return now == name.digest


def digest_now(target: Target, reference: ImageReference) -> Digest | None:
    """Return what a name refers to at the target now, in the form of a receipt; None if it is not there."""
    match target:
        case ContentTarget() | EngineTarget():
            return target.find(reference)
        case FolderTarget():
            return _digest_in_archive(target, reference)
        case FileTarget() | FilesTarget():
            return None  # it has no names of images, or is written again as a whole
        case _:
            assert_never(target)


def _digest_in_archive(target: FolderTarget, reference: ImageReference) -> Digest | None:
    try:
        with target.open_archive(reference) as files:
            entry = read_index(files.read(INDEX_FILE, MAX_INDEX_BYTES)).get(reference)
    except AirgapError:
        return None
    return None if entry is None else entry.digest


def _brought(target: Target, receipts: Iterable[Receipt]) -> list[BroughtName]:
    """Return the names that the stream brought, each with what it referred to after its last load.

    A name that referred to something else before is left out: the stream did not bring it, or somebody has
    moved it.

    Args:
        target: The target.
        receipts: The receipts of loads of the stream into the target, the oldest first.
    """
    brought: dict[Hashable, BroughtName] = {}
    for receipt in receipts:
        for pruned in receipt.pruned:
            brought.pop(target.kept_name(ImageReference.parse(pruned.reference)), None)
        for image in receipt.images:
            if image.verdict not in (Verdict.LOADED, Verdict.PLACED) or image.target_digest is None:
                continue
            reference = ImageReference.parse(image.reference)
            place = target.kept_name(reference)
            earlier = brought.pop(place, None)
            if image.before is None or (earlier is not None and str(earlier.digest) == image.before):
                digest = Digest.parse(image.target_digest)
                brought[place] = BroughtName(reference, digest, receipt.title)
    return list(brought.values())


def _names_of_others(target: Target, receipts: Iterable[Receipt]) -> dict[Hashable, str]:
    """Return the names in the newest bundle of each other stream, and in those that it stepped back to, with
    the bundle's title.
    """
    newest: dict[str, tuple[int, int]] = {}
    for receipt in receipts:
        place = receipt.epoch, receipt.serial
        newest[receipt.bundle_stream] = max(newest.get(receipt.bundle_stream, place), place)
    return {
        target.kept_name(ImageReference.parse(image.reference)): receipt.title
        for receipt in receipts
        if (receipt.epoch, receipt.serial) == newest[receipt.bundle_stream] or receipt.step_back
        for image in receipt.images
        if image.verdict in PRESENT
    }


def _is_at(receipt: Receipt, target: Target) -> bool:
    """Return whether a receipt is of a load into this target; an engine must have the same address too."""
    here, there = target.describe_engine(), receipt.target_engine
    return receipt.target == target.name and _machine(here) == _machine(there)


def _machine(engine: str) -> str:
    """Return a description of an engine without its product and version, which an update changes."""
    return engine.partition(" on ")[2] or engine.partition(", ")[2]


def _describe_change(digest: Digest | None) -> str:
    return "it is gone" if digest is None else f"it refers to another image now: {digest}"
