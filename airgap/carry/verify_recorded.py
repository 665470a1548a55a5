"""Verify a bundle in an attempt that the ledger records, as every command that reads a bundle does, and keep
what the site learns from it: its trust roots, and its place in the stream.

Both are written to a file first, and then to the record that ends the attempt. So a file is never older than
the ledger unless somebody has changed it. A power cut between the two leaves an attempt without an end, which
explains the newer file (`airgap.site_check`).
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from airgap.advice import BUNDLE, Need, refuse_other
from airgap.audit.ledger import Attempt
from airgap.audit.record import NOTE
from airgap.bundle.files import Files
from airgap.bundle.volumes import BundleLocation, open_bundle, paths_of
from airgap.carry.accepted_bundles import AcceptedBundles
from airgap.carry.recalled import LoadedName, check_recalled, loaded_names, own_receipts
from airgap.carry.receiver import OlderRule, Receiver
from airgap.carry.rollback import check_place
from airgap.carry.verify import (
    REPAIR_HINT,
    CheckedBundle,
    VerifiedBundle,
    verify,
    verify_content,
)
from airgap.errors import IntegrityError
from airgap.limits import MAX_STATED_CHARACTERS, MAX_STATED_PAIRS
from airgap.progress import Progress
from airgap.recognise import PathKind, recognise
from airgap.site import Mark, MarkKind, Site
from airgap.trust.root import SignedRoot


def receiver(site: Site, now: datetime) -> Receiver:
    """Return the state of `site` for a verification that keeps nothing."""
    return Receiver(
        site=site.name, root=site.root(), mark=site.received, now=now,
        accepted=AcceptedBundles(site).include, find_loaded=partial(_find_loaded, site),
    )  # fmt: skip


def _find_loaded(site: Site, statement_sha256: str) -> list[LoadedName]:
    return loaded_names(own_receipts(site), statement_sha256)


def keeper(
    site: Site, now: datetime, *, accept_jump: bool = False, older: OlderRule = OlderRule.REFUSE
) -> Receiver:
    """Like `receiver`, for a recorded attempt: verified trust roots from the bundle are kept."""
    who = receiver(site, now)
    return replace(who, accept_jump=accept_jump, older=older, keep=partial(keep_root, site))


@contextlib.contextmanager
def opened(
    location: BundleLocation,
    site: Site,
    event: str,
    now: datetime,
    *,
    who: Receiver | None = None,
    **details: object,
) -> Iterator[tuple[VerifiedBundle, Attempt]]:
    """Yield a bundle that passed steps 1 to 9, in a recorded attempt; its verified trust roots are kept."""
    if who is not None and who.accept_jump:
        details["accept_jump"] = True
    with bundle_attempt(location, site, event, **details) as attempt, open_bundle(location) as folder:
        bundle = verify_here(folder, site, now, who)
        attempt.add(**bundle_details(bundle))
        yield bundle, attempt


def refuse_others(location: BundleLocation, need: Need = BUNDLE) -> None:
    """Raise `UsageError` for a path that does not exist or is not what is needed: this is a typing mistake,
    which the ledger does not record. If one of the paths is a volume, absent paths are not refused here,
    because the reader's error names the missing volumes.
    """
    paths = paths_of(location)
    if any(recognise(path).kind is PathKind.VOLUME for path in paths):
        need = replace(need, kinds=need.kinds | {PathKind.ABSENT})
    for path in paths:
        refuse_other(path, need)


def bundle_attempt(
    location: BundleLocation, site: Site, event: str, **details: object
) -> AbstractContextManager[Attempt]:
    """Record the beginning and the end of an event with the bundle at `location` in the ledger. If `location`
    is not a bundle, raises `UsageError`, and no attempt is recorded.
    """
    refuse_others(location)
    path = ", ".join(str(path.absolute()) for path in paths_of(location))
    return site.ledger().attempt(event, path=path, **details)


def verify_here(folder: Files, site: Site, now: datetime, who: Receiver | None = None) -> VerifiedBundle:
    """Do steps 1 to 9. Verified trust roots from the bundle are kept even if it is refused later."""
    return verify(folder, who or keeper(site, now))


def verify_whole_bundle(
    location: BundleLocation,
    site: Site,
    now: datetime,
    jobs: int,
    progress: Progress,
    *,
    who: Receiver | None = None,
) -> VerifiedBundle:
    """Do all ten steps. If blobs are wrong, reports each, and then raises one error."""
    with opened(location, site, "verify", now, who=who) as (bundle, attempt):
        wrong = verify_content(bundle, progress, jobs)
        attempt.add(wrong=[str(error) for error in wrong[:20]])
        raise_wrong(wrong, bundle.folder.path, progress)
        return bundle


def raise_wrong(wrong: Sequence[IntegrityError], where: Path, progress: Progress) -> None:
    """Raise the error if there is one. If there are several, report each and raise a summary."""
    if len(wrong) > 1:
        for error in wrong:
            progress.note(str(error))
        raise IntegrityError(
            "the bundle is damaged", subject=where, got=f"{len(wrong)} wrong blobs", hint=REPAIR_HINT
        )
    if wrong:
        wrong[0].hint = wrong[0].hint or REPAIR_HINT
        raise wrong[0]


def bundle_details(bundle: CheckedBundle) -> dict[str, object]:
    """Return the fields about a bundle in a ledger record."""
    statement, verdict = bundle.statement, bundle.verdict
    return {
        "bundle": {
            "stream": statement.stream,
            "serial": statement.serial,
            "epoch": statement.epoch,
            "statement_sha256": bundle.statement_sha256,
        },
        "checks": {
            "keys": list(verdict.keyids),
            "owners": list(verdict.owners),
            "threshold": verdict.threshold,
            "root_version": verdict.root_version,
            **_place_in_stream(bundle),
        },
        "files": len(bundle.sizes),
        "bytes": statement.total_bytes,
        "images": [
            {
                "reference": str(image.name),
                "digest": str(image.record.digest),
                "platforms": [platform.platform for platform in image.record.platforms],
            }
            for image in bundle.images
        ],
        "transfer": _stated(statement.transfer),
        **_alarms(bundle),
    }


def _stated(transfer: Mapping[str, str]) -> list[str]:
    """Return what the statement says about the transfer, as `pack` records it, and bounded: a record of the
    ledger is.
    """
    pairs = (f"{key}={value}"[:MAX_STATED_CHARACTERS] for key, value in sorted(transfer.items()))
    return list(itertools.islice(pairs, MAX_STATED_PAIRS))


def _place_in_stream(bundle: CheckedBundle) -> dict[str, object]:
    if not isinstance(bundle, VerifiedBundle):
        return {}
    return {"repeat": bundle.repeat, "missed": bundle.missed}


def _alarms(bundle: CheckedBundle) -> dict[str, object]:
    fork = bundle.left_fork if isinstance(bundle, VerifiedBundle) else None
    return {"alarms": [fork]} if fork else {}


def keep_root(site: Site, root: SignedRoot) -> None:
    """Install a root from a bundle that follows from the installed one."""
    site.install_root(root)
    about = {"root_version": root.root.version, "fingerprint": root.fingerprint}
    site.ledger().append("trust-change", NOTE, change="brought by a bundle", **about)


def refuse_recalled_since(bundle: CheckedBundle, site: Site) -> None:
    """Raise `RecalledError` if a trust root that recalls the bundle was installed after it was verified, by
    another process. Called before the first name moves.
    """
    root = site.root().root
    check_recalled(bundle.statement, bundle.statement_sha256, root, partial(_find_loaded, site))


def keep_mark(bundle: VerifiedBundle, site: Site, attempt: Attempt) -> None:
    """Keep the bundle's envelope, raise the high-water mark of its stream, and add it to the record that ends
    the `attempt`.

    Raises `RollbackError` when another process has accepted another bundle meanwhile, and as
    `refuse_recalled_since` does.
    """
    refuse_recalled_since(bundle, site)
    statement = bundle.statement
    mark = Mark(statement.epoch, statement.serial, bundle.statement_sha256)
    envelope = bundle.envelope.to_bytes()
    with site.receiving():
        # check again: another load may have raised the mark since this bundle was verified
        before = site.received(statement.stream)
        check_place(statement, bundle.statement_sha256, before, accept_jump=True)
        site.keep_envelope(statement.stream, statement.serial, statement.epoch, envelope, MarkKind.RECEIVED)
        if before != mark:
            site.set_received(statement.stream, mark)
        attempt.add(accepted={"stream": statement.stream, **mark.value})
