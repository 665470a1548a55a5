"""Makes a plan from a manifest file; used by `plan` and `pack`."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from airgap.advice import MANIFEST, refuse_other
from airgap.bundle.statement import Statement
from airgap.cli.endpoints import Endpoints
from airgap.cli.options import BaseChoice
from airgap.errors import FormatError, UsageError
from airgap.manifest import Lock, TransferManifest, lock_path
from airgap.online.bases import Bases
from airgap.online.delta_base import absent_from, held_by, partial_base, read_bases
from airgap.online.lock import resolve
from airgap.online.plan import DocumentCache, Failures, TransferPlan, make_plan
from airgap.progress import Progress
from airgap.site import Site, default_home, now

_NO_CHOICE = BaseChoice()
_SHOWN = 5
"""Images in one line."""


def plan_of(
    path: Path,
    endpoints: Endpoints,
    progress: Progress,
    choice: BaseChoice = _NO_CHOICE,
) -> tuple[TransferManifest, TransferPlan]:
    """Return the plan for a manifest's lock file or, without a lock, for its tags as they are now.

    The plan's failures have the images that cannot be planned. Layers are left out if a base in `choice` has
    them: a bundle, a receipt, or a serial of this stream. Without bases, the last bundle is the base if it
    was sealed without some of its images, unless `choice` says that everything is carried.
    """
    choice.check()
    since = choice.since or ()
    refuse_other(path, MANIFEST)
    manifest = TransferManifest.load(path)
    documents = DocumentCache()
    failures: Failures = {}
    bases = _bases(manifest, choice, progress) if since else Bases()
    held = bases.held
    lock = _lock_of(manifest, path, endpoints, progress, failures, documents)
    if not since and not choice.full and (base := _partial_base(lock)) is not None:
        absent = f"{len(absent_from(base, lock))} of {len(lock.images)} images"
        progress.note(
            f"{base.title} was sealed without {absent}: this bundle builds on it and leaves out what "
            "it carries; --full carries everything"
        )
        held = held_by(base)
    plan = make_plan(lock, endpoints.source, held, failures, documents)
    return manifest, replace(plan, bases=bases)


def _bases(manifest: TransferManifest, choice: BaseChoice, progress: Progress) -> Bases:
    return read_bases(
        Site(default_home()), manifest.name, choice.since or (), now(), progress,
        destinations=manifest.destinations, without_base=choice.without_base or (),
    )  # fmt: skip


def unknown_lines(unknown: Mapping[str, str]) -> list[str]:
    """Return one line for each reason why attachments are unknown, with the images concerned."""
    reasons: dict[str, list[str]] = {}
    for reference, reason in unknown.items():
        reasons.setdefault(reason, []).append(reference)
    return [f"attachments unknown: {_listed(names)}: {reason}" for reason, names in reasons.items()]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _partial_base(lock: Lock) -> Statement | None:
    """See `partial_base`; None if there is no site yet: a plan does not need one."""
    with contextlib.suppress(UsageError):
        return partial_base(Site(default_home()), lock.name, lock, now())
    return None


def _lock_of(
    manifest: TransferManifest,
    path: Path,
    endpoints: Endpoints,
    progress: Progress,
    failures: Failures,
    documents: DocumentCache,
) -> Lock:
    locked = lock_path(path)
    if not locked.exists():
        progress.note(f"no {locked.name}: using the tags as they are now")
        lock = resolve(manifest, endpoints.source, failures, documents)
        for item in lock.left_out:
            progress.note(str(item))
        return lock
    lock = Lock.load(locked)
    if lock.manifest_sha256 != manifest.sha256:
        raise FormatError(
            "the lock belongs to another manifest",
            subject=locked,
            want=f"manifest sha256 {manifest.sha256[:16]}…",
            got=f"{lock.manifest_sha256[:16]}…",
            hint=f"the manifest has changed since then: run `airgap lock {path}`",
        )
    return lock
