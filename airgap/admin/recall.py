"""Recalls a bundle: the next trust root says that it must no longer be used (FORMAT.md §11)."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from airgap.admin.change_root import Changed, Signers, change_root
from airgap.advice import BUNDLE, refuse_other
from airgap.agreement import Evidence
from airgap.bundle.statement import Statement
from airgap.bundle.volumes import open_bundle
from airgap.carry.find_bundles import is_title
from airgap.carry.verify import authenticate
from airgap.carry.verify_recorded import receiver
from airgap.durable import exists
from airgap.errors import UsageError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.owned import read_owned
from airgap.site import Site
from airgap.trust.change import recall_bundle
from airgap.trust.recall import Recall
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class RecalledBundle:
    """The bundle to recall."""

    statement: Statement
    sha256: str
    """The SHA-256 of its statement, in hex."""
    sealed_here: bool


@dataclass(frozen=True, slots=True)
class RecallResult:
    """The result of `recall`."""

    recall: Recall
    changed: Changed | None
    """The new trust root, or its proposal; None if the bundle was recalled before."""


def find_bundle(site: Site, text: str, epoch: int | None, now: datetime) -> RecalledBundle:
    """Return the bundle that a person names.

    Args:
        site: The site, which must have sealed a bundle that is given by its name.
        text: The path of a bundle, or the name of one that was sealed here: `stack-0007`.
        epoch: The epoch of the bundle that is named; None for the newest epoch that has one of this name.
        now: The time, for the validity periods of keys.

    Raises:
        UsageError: No bundle of this name was sealed here.
        TrustError: The bundle at the path is not signed as the trust root demands.
    """
    if is_title(text) and not exists(Path(text), follow=False):
        return _sealed_here(site, text, epoch)
    if epoch is not None:
        raise UsageError("--epoch is for the name of a bundle", subject=text, want="STREAM-SERIAL")
    refuse_other(Path(text), BUNDLE)
    with open_bundle(Path(text), alone=True) as folder:
        found = authenticate(folder, receiver(site, now))
    place = found.statement
    kept = site.kept_envelope(place.stream, place.serial, place.epoch)
    sealed_here = exists(kept) and _read(site, kept).statement_sha256 == found.sha256
    return RecalledBundle(found.statement, found.sha256, sealed_here)


def _sealed_here(site: Site, title: str, epoch: int | None) -> RecalledBundle:
    stream, _, serial = title.rpartition("-")
    kept = site.kept_envelope(stream, int(serial), epoch)
    if not exists(kept):
        streams = ", ".join(sorted({path.parent.name for path in site.kept_envelopes()}))
        raise UsageError(
            "no such bundle was sealed here", subject=title if epoch is None else f"{title}, epoch {epoch}",
            got=f"bundles of {streams}" if streams else "no bundles",
            hint="to recall a bundle that was sealed elsewhere, name the path of a copy of it",
        )  # fmt: skip
    evidence = _read(site, kept)
    return RecalledBundle(evidence.statement, evidence.statement_sha256, sealed_here=True)


def _read(site: Site, path: Path) -> Evidence:
    return Evidence.parse(read_owned(path, MAX_ENVELOPE_BYTES), str(path), site.root_versions())


def recall(
    site: Site,
    bundle: RecalledBundle,
    reason: str,
    signers: Callable[[], Signers],
    *,
    now: datetime,
    proposal: Path | None,
) -> RecallResult:
    """Make and sign the trust root that recalls the bundle. Nothing changes if it is recalled already.

    Args:
        site: The site, whose keys sign.
        bundle: The bundle.
        reason: The reason, which travels to every site.
        signers: Returns the keys; called only if there is something to sign.
        now: The time of the recall, in whole seconds.
        proposal: The file for the root while other people must still sign it; None for the default.

    Raises:
        AirgapError: As `change_root` does.
    """
    if (known := site.root().root.recall_of(bundle.sha256)) is not None:
        return RecallResult(known, None)
    place = bundle.statement
    made = Recall(
        statement_sha256=bundle.sha256, stream=place.stream, epoch=place.epoch, serial=place.serial,
        reason=reason, time=now,
    )  # fmt: skip
    changed = change_root(
        site, "recall", recall_bundle(made), signers(), now=now, proposal=proposal, reason=reason,
        bundle={
            "stream": place.stream, "serial": place.serial, "epoch": place.epoch,
            "statement_sha256": bundle.sha256,
        },
    )  # fmt: skip
    return RecallResult(made, changed)
