"""Copy a bundle from its media: `receive` joins its volumes, `repack` cuts it into new ones, and `repair`
repairs a damaged copy.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from airgap.audit.ledger import Attempt
from airgap.bundle.check_written import OnMedia, ReadBackResult
from airgap.bundle.statement import Statement
from airgap.bundle.volume_table import VolumeSize
from airgap.bundle.volumes import BundleLocation, VolumeSet, open_bundle, paths_of
from airgap.carry.accepted_bundles import AcceptedBundles, needs
from airgap.carry.choose_sender import operator_for
from airgap.carry.copy import (
    Copied,
    Copy,
    begin_copy,
    copy_bundle,
    cut_folders,
    damaged_folders,
    joined_folders,
)
from airgap.carry.given import Given
from airgap.carry.operator import Operator
from airgap.carry.receiver import OlderRule, Receiver
from airgap.carry.verify import CheckedBundle, check
from airgap.carry.verify_recorded import bundle_attempt, bundle_details, keeper, verify_here
from airgap.values import dataclass

_NEXT = "run the same command again with the next volume"


@dataclass(frozen=True, slots=True)
class Received:
    """A complete copy."""

    bundle: CheckedBundle
    paths: tuple[Path, ...]
    written: int
    """The number of blobs that were written; the others were already present and correct."""
    proof: OnMedia


def receive(
    location: BundleLocation, into: Path, operator: Operator, newer: Sequence[Given] = ()
) -> Received:
    """Join a bundle in `into`, as one folder, from all its volumes at once or one after the other.

    The bundle is verified for this site first. Content from an earlier call is checked and kept.

    Args:
        location: The bundle, or the volumes that are inserted.
        into: The folder in which the bundle's own folder is made.
        operator: The person who is asked for the other volumes.
        newer: Newer bundles that are received too. A bundle that was accepted before is taken, although it
            is older than the last accepted one, if one of these or an accepted one needs its content.

    Raises:
        IncompleteError: Volumes are missing, and there is no person to ask; it names the next volume.
        UsageError: The copy would be written over the bundle itself, or another bundle is in the way.
    """
    work: Copy | None = None
    operator = operator_for(location, operator)
    with bundle_attempt(location, operator.site, "receive", into=str(into)) as attempt, ExitStack() as held:
        while True:
            with open_bundle(location, alone=True) as folder:
                who = _receiver(operator, newer)
                bundle = verify_here(folder, operator.site, operator.now, who)
                attempt.add(**bundle_details(bundle))
                folders = joined_folders(bundle, location, into, operator)
                work = work or held.enter_context(begin_copy(bundle, folders, operator))
                copied = work.take(bundle)
            if not isinstance(folder, VolumeSet) or not copied.wants:
                return _received(bundle, copied, attempt)
            location = operator.next_volume(
                location, folder, bundle.statement.title, copied.wants, _note_taken(folder, copied, operator)
            )


def _receiver(operator: Operator, newer: Sequence[Given]) -> Receiver:
    """Return the receiver that takes an older bundle if it was accepted before, and a newer one needs it."""
    site = operator.site
    who = keeper(site, operator.now, accept_jump=operator.accept_jump, older=OlderRule.CONTENT)
    memory = AcceptedBundles(site)

    def needed(statement: Statement) -> bool:
        beside = [other.statement for other in newer if other.site.sender == site.sender]
        return any(needs(other, statement) for other in beside) or bool(memory.needing(statement))

    return replace(who, needed=needed)


def _note_taken(volumes: VolumeSet, copied: Copied, operator: Operator) -> str:
    """Report which volumes were copied and which is next; return the hint for when there is nobody to ask."""
    for number in sorted(volumes.folders):
        partly = "copied in part; it is needed again after the volume with the beginning of its layer"
        state = partly if number in copied.again else "copied"
        operator.progress.note(f"volume {number} of {volumes.table.cut.of}: {state}")
    operator.progress.note(f"next: volume {copied.wants[0]}")
    if not copied.again:
        return f"the copied content is kept: {_NEXT}"
    again = ", ".join(map(str, copied.again))
    return f"the copied content is kept: {_NEXT}; after that, volume {again} is needed again"


def repack(
    location: BundleLocation, to: Sequence[Path], size: VolumeSize | None, operator: Operator
) -> Received:
    """Write the bundle in `to`, whole or cut into volumes, with the same statement and signatures."""
    with _checked(location, operator, "media-write", to=", ".join(map(str, to))) as (bundle, attempt):
        folders = cut_folders(bundle, location, to, size, operator)
        copied = copy_bundle(bundle, folders, operator)
        return _received(bundle, copied, attempt)


def repair(location: BundleLocation, source: BundleLocation, operator: Operator) -> Received:
    """Repair the copy of a bundle at `location` from another copy, `source`; only wrong files are written."""
    damaged = ", ".join(map(str, paths_of(location)))
    with _checked(source, operator, "media-write", repairs=damaged) as (bundle, attempt):
        folders = damaged_folders(paths_of(location), bundle, source)
        copied = copy_bundle(bundle, folders, operator)
        return _received(bundle, copied, attempt)


@contextmanager
def _checked(
    location: BundleLocation, operator: Operator, event: str, **details: object
) -> Iterator[tuple[CheckedBundle, Attempt]]:
    """Yield a bundle that passed every step except 7 (it may be for another site, or not valid now), in a
    recorded attempt.
    """
    operator = operator_for(location, operator)
    with (
        bundle_attempt(location, operator.site, event, **details) as attempt,
        open_bundle(location) as folder,
    ):
        bundle = check(folder, keeper(operator.site, operator.now))
        attempt.add(**bundle_details(bundle))
        yield bundle, attempt


def _received(bundle: CheckedBundle, copied: Copied, attempt: Attempt) -> Received:
    proof = copied.proof or OnMedia((), ReadBackResult.SKIPPED)
    attempt.add(written=copied.written, volumes=len(copied.folders.paths), **proof.record())
    return Received(bundle, copied.folders.paths, copied.written, proof)


def gather(location: BundleLocation, operator: Operator) -> tuple[Path, ...]:
    """Join a bundle whose volumes are inserted one after the other into a private copy in the site's folder.

    The copy needs as much space as the bundle on that disk. A later call resumes it, so the caller keeps it
    after an error, and removes it with `discard` once all of it is loaded.
    """
    operator.progress.note("not all volumes are inserted: they are joined on this machine's disk first")
    return receive(location, operator.site.home / "staging", operator).paths


def discard(paths: Sequence[Path]) -> None:
    """Remove a private copy that `gather` made."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
