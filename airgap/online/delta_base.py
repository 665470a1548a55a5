"""Finds the base of a delta: the blobs that the other side already has. Also finds a bundle that was sealed
without some of its images, so that the next one completes it.

Which layers a delta then leaves out is decided in `plan` (`TransferPlan.left_out_layers`).
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
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
from airgap.carry.find_bundles import find_by_title, is_absent_title
from airgap.durable import exists
from airgap.errors import AirgapError, FormatError, RecalledError, TrustError, UnknownKeyError, UsageError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.manifest import Lock, LockedImage
from airgap.oci.digest import Digest
from airgap.oci.strict_json import Fields, parse_object
from airgap.online.bases import NOTHING, Base, Bases, bases_of
from airgap.online.terms import matches_lock
from airgap.progress import Progress
from airgap.prove_receipt import prove_receipt
from airgap.site import Mark, Site
from airgap.trust.envelope import Envelope
from airgap.trust.policy import check_signatures
from airgap.trust.root import TrustRoot

SITES = "sites"
"""The base that stands for the latest receipt of every destination."""


def read_bases(
    site: Site,
    stream: str,
    since: Iterable[str],
    now: datetime,
    progress: Progress,
    *,
    destinations: Sequence[str] = (),
    without_base: Sequence[str] = (),
) -> Bases:
    """Return what the receiving sites have.

    A base is a receipt of a site, a bundle (folder, tar, or its `bundle.dsse.json` alone, or its name), the
    serial of a bundle of `stream` that was sealed here, or `sites`. A receipt counts for its site, the others
    for every site. See `bases_of` for `destinations` and `without_base`. Raises a `TrustError` for a base
    that is not signed by a key of the trust root, and for a receipt that does not agree with the bundle that
    was sealed here. A receipt that agrees but whose site has no key in the root is accepted with a note: if
    the base is missing there, the load refuses the delta. Raises `UsageError` if there is no such base.
    """
    bases: list[Base] = []
    for text in since:
        if text == SITES and not exists(Path(text)):
            _refuse_none(destinations)
            wanted = [name for name in destinations if name not in without_base]
            bases += latest_receipts(site, stream, wanted, now, progress)
        else:
            envelope = Envelope.parse(_read(site, stream, text, progress), text)
            bases.append(_base(site, envelope, text, now, progress))
    for base in bases:
        if destinations and base.site is not None and base.site not in destinations:
            progress.note(f"{base.name} does not count: {base.site} is not a destination")
    return bases_of(bases, destinations, without_base)


def _refuse_none(destinations: Sequence[str]) -> None:
    if not destinations:
        raise UsageError(
            "--since sites needs destinations", want="`destinations:` in the manifest",
            hint="without them, name the receipts themselves",
        )  # fmt: skip


def latest_receipts(
    site: Site, stream: str, names: Sequence[str], now: datetime, progress: Progress
) -> Iterator[Base]:
    """Yield the latest receipt of each site that can be a base; what cannot is noted."""
    root = site.root().root
    for name in names:
        for path, envelope in _receipts_of(site, name, stream, progress):
            try:
                receipt = prove_receipt(envelope, root, now, str(path))
                _refuse_disagreement(site, receipt, str(path), now)
            except AirgapError as error:
                progress.note(f"{path.name} is not used: {error}")
                continue
            held = _held_by_receipt(receipt)
            if held:
                _note_recalled(receipt, root, progress)
                yield Base(str(path), held, name)
                break


def _receipts_of(site: Site, name: str, stream: str, progress: Progress) -> list[tuple[Path, Envelope]]:
    """Return the receipts of a site for bundles of the stream, the latest first; their signatures are not
    checked.
    """
    receipts: list[tuple[datetime, Path, Envelope]] = []
    folder = site.home / "receipts" / name
    for path in sorted(folder.glob("*.receipt.json")):
        try:
            with Folder(folder) as opened:
                envelope = Envelope.parse(opened.read(path.name, MAX_ENVELOPE_BYTES), str(path))
            receipt = Receipt.parse(envelope.payload, str(path))
        except AirgapError as error:
            progress.note(f"{path.name} is not used: {error}")
            continue
        if (receipt.site, receipt.bundle_stream) == (name, stream):
            receipts.append((receipt.time, path, envelope))
    receipts.sort(key=lambda found: (found[0], found[1]), reverse=True)
    return [(path, envelope) for _, path, envelope in receipts]


def _read(site: Site, stream: str, text: str, progress: Progress) -> bytes:
    path = Path(text)
    if text.isascii() and text.isdigit() and not exists(path):
        path = site.kept_envelope(stream, int(text))
    elif is_absent_title(path):
        stream, _, serial = text.rpartition("-")
        path = site.kept_envelope(stream, int(serial))
        if not exists(path) and (found := find_by_title(text)) is not None:
            path = found.paths[0]
            progress.note(f"{text}: taking {path} as the base")
    if is_absent(path):
        raise UsageError(
            "no such base",
            subject=text,
            want="a receipt, a bundle, its name, the serial of one sealed here, or `sites`",
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


def _base(site: Site, envelope: Envelope, where: str, now: datetime, progress: Progress) -> Base:
    """Return the blobs that a signed statement confirms. Its kind decides which role must have signed it."""
    fields = Fields(parse_object(envelope.payload, where, max_bytes=MAX_ENVELOPE_BYTES, floats=False), where)
    kind = fields.text("predicateType")
    root = site.root().root
    if kind == BUNDLE:
        check_signatures(envelope, root, "release", now, where)
        _refuse_recalled(envelope.payload, root, where)
        return Base(where, held_by(Statement.parse(envelope.payload, where)))
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
    if not (held := _held_by_receipt(receipt)):
        progress.note(f"{where}: no delta can build on what {receipt.target} has; all layers are carried")
    _note_recalled(receipt, root, progress)
    return Base(where, held, receipt.site)


def _refuse_recalled(payload: bytes, root: TrustRoot, where: str) -> None:
    """Refuse a recalled bundle as a base: a site that has not loaded it yet never will."""
    if (recall := root.recall_of(Digest.of(payload).hex)) is not None:
        raise RecalledError(
            "the base is recalled", subject=where, got=f"{recall.title}: {recall.words}",
            hint="give --since the receipts of the sites (`--since sites`), which show what they have, or "
            "leave it out to carry everything",
        )  # fmt: skip


def _note_recalled(receipt: Receipt, root: TrustRoot, progress: Progress) -> None:
    """Report that a base comes from a recalled bundle. Its blobs are at the site all the same, and count."""
    if (recall := root.recall_of(receipt.statement_sha256)) is not None:
        progress.note(
            f"{receipt.site} has content of {recall.title}, which is recalled: if that is lost there, the "
            "site needs a full bundle"
        )


def _held_by_receipt(receipt: Receipt) -> frozenset[Digest]:
    """Return the blobs that a delta can build on."""
    return frozenset(map(Digest.parse, receipt.holds)) if is_base(receipt) else NOTHING


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
    if last is None or last.epoch != mark.epoch or now >= last.expires or _is_recalled(site, last):
        return None
    return last if _is_of(last, lock) and absent_from(last, lock) else None


def _is_recalled(site: Site, statement: Statement) -> bool:
    return site.root().root.recall_of(Digest.of(statement.to_bytes()).hex) is not None


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
