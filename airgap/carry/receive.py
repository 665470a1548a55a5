"""Taking a bundle off its media: receive puts it together, repack cuts it anew, repair mends a copy."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from airgap.audit.ledger import Attempt
from airgap.bundle.check_written import SKIPPED, OnMedia
from airgap.bundle.volume_table import VolumeSize
from airgap.bundle.volumes import Place, VolumeSet, open_bundle, paths_of
from airgap.carry.copy import (
    Copied,
    Copy,
    begin_copy,
    copy_bundle,
    cut_folders,
    damaged_folders,
    joined_folders,
)
from airgap.carry.operator import Operator
from airgap.carry.verify import CheckedBundle, check
from airgap.carry.verify_recorded import bundle_details, keeper, recorded, verify_here

_NEXT = "run the same command again with the first of the volumes that are wanted"


@dataclass(frozen=True, slots=True)
class Received:
    """A copy that is whole."""

    bundle: CheckedBundle
    paths: tuple[Path, ...]
    written: int
    """Blobs that were written; the others were there, and right."""
    proof: OnMedia


def receive(place: Place, into: Path, operator: Operator) -> Received:
    """Put a bundle together in `into`, as one folder, from all its volumes or one after the other.

    It is verified for this site first. What an earlier call has brought is read and kept; when
    volumes are missing and nobody can be asked for them, `IncompleteError` names the next.
    """
    work: Copy | None = None
    with recorded(place, operator.site, "receive", into=str(into)) as attempt, ExitStack() as held:
        while True:
            with open_bundle(place, alone=True) as here:
                who = keeper(operator.site, operator.now, accept_jump=operator.accept_jump)
                bundle = verify_here(here, operator.site, operator.now, who)
                attempt.add(**bundle_details(bundle))
                folders = joined_folders(bundle, place, into, operator)
                work = work or held.enter_context(begin_copy(bundle, folders, operator))
                copied = work.go_on(bundle)
            if not isinstance(here, VolumeSet) or not copied.wants:
                return _received(bundle, copied, attempt)
            place = operator.next_volume(
                place, here, bundle.statement.title, copied.wants, _tell_taken(here, copied, operator)
            )


def _tell_taken(here: VolumeSet, copied: Copied, operator: Operator) -> str:
    """Say what was taken and what comes next; the hint where nobody can be asked for that."""
    for number in sorted(here.folders):
        later = "taken in part; it is asked for again, after what comes before it in a layer"
        taken = later if number in copied.again else "taken"
        operator.progress.note(f"volume {number} of {here.table.cut.of}: {taken}")
    operator.progress.note(f"next: volume {copied.wants[0]}")
    if not copied.again:
        return f"what came is kept: {_NEXT}"
    again = ", ".join(map(str, copied.again))
    return f"what was taken is kept: {_NEXT}; after that, volume {again} is wanted again"


def repack(place: Place, to: Sequence[Path], size: VolumeSize | None, operator: Operator) -> Received:
    """Write the bundle in `to`, whole or cut into volumes, with the same statement and signatures."""
    with _checked(place, operator, "media-write", to=", ".join(map(str, to))) as (bundle, attempt):
        folders = cut_folders(bundle, place, to, size, operator)
        copied = copy_bundle(bundle, folders, operator)
        return _received(bundle, copied, attempt)


def repair(place: Place, source: Place, operator: Operator) -> Received:
    """Mend the copy of a bundle at `place` from another one: only files that are wrong are written."""
    damaged = ", ".join(map(str, paths_of(place)))
    with _checked(source, operator, "media-write", repairs=damaged) as (bundle, attempt):
        folders = damaged_folders(paths_of(place), bundle, source)
        copied = copy_bundle(bundle, folders, operator)
        return _received(bundle, copied, attempt)


@contextmanager
def _checked(
    place: Place, operator: Operator, event: str, **details: object
) -> Iterator[tuple[CheckedBundle, Attempt]]:
    """A bundle that passed all steps but the judgement for this site, in a recorded attempt."""
    with recorded(place, operator.site, event, **details) as attempt, open_bundle(place) as folder:
        bundle = check(folder, keeper(operator.site, operator.now))
        attempt.add(**bundle_details(bundle))
        yield bundle, attempt


def _received(bundle: CheckedBundle, copied: Copied, attempt: Attempt) -> Received:
    proof = copied.proof or OnMedia((), SKIPPED)
    attempt.add(written=copied.written, volumes=len(copied.folders.paths), **proof.record())
    return Received(bundle, copied.folders.paths, copied.written, proof)


def gather(place: Place, operator: Operator) -> tuple[Path, ...]:
    """A private copy of a bundle whose volumes come one after the other, in the site's own folder.

    It takes the bundle's size on that disk. What is there of it already is used, so it is to stay, after
    whatever error, until all of it was loaded; then `discard` removes it.
    """
    operator.progress.note("not all volumes are here: they are put together on this machine's disk first")
    return receive(place, operator.site.home / "staging", operator).paths


def discard(paths: Sequence[Path]) -> None:
    """Remove a private copy."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
