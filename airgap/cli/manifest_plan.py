"""Makes a plan from a manifest file; used by `plan` and `pack`."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from airgap.bundle.statement import Statement
from airgap.cli.endpoints import Endpoints
from airgap.cli.manifest_choice import ManifestChoice
from airgap.cli.options import BaseChoice
from airgap.errors import UsageError
from airgap.manifest import Lock, TransferManifest
from airgap.online.bases import Bases, named_by_bundle
from airgap.online.delta_base import absent_from, held_by, partial_base, read_bases
from airgap.online.lock import resolve
from airgap.online.plan import DocumentCache, Failures, TransferPlan, make_plan
from airgap.online.relock import KeptImages, unchanged_items
from airgap.online.tag_rules import apply_rules
from airgap.progress import Progress
from airgap.site import Site, default_home, now

_NO_CHOICE = BaseChoice()
_SHOWN = 5
"""Images in one line."""


def plan_of(
    choice: ManifestChoice,
    endpoints: Endpoints,
    progress: Progress,
    base_choice: BaseChoice = _NO_CHOICE,
    *,
    writing: bool = False,
) -> TransferPlan:
    """Return the plan for a manifest's lock file or, without a lock, for its tags as they are now.

    The plan's failures have the images that cannot be planned. Layers are left out if a base in `base_choice`
    has them: a bundle, a receipt, or a serial of this stream. Without bases, the last bundle is the base if
    it was sealed without some of its images, unless `base_choice` says that everything is carried. With
    `writing`, a manifest that was made of images is written with its lock, once all images are resolved.
    """
    base_choice.check()
    since = base_choice.since or ()
    manifest = choice.manifest
    documents = DocumentCache()
    failures: Failures = {}
    bases = _bases(manifest, base_choice, progress) if since else Bases()
    held = bases.held
    lock = _lock_of(choice, endpoints, progress, failures, documents, writing=writing)
    if not since and not base_choice.full and (base := _partial_base(lock)) is not None:
        absent = f"{len(absent_from(base, lock))} of {len(lock.images)} images"
        progress.note(
            f"{base.title} was sealed without {absent}: this bundle builds on it and leaves out what "
            "it carries; --full carries everything"
        )
        held = held_by(base)
        bases = Bases(common=held, stated=(named_by_bundle(base),))
    plan = make_plan(lock, endpoints.source, held, failures, documents)
    return replace(plan, bases=bases)


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
    choice: ManifestChoice,
    endpoints: Endpoints,
    progress: Progress,
    failures: Failures,
    documents: DocumentCache,
    *,
    writing: bool,
) -> Lock:
    path, name = choice.manifest.path, choice.lock_file.name
    if (lock := choice.lock()) is not None:
        if choice.is_made:
            progress.note(f"as locked in {name}; `airgap lock {path} --update all` resolves the tags again")
        return replace(lock, manifest_sha256=choice.manifest.sha256)
    if not choice.is_made:
        progress.note(f"no {name}: using the tags as they are now")
    kept = previous_images(choice) if choice.is_made else {}
    manifest = apply_rules(choice.manifest, endpoints.source, failures)
    lock = resolve(manifest, endpoints.source, failures, documents, kept=kept)
    for item in lock.left_out:
        progress.note(str(item))
    if choice.is_made and writing and not failures:
        written = " and ".join(map(str, choice.write(lock)))
        progress.note(f"written: {written}")
        progress.note(f"to change the images, edit {path} and run `airgap pack {path}`")
    return lock


def previous_images(choice: ManifestChoice) -> KeptImages:
    """Return the images that an earlier lock of the manifest has, and that have not changed since."""
    if not choice.lock_file.exists():
        return {}
    return unchanged_items(choice.manifest, Lock.load(choice.lock_file))
