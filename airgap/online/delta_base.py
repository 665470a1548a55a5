"""Finds the base of a delta: the blobs that the other side already has. Also finds a bundle that was sealed
without some of its images, so that the next one completes it.

Which layers a delta then leaves out is decided in `plan` (`TransferPlan.behind`).
"""

import contextlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from airgap.advice import BASE, refuse_other
from airgap.agreement import Evidence, disagreements, is_base, look_alikes
from airgap.audit.receipt import PREDICATE_TYPE as RECEIPT
from airgap.audit.receipt import Receipt
from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.files import Folder, is_absent, read_small
from airgap.bundle.statement import BUNDLE_PREDICATE_TYPE as BUNDLE
from airgap.bundle.statement import STREAM_GRAMMAR, Previous, Statement
from airgap.bundle.volumes import open_bundle
from airgap.durable import exists
from airgap.errors import AirgapError, FormatError, TrustError, UnknownKeyError, UsageError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.manifest import Lock, LockedImage
from airgap.oci.digest import Digest
from airgap.oci.strict_json import Fields, parse_object
from airgap.online.terms import matches_lock
from airgap.progress import Progress
from airgap.prove_receipt import prove_receipt
from airgap.site import Mark, Site
from airgap.trust.envelope import Envelope
from airgap.trust.policy import check_signatures


def read_bases(
    site: Site, stream: str, since: Iterable[str], now: datetime, progress: Progress
) -> frozenset[Digest]:
    """Return the blobs that are in any of the bases.

    A base is a receipt of the other side, a bundle (folder, tar, or its `bundle.dsse.json` alone), or
    the serial of a bundle of `stream` that was sealed here. Raises a `TrustError` for a base that is not
    signed by a key of the trust root, and for a receipt that does not agree with the bundle that was sealed
    here. A receipt that agrees but whose site has no key in the root is accepted, and reported: if the base
    is missing there, the load refuses the delta. Raises `UsageError` if there is no such base.
    """
    held: set[Digest] = set()
    for text in since:
        envelope = Envelope.parse(_read(site, stream, text), text)
        held |= _holds(site, envelope, text, now, progress)
    return frozenset(held)


def _read(site: Site, stream: str, text: str) -> bytes:
    path = Path(text)
    if text.isascii() and text.isdigit() and not exists(path):
        path = site.kept_envelope(stream, int(text))
    if is_absent(path):
        raise UsageError(
            "no such base", subject=text, want="a receipt, a bundle, or the serial of one sealed here"
        )
    refuse_other(path, BASE)
    if path.is_dir():
        with Folder(path) as folder:
            return folder.read(ENVELOPE_FILE, MAX_ENVELOPE_BYTES)
    with Folder(path.absolute().parent) as folder:
        with folder.open(path.name) as stream_:
            head = bytearray(1)
            stream_.readinto(memoryview(head))
        if head == b"{":
            return folder.read(path.name, MAX_ENVELOPE_BYTES)
    with open_bundle(path) as bundle:
        return read_small(bundle.open(ENVELOPE_FILE), text, MAX_ENVELOPE_BYTES)


def _holds(site: Site, envelope: Envelope, where: str, now: datetime, progress: Progress) -> set[Digest]:
    """Return the blobs that a signed statement confirms. Its kind decides which role must have signed it."""
    fields = Fields(parse_object(envelope.payload, where, max_bytes=MAX_ENVELOPE_BYTES, floats=False), where)
    kind = fields.text("predicateType")
    root = site.root().root
    if kind == BUNDLE:
        check_signatures(envelope, root, "release", now, where)
        return set(held_by(Statement.parse(envelope.payload, where)))
    if kind != RECEIPT:
        raise FormatError("not a base", subject=where, want="a receipt or a bundle", got=repr(kind[:80]))
    try:
        receipt = prove_receipt(envelope, root, now, where)
    except UnknownKeyError:
        receipt = Receipt.parse(envelope.payload, where)
        # the trust root has a key for the site, which did not sign, or for a site with a similar name
        if receipt.site in root.sites or any(look_alikes(receipt.site, root.sites)):
            raise
        progress.note(
            f"{where}: the trust root has no key for site {receipt.site}; the signature was not checked"
        )
    _refuse_disagreement(site, receipt, where, now)
    if not receipt.holds or not is_base(receipt):
        progress.note(f"{where}: a delta cannot build on what {receipt.target} has; all layers are carried")
        return set()
    return {Digest.parse(text, where) for text in receipt.holds}


def _refuse_disagreement(site: Site, receipt: Receipt, where: str, now: datetime) -> None:
    """Raise `TrustError` for a receipt that does not agree with the bundle that was sealed here."""
    refusal = TrustError(
        "the receipt does not agree with the bundle that was sealed here", subject=where,
        hint="keep it as evidence with `airgap receipt import`; give --since a bundle or its serial instead",
    )  # fmt: skip
    title = f"{receipt.bundle_stream[:80]}-{receipt.serial:04d}"
    kept = site.kept_envelope(receipt.bundle_stream, receipt.serial)
    if not STREAM_GRAMMAR.fullmatch(receipt.bundle_stream) or is_absent(kept):
        refusal.got = f"{title}, which was not sealed here"
        raise refusal
    with Folder(kept.parent) as folder:
        evidence = Evidence.parse(folder.read(kept.name, MAX_ENVELOPE_BYTES), str(kept), site.root_versions())
    if evidence.statement_sha256 != receipt.statement_sha256:
        refusal.got = f"a different {title}"
        raise refusal
    if reasons := list(disagreements(receipt, evidence, now)):
        refusal.got = "; ".join(reasons[:5])
        raise refusal


def held_by(statement: Statement) -> frozenset[Digest]:
    """Return the blobs that a site has if it loaded the bundle: those that it carried or required."""
    blobs = [name.split("/") for name in statement.subjects if name.startswith("blobs/")]
    carried = {Digest(algorithm, text) for _, algorithm, text in blobs}
    return frozenset(carried | {r.digest for r in statement.requires})


def partial_base(site: Site, stream: str, lock: Lock, now: datetime) -> Statement | None:
    """Return the last bundle of `lock` that was sealed here without some images (`--allow-partial`) and that
    can still be loaded. None if the last bundle of the stream has all images and does not build on such a
    bundle, or if it belongs to another lock.
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
    """Return the images of the lock that are not in the bundle."""
    names = {record.locked_name for record in statement.images}
    return [image for image in lock.images if image.name not in names]


def _is_of(statement: Statement, lock: Lock) -> bool:
    """Return whether the bundle was made from the lock's manifest, and the images in both are the same."""
    records = {record.locked_name: record for record in statement.images}
    return statement.manifest_sha256 == lock.manifest_sha256 and all(
        matches_lock(records[image.name], image) for image in lock.images if image.name in records
    )


def _kept(site: Site, stream: str, mark: Mark | Previous, epoch: int) -> Statement | None:
    """Return a statement that the site has kept; None if its SHA-256 is not the recorded one."""
    kept = site.kept_envelope(stream, mark.serial, epoch)
    with contextlib.suppress(AirgapError), Folder(kept.parent) as folder:
        payload = Envelope.parse(folder.read(kept.name, MAX_ENVELOPE_BYTES), str(kept)).payload
        if Digest.of(payload).hex == mark.statement_sha256:
            return Statement.parse(payload)
    return None
