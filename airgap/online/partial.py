"""Finds the base for a bundle that completes one that was sealed without some of its images."""

import contextlib
from datetime import datetime

from airgap.bundle.files import Folder
from airgap.bundle.statement import Previous, Statement
from airgap.errors import AirgapError
from airgap.manifest import Lock, LockedImage
from airgap.oci.digest import Digest
from airgap.online.terms import is_locked
from airgap.site import Mark, Site
from airgap.trust.envelope import MAX_ENVELOPE, Envelope


def partial_base(site: Site, stream: str, lock: Lock, now: datetime) -> Statement | None:
    """Return the last bundle of `lock` that was sealed here without some images (`--allow-partial`) and that
    can still be loaded. None if the last bundle of the stream has all images and did not need that base,
    or belongs to another lock.
    """
    mark = site.sent(stream)
    if mark is None:
        return None
    last = _kept(site, stream, mark, mark.epoch)
    if last is not None and not absent_from(last, lock) and last.requires and last.previous is not None:
        last = _kept(site, stream, last.previous, last.epoch)
    if last is None or last.epoch != mark.epoch or now >= last.expires:
        return None
    return last if _is_of(last, lock) and absent_from(last, lock) else None


def absent_from(statement: Statement, lock: Lock) -> list[LockedImage]:
    """Return the images of the lock that the bundle does not have."""
    names = {record.locked_name for record in statement.images}
    return [image for image in lock.images if image.name not in names]


def _is_of(statement: Statement, lock: Lock) -> bool:
    """Return whether the images that both have are the same; attachments are in no lock."""
    records = {record.locked_name: record for record in statement.images}
    return statement.manifest_sha256 == lock.manifest_sha256 and all(
        is_locked(records[image.name], image) for image in lock.images if image.name in records
    )


def _kept(site: Site, stream: str, mark: Mark | Previous, epoch: int) -> Statement | None:
    """Return a statement that the site keeps, if it has the recorded SHA-256."""
    kept = site.kept_envelope(stream, mark.serial, epoch)
    with contextlib.suppress(AirgapError), Folder(kept.parent) as folder:
        payload = Envelope.parse(folder.read(kept.name, MAX_ENVELOPE), str(kept)).payload
        if Digest.of(payload).hex == mark.statement_sha256:
            return Statement.parse(payload)
    return None
