"""From a manifest file to a plan: what `plan` and `pack` have in common."""

from collections.abc import Sequence
from pathlib import Path

from airgap.cli.endpoints import Endpoints
from airgap.errors import FormatError
from airgap.manifest import Lock, TransferManifest, lock_path
from airgap.online.base import read_bases
from airgap.online.lock import resolve
from airgap.online.plan import TransferPlan, make_plan
from airgap.online.sources import Failures
from airgap.progress import Progress
from airgap.site import Site, default_home, now


def plan_of(
    path: Path, endpoints: Endpoints, progress: Progress, since: Sequence[str] = ()
) -> tuple[TransferManifest, TransferPlan]:
    """The plan for a manifest's lock file, or, where there is none, for what its tags mean now.

    An image that cannot be planned is in the plan's failures. What the bases in `since` hold (bundles,
    receipts, or serials of this stream) stays behind.
    """
    manifest = TransferManifest.load(path)
    failures: Failures = {}
    held = read_bases(Site(default_home()), manifest.name, since, now(), progress) if since else frozenset()
    lock = _lock_of(manifest, path, endpoints, progress, failures)
    return manifest, make_plan(lock, endpoints.source, held, failures)


def _lock_of(
    manifest: TransferManifest, path: Path, endpoints: Endpoints, progress: Progress, failures: Failures
) -> Lock:
    locked = lock_path(path)
    if not locked.exists():
        progress.note(f"no {locked.name}: taking the tags as they are now")
        lock = resolve(manifest, endpoints.source, failures)
        for item in lock.left_out:
            progress.note(str(item))
        return lock
    lock = Lock.load(locked)
    if lock.manifest_sha256 != manifest.sha256:
        raise FormatError(
            "the lock is not of this manifest",
            subject=locked,
            want=f"manifest sha256 {manifest.sha256[:16]}…",
            got=f"{lock.manifest_sha256[:16]}…",
            hint=f"the manifest has changed since: run `airgap lock {path}`",
        )
    return lock
