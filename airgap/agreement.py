"""Compares a receipt with the bundle that was sealed here, and with the trust root that verified it.

A site can sign a receipt that is not true. A receipt is therefore compared with what the sealing side has
kept: the signed statement, the signatures on it, and all versions of the trust root.

    disagreements   facts that cannot be true; such a receipt is evidence, but does not confirm delivery and
                    cannot be the base of a delta
    unconfirmed     facts that may be true, but cannot be checked here: names given by `--map`, signatures
                    that were added elsewhere, images in another form, clocks that differ by less than an hour
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Self

from airgap.audit.receipt import FILES_TARGET, PRESENT, Receipt, ReceiptImage, StepBack, Verdict
from airgap.audit.record import Outcome
from airgap.bundle.statement import ImageKind, ImageRecord, Statement
from airgap.errors import UnknownKeyError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.times import format_time
from airgap.trust.document import TrustRoot, skeleton
from airgap.trust.envelope import Envelope
from airgap.trust.policy import counted_keys
from airgap.values import dataclass

CLOCK_TOLERANCE = timedelta(hours=1)
"""How far the clocks of two sites may differ without an alarm. A bundle also loads if the clock is further
behind; once the clock is set, loading the bundle again gives a receipt that agrees.
"""
_MAX_NAMED = 3
"""The number of digests that one line names."""
_SET_CLOCK = "it is not true, or that site must set its clock and load the bundle again"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the sealing side has kept of a bundle."""

    statement: Statement
    envelope: Envelope | None = None
    """The envelope as it was sealed; None if it is not available."""
    roots: Mapping[int, TrustRoot] = field(default_factory=dict, hash=False)
    """All versions of the trust root that are installed here."""

    @classmethod
    def parse(cls, raw: bytes, where: str, roots: Mapping[int, TrustRoot]) -> Self:
        """Read the kept copy of an envelope. Raises `FormatError`, and `UnknownKeyError` if it is not signed
        by a key that may sign bundles in one of `roots`. Threshold, times and revocations are not checked.
        """
        envelope = Envelope.parse(raw, where)
        statement = Statement.parse(envelope.payload, where)
        keys = {k: root.keys[k].public_key for root in roots.values() for k in root.roles["release"].keyids}
        if not any(
            key.verify(envelope.message, signature.sig)
            for signature in envelope.signatures
            if (key := keys.get(signature.keyid)) is not None
        ):
            raise UnknownKeyError(
                "ignored, because it is not signed by a key that may sign bundles", subject=where
            )
        return cls(statement, envelope, roots)

    @property
    def statement_sha256(self) -> str:
        """The SHA-256 of the statement in hex."""
        return Digest.of(self.statement.to_bytes()).hex


def disagreements(receipt: Receipt, evidence: Evidence, now: datetime | None = None) -> Iterator[str]:
    """Yield one line for each fact in `receipt` that contradicts the receipt itself, the sealed bundle, the
    trust root, or the clock here.

    The ledger state in the receipt is not compared: see `review.receipts`.
    """
    late = receipt.time > evidence.statement.expires and receipt.step_back is None
    yield from contradictions(receipt, None if late else now)  # a wrong time is reported once
    yield from _against_statement(receipt, evidence.statement)
    if evidence.roots:
        yield from _against_root(receipt, evidence)
    yield from _against_names(receipt, evidence)


def unconfirmed(receipt: Receipt, evidence: Evidence, now: datetime | None = None) -> Iterator[str]:
    """Yield one line for each fact in `receipt` that may be true, but cannot be checked from here."""
    pairs, _, absent = _match(receipt, evidence.statement)
    for image, record in pairs:
        if image.reference != str(record.name):
            yield f"{record.name} is named {image.reference} there"
        if image.verdict in PRESENT and image.target_digest not in _forms(record) and image.reason:
            yield f"{image.reference} is {image.target_digest} there: {image.reason}"
    for record in absent:
        if record.kind != ImageKind.IMAGE:
            yield f"it does not mention {record.name}, which is not an image"
    if receipt.holds and not is_base(receipt):
        yield f"it holds {len(receipt.holds)} blobs, but only archives were placed, so it cannot be a base"
    if (back := receipt.step_back) is not None:
        yield f"it is a step back, from serial {back.serial} of epoch {back.epoch}: {back.reason}"
    if receipt.time < evidence.statement.created:
        yield f"its time is before the bundle was sealed ({format_time(evidence.statement.created)})"
    if now is not None and receipt.time > now:
        yield f"its time is in the future ({format_time(receipt.time)})"
    root = evidence.roots.get(receipt.root_version)
    if root is None and evidence.roots and receipt.root_version < min(evidence.roots):
        yield f"trust root {receipt.root_version}, which verified it, is not installed here"
    if root is not None and evidence.envelope is not None:
        added = set(receipt.keyids) - counted_keys(evidence.envelope, root, "release", receipt.time)
        for keyid in sorted(added & root.roles["release"].keyids):
            yield f"{root.key_title(keyid)} had not signed at sealing; it may have signed later"


def is_base(receipt: Receipt) -> bool:
    """Return whether a delta can build on the receipt. Archives that are imported later are not a base."""
    return any(image.verdict in (Verdict.LOADED, Verdict.THERE) for image in receipt.images)


def contradictions(receipt: Receipt, now: datetime | None = None) -> Iterator[str]:
    """Yield one line for each fact in `receipt` that contradicts the rest of it, or the clock."""
    if now is not None and receipt.time - now > CLOCK_TOLERANCE:
        yield f"its time {format_time(receipt.time)} is in the future: {_SET_CLOCK}"
    for image in receipt.images:
        yield from _image_contradictions(image)
    names = [image.reference for image in receipt.images] + [name.reference for name in receipt.pruned]
    yield from _repeated(names)
    if receipt.pruned and receipt.result != Outcome.OK:
        yield f"it removed {len(receipt.pruned)} names, although its result is {receipt.result}"
    yield from _repeated(receipt.keyids)
    want = _possible_results(receipt)
    if receipt.result not in want:
        yield f"its result is {receipt.result}, but its images make it {' or '.join(want)}"
    if receipt.holds and not any(image.verdict in PRESENT for image in receipt.images):
        yield f"it holds {len(receipt.holds)} blobs of images that are not there"
    if (back := receipt.step_back) is not None and _is_later(receipt, back):
        yield f"it is a step back from serial {back.serial} of epoch {back.epoch}, which is not newer"
    if len(set(receipt.keyids)) < receipt.threshold:
        yield f"{len(set(receipt.keyids))} keys cannot meet a threshold of {receipt.threshold}"


def _is_later(receipt: Receipt, back: StepBack) -> bool:
    """Return whether the receipt's bundle comes after the one that it claims to step back from."""
    place, newest = (receipt.epoch, receipt.serial), (back.epoch, back.serial)
    return place > newest or (place == newest and receipt.statement_sha256 != back.statement_sha256)


def _image_contradictions(image: ReceiptImage) -> Iterator[str]:
    if image.verdict in PRESENT and image.error is not None:
        yield f"{image.reference} is {image.verdict}, but has an error: {image.error[:200]}"
    if image.verdict in PRESENT and image.target_digest is None:
        yield f"{image.reference} is {image.verdict}, but has no digest at the target"
    if image.verdict == Verdict.SKIPPED and image.target_digest is not None:
        yield f"{image.reference} was skipped, but is {image.target_digest} at the target"


def _repeated(names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield f"{name} is listed twice"
        seen.add(name)


def _possible_results(receipt: Receipt) -> tuple[str, ...]:
    """Return the results that the verdicts allow. Only older versions wrote `refused`."""
    verdicts = {image.verdict for image in receipt.images}
    if not verdicts & {Verdict.FAILED, Verdict.REFUSED}:
        return ("ok",)
    if verdicts & PRESENT:
        return ("partial",)
    return ("failed", "refused") if Verdict.REFUSED in verdicts else ("failed",)


def _against_statement(receipt: Receipt, statement: Statement) -> Iterator[str]:
    title = statement.title
    if receipt.epoch != statement.epoch:
        yield f"{title} is of epoch {statement.epoch}, not {receipt.epoch}"
    if statement.destinations and receipt.site not in statement.destinations:
        yield f"{title} was for {', '.join(statement.destinations)}, not for {receipt.site}"
    if receipt.time > statement.expires and receipt.step_back is None:
        yield f"{title} was loaded after it had expired ({format_time(statement.expires)})"
    if receipt.time < statement.not_before or statement.created - receipt.time > CLOCK_TOLERANCE:
        yield (
            f"its time {format_time(receipt.time)} is before {title} was sealed "
            f"({format_time(statement.created)}): {_SET_CLOCK}"
        )
    pairs, unknown, absent = _match(receipt, statement)
    for image in unknown:
        yield _describe_unknown(image, statement)
    for record in absent:
        if record.kind == ImageKind.IMAGE:
            yield f"it does not mention {record.name} {record.digest}, which is in {title}"
    only_files = receipt.target.startswith(FILES_TARGET)
    for image, record in pairs:
        yield from _against_record(image, record, only_files=only_files)
    yield from _against_blobs(receipt, statement, pairs)


Pair = tuple[ReceiptImage, ImageRecord]


def _match(
    receipt: Receipt, statement: Statement
) -> tuple[list[Pair], list[ReceiptImage], list[ImageRecord]]:
    """Return pairs of images of the receipt and of the bundle, the images that are only in the receipt, and
    those that are only in the bundle. `--map` changes a name, but neither its tag nor the digest. Content of
    an older bundle may be loaded without a tag.
    """
    names = {str(record.name): record for record in statement.images}
    pairs: list[Pair] = []
    renamed: list[ReceiptImage] = []
    unknown: list[ReceiptImage] = []
    for image in receipt.images:
        record = names.get(image.reference)
        if record is not None and str(record.digest) == image.digest:
            pairs.append((image, names.pop(image.reference)))
        else:
            renamed.append(image)
    left: dict[tuple[str, str | None], list[ImageRecord]] = defaultdict(list)
    for record in names.values():
        left[str(record.digest), record.name.tag].append(record)
    signed = {str(record.name) for record in statement.images}
    for image in renamed:
        reference = ImageReference.parse(image.reference)
        candidates = left[image.digest, reference.tag]
        if image.reference in signed:
            unknown.append(image)
        elif candidates:
            pairs.append((image, candidates.pop(0)))
        elif records := _take_tagged(image, reference, left):
            pairs += [(image, record) for record in records]
        else:
            unknown.append(image)
    named = {image.reference for image in unknown}
    absent = [record for records in left.values() for record in records if str(record.name) not in named]
    return pairs, unknown, absent


def _take_tagged(
    image: ReceiptImage, reference: ImageReference, left: Mapping[tuple[str, str | None], list[ImageRecord]]
) -> list[ImageRecord]:
    """Take the records whose content was loaded under a digest without a tag: all of its repository, or the
    first one if `--map` changed that.
    """
    if reference.tag is not None or str(reference.digest) != image.digest:
        return []
    with_digest = [
        record for (digest, _), records in left.items() if digest == image.digest for record in records
    ]
    taken = [record for record in with_digest if record.name.name == reference.name] or with_digest[:1]
    for record in taken:
        left[image.digest, record.name.tag].remove(record)
    return taken


def _describe_unknown(image: ReceiptImage, statement: Statement) -> str:
    if image.digest not in {str(record.digest) for record in statement.images}:
        return f"{image.reference} {image.digest} is not in {statement.title}"
    return f"{image.reference} is not {image.digest} in {statement.title}"


def _forms(record: ImageRecord) -> set[str]:
    """Return the digests under which a target may know an image that it holds as it was signed. An engine
    that keeps one platform knows the image by its config or its manifest.
    """
    parts = {str(digest) for item in record.platforms for digest in (item.digest, item.config_digest)}
    return {str(record.digest), *parts}


def _against_record(image: ReceiptImage, record: ImageRecord, *, only_files: bool) -> Iterator[str]:
    """Yield what contradicts the record. A folder for files takes no images."""
    if image.verdict == Verdict.SKIPPED and record.kind == ImageKind.IMAGE and not only_files:
        yield f"{image.reference} was skipped, but is an image"
    if image.verdict in PRESENT and image.target_digest not in _forms(record) and not image.reason:
        yield f"{image.reference} is {image.target_digest} at the target, but was signed as {image.digest}"


def _against_blobs(receipt: Receipt, statement: Statement, pairs: Iterable[Pair]) -> Iterator[str]:
    held = set(receipt.holds)
    blobs = (name.removeprefix("blobs/") for name in statement.subjects if name.startswith("blobs/"))
    known = {name.replace("/", ":") for name in blobs} | {str(blob.digest) for blob in statement.requires}
    if unknown := sorted(held - known):
        yield f"it holds {len(unknown)} blobs that are not in {statement.title}: {_some(unknown)}"
    present: set[str] = set()
    absent: set[str] = set()
    for image, record in pairs:
        (present if image.verdict in PRESENT else absent).update(_forms(record))
    if wrong := sorted(held & absent - present):
        yield f"it holds {len(wrong)} blobs of images that are not there: {_some(wrong)}"


def _some(digests: list[str]) -> str:
    return ", ".join(digests[:_MAX_NAMED]) + (", …" if digests[_MAX_NAMED:] else "")


def _against_root(receipt: Receipt, evidence: Evidence) -> Iterator[str]:
    """Compare the version of the root, its threshold, and the keys that count."""
    statement, root = evidence.statement, evidence.roots.get(receipt.root_version)
    if receipt.root_version < statement.root_version:
        yield (
            f"it was verified with trust root {receipt.root_version}, but {statement.title} needs "
            f"{statement.root_version} or a later one"
        )
    elif root is None and receipt.root_version > max(evidence.roots):
        newest = max(evidence.roots)
        yield f"it was verified with trust root {receipt.root_version}; the newest here is {newest}"
    if root is None:
        return
    if (recall := root.recall_of(receipt.statement_sha256)) is not None:
        yield f"{statement.title} was verified with {root.name}, which recalls it: {recall.reason}"
    threshold = root.roles["release"].threshold
    if receipt.threshold != threshold:
        yield f"the threshold of {root.name} is {threshold}, not {receipt.threshold}"
    may = root.roles["release"].keyids
    for keyid in sorted(set(receipt.keyids) - may):
        yield f"{root.key_title(keyid)} is listed as a signer, but may not sign bundles in {root.name}"
    if evidence.envelope is None:
        return
    void = {k for k in root.revoked if _is_void(root, k, statement.serial, receipt.statement_sha256)}
    for keyid in sorted(void & set(receipt.keyids)):
        yield f"{root.key_title(keyid)} is listed as a signer, but is revoked for {statement.title}"
    signed = counted_keys(evidence.envelope, root, "release", receipt.time) - void
    for keyid in sorted(signed - set(receipt.keyids)):
        yield f"{root.key_title(keyid)} has signed {statement.title}, but is not listed"


def _is_void(root: TrustRoot, keyid: str, serial: int, statement_sha256: str) -> bool:
    revocation = root.revoked[keyid]
    return serial > revocation.after_serial and statement_sha256 not in revocation.accepted


def _against_names(receipt: Receipt, evidence: Evidence) -> Iterator[str]:
    known = set(evidence.statement.destinations)
    if evidence.roots:
        known |= evidence.roots[max(evidence.roots)].sites.keys()
    yield from look_alikes(receipt.site, known)


def look_alikes(site: str, others: Iterable[str]) -> Iterator[str]:
    """Yield a line for each other site whose name looks like this one."""
    for name in sorted(set(others) - {site}):
        if skeleton(name) == skeleton(site):
            yield f"{site} is not {name}, but the names look alike"
