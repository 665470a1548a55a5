"""Compares a receipt with the bundle that was sealed here, and with the trust root that verified it.

A site can sign a receipt that is not true. What it says is measured by what the sealing side has kept: the
signed statement, the signatures on it, and all versions of the trust root.

    disagreements   what cannot be true; such a receipt is evidence, confirms nothing and is no base
    unconfirmed     what may be true and cannot be compared from here: names given by `--map`, signatures that
                    were added elsewhere, images in another form, clocks that differ by less than an hour
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from airgap.audit.receipt import PRESENT, Receipt, ReceiptImage, Verdict
from airgap.bundle.statement import ImageRecord, Statement
from airgap.errors import UnknownKeyError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.times import format_time
from airgap.trust.document import TrustRoot, skeleton
from airgap.trust.envelope import Envelope
from airgap.trust.policy import counted_keys

CLOCK_TOLERANCE = timedelta(hours=1)
"""How far the clocks of two sites may be apart without an alarm. A bundle also loads where the clock is
further behind: when it is set, loading again gives a receipt that agrees.
"""
_MOST = 3
"""Digests that one line names."""
_SET_CLOCK = "it is not true, or the clock there is to be set and the bundle loaded again"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the sealing side has kept of a bundle."""

    statement: Statement
    envelope: Envelope | None = None
    """As it was sealed; None when it is not at hand."""
    roots: Mapping[int, TrustRoot] = field(default_factory=dict, hash=False)
    """All versions of the trust root that are installed here."""

    @classmethod
    def parse(cls, raw: bytes, where: str, roots: Mapping[int, TrustRoot]) -> Self:
        """From the kept copy of an envelope. Raises `FormatError`, and `UnknownKeyError` where no key that
        may sign bundles by one of `roots` has signed it. Threshold, times and revocations are not looked at.
        """
        envelope = Envelope.parse(raw, where)
        statement = Statement.parse(envelope.payload, where)
        keys = {k: root.keys[k].public_key for root in roots.values() for k in root.roles["release"].keyids}
        if not any(
            key.verify(envelope.message, each.sig)
            for each in envelope.signatures
            if (key := keys.get(each.keyid)) is not None
        ):
            raise UnknownKeyError("not counted: not signed by a key that may sign bundles", subject=where)
        return cls(statement, envelope, roots)

    @property
    def statement_sha256(self) -> str:
        """In hex."""
        return Digest.of(self.statement.to_bytes()).hex


def disagreements(receipt: Receipt, evidence: Evidence, now: datetime | None = None) -> Iterator[str]:
    """What in `receipt` contradicts itself, the sealed bundle, the trust root, or the clock here, one a line.

    The ledger's state in it is not looked at: see `review.receipts`.
    """
    late = receipt.time > evidence.statement.expires
    yield from contradictions(receipt, None if late else now)  # it is told once that the time is wrong
    yield from _against_statement(receipt, evidence.statement)
    if evidence.roots:
        yield from _against_root(receipt, evidence)
    yield from _against_names(receipt, evidence)


def unconfirmed(receipt: Receipt, evidence: Evidence, now: datetime | None = None) -> Iterator[str]:
    """What `receipt` says that may be true, and that cannot be compared with anything here, a line each."""
    pairs, _, absent = _match(receipt, evidence.statement)
    for told, record in pairs:
        if told.reference != str(record.name):
            yield f"{record.name} is called {told.reference} there"
        if told.verdict in PRESENT and told.target_digest not in _forms(record) and told.reason:
            yield f"{told.reference} is {told.target_digest} there: {told.reason}"
    for record in absent:
        if record.kind != "image":
            yield f"it says nothing of {record.name}, which is not an image"
    if receipt.holds and not is_base(receipt):
        yield f"it holds {len(receipt.holds)} blobs, and archives were placed only: it is no base"
    if receipt.time < evidence.statement.created:
        yield f"its time is before the bundle was sealed ({format_time(evidence.statement.created)})"
    if now is not None and receipt.time > now:
        yield f"its time is still to come ({format_time(receipt.time)})"
    root = evidence.roots.get(receipt.root_version)
    if root is None and evidence.roots and receipt.root_version < min(evidence.roots):
        yield f"trust root {receipt.root_version}, with which it was verified, is not here"
    if root is not None and evidence.envelope is not None:
        added = set(receipt.keyids) - counted_keys(evidence.envelope, root, "release", receipt.time)
        for keyid in sorted(added & root.roles["release"].keyids):
            yield f"{root.key_title(keyid)} is not among the signatures at sealing; it may have signed later"


def is_base(receipt: Receipt) -> bool:
    """Whether a delta can build on what it holds: none can on archives that something else imports later."""
    return any(image.verdict in (Verdict.LOADED, Verdict.THERE) for image in receipt.images)


def contradictions(receipt: Receipt, now: datetime | None = None) -> Iterator[str]:
    """What in `receipt` contradicts the rest of it, or the clock."""
    if now is not None and receipt.time - now > CLOCK_TOLERANCE:
        yield f"its time {format_time(receipt.time)} is after the present: {_SET_CLOCK}"
    for image in receipt.images:
        yield from _odd_image(image)
    yield from _twice(image.reference for image in receipt.images)
    yield from _twice(receipt.keyids)
    want = _result(receipt)
    if receipt.result not in want:
        yield f"its result is {receipt.result}, and by its images it is {' or '.join(want)}"
    if receipt.holds and not any(image.verdict in PRESENT for image in receipt.images):
        yield f"it holds {len(receipt.holds)} blobs of images that are not there"
    if len(set(receipt.keyids)) < receipt.threshold:
        yield f"{len(set(receipt.keyids))} keys are said to meet a threshold of {receipt.threshold}"


def _odd_image(image: ReceiptImage) -> Iterator[str]:
    if image.verdict in PRESENT and image.error is not None:
        yield f"{image.reference} is {image.verdict}, and has an error: {image.error[:200]}"
    if image.verdict in PRESENT and image.target_digest is None:
        yield f"{image.reference} is {image.verdict}, and has no digest at the target"
    if image.verdict == Verdict.SKIPPED and image.target_digest is not None:
        yield f"{image.reference} was skipped, and is {image.target_digest} at the target"


def _twice(names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield f"{name} is in it twice"
        seen.add(name)


def _result(receipt: Receipt) -> tuple[str, ...]:
    """The results that fit the verdicts. `refused` was written by older versions."""
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
    if receipt.time > statement.expires:
        yield f"{title} was loaded after it had expired ({format_time(statement.expires)})"
    if receipt.time < statement.not_before or statement.created - receipt.time > CLOCK_TOLERANCE:
        yield (
            f"its time {format_time(receipt.time)} is before {title} was sealed "
            f"({format_time(statement.created)}): {_SET_CLOCK}"
        )
    pairs, strange, absent = _match(receipt, statement)
    for told in strange:
        yield _strange(told, statement)
    for record in absent:
        if record.kind == "image":
            yield f"it says nothing of {record.name} {record.digest}, which is in {title}"
    for told, record in pairs:
        yield from _against_record(told, record)
    yield from _against_blobs(receipt, statement, pairs)


Pair = tuple[ReceiptImage, ImageRecord]


def _match(
    receipt: Receipt, statement: Statement
) -> tuple[list[Pair], list[ReceiptImage], list[ImageRecord]]:
    """Each image of the receipt with that of the bundle; those of the receipt that are none; and those of
    the bundle that it does not name. `--map` changes a name, and neither its tag nor the digest.
    """
    names = {str(record.name): record for record in statement.images}
    pairs: list[Pair] = []
    renamed: list[ReceiptImage] = []
    strange: list[ReceiptImage] = []
    for told in receipt.images:
        record = names.get(told.reference)
        if record is not None and str(record.digest) == told.digest:
            pairs.append((told, names.pop(told.reference)))
        else:
            renamed.append(told)
    left: dict[tuple[str, str | None], list[ImageRecord]] = defaultdict(list)
    for record in names.values():
        left[str(record.digest), record.name.tag].append(record)
    signed = {str(record.name) for record in statement.images}
    for told in renamed:
        found = left[told.digest, ImageReference.parse(told.reference).tag]
        if found and told.reference not in signed:
            pairs.append((told, found.pop(0)))
        else:
            strange.append(told)
    named = {told.reference for told in strange}
    absent = [record for records in left.values() for record in records if str(record.name) not in named]
    return pairs, strange, absent


def _strange(told: ReceiptImage, statement: Statement) -> str:
    if told.digest not in {str(record.digest) for record in statement.images}:
        return f"{told.reference} {told.digest} is not in {statement.title}"
    return f"{told.reference} is another image in {statement.title} than {told.digest}, or none"


def _forms(record: ImageRecord) -> set[str]:
    """What targets call an image that they have as it was signed: engines that take one platform of it know
    it by its config or its manifest.
    """
    parts = {str(digest) for each in record.platforms for digest in (each.digest, each.config_digest)}
    return {str(record.digest), *parts}


def _against_record(told: ReceiptImage, record: ImageRecord) -> Iterator[str]:
    if told.verdict == Verdict.SKIPPED and record.kind == "image":
        yield f"{told.reference} was skipped, and is an image"
    if told.verdict in PRESENT and told.target_digest not in _forms(record) and not told.reason:
        yield f"{told.reference} is {told.target_digest} at the target, and was signed as {told.digest}"


def _against_blobs(receipt: Receipt, statement: Statement, pairs: Iterable[Pair]) -> Iterator[str]:
    held = set(receipt.holds)
    blobs = (name.removeprefix("blobs/") for name in statement.subjects if name.startswith("blobs/"))
    known = {name.replace("/", ":") for name in blobs} | {str(each.digest) for each in statement.requires}
    if unknown := sorted(held - known):
        yield f"it holds {len(unknown)} blobs that {statement.title} does not bring: {_some(unknown)}"
    there: set[str] = set()
    not_there: set[str] = set()
    for told, record in pairs:
        (there if told.verdict in PRESENT else not_there).update(_forms(record))
    if wrong := sorted(held & not_there - there):
        yield f"it holds {len(wrong)} blobs of images that are not there: {_some(wrong)}"


def _some(digests: list[str]) -> str:
    return ", ".join(digests[:_MOST]) + (", …" if digests[_MOST:] else "")


def _against_root(receipt: Receipt, evidence: Evidence) -> Iterator[str]:
    """The version of the root, its threshold, and the keys that count by it."""
    statement, root = evidence.statement, evidence.roots.get(receipt.root_version)
    if receipt.root_version < statement.root_version:
        yield (
            f"it was verified with trust root {receipt.root_version}, and {statement.title} needs "
            f"{statement.root_version} or a later one"
        )
    elif root is None and receipt.root_version > max(evidence.roots):
        newest = max(evidence.roots)
        yield f"it was verified with trust root {receipt.root_version}; the newest here is {newest}"
    if root is None:
        return
    threshold = root.roles["release"].threshold
    if receipt.threshold != threshold:
        yield f"the threshold of {root.name} is {threshold}, not {receipt.threshold}"
    may = root.roles["release"].keyids
    for keyid in sorted(set(receipt.keyids) - may):
        yield f"{root.key_title(keyid)} is said to have signed, and {root.name} does not let it sign bundles"
    if evidence.envelope is None:
        return
    void = {k for k in root.revoked if _is_void(root, k, statement.serial, receipt.statement_sha256)}
    for keyid in sorted(void & set(receipt.keyids)):
        yield f"{root.key_title(keyid)} is said to have signed, and is revoked for {statement.title}"
    signed = counted_keys(evidence.envelope, root, "release", receipt.time) - void
    for keyid in sorted(signed - set(receipt.keyids)):
        yield f"{root.key_title(keyid)} has signed {statement.title}, and is not named"


def _is_void(root: TrustRoot, keyid: str, serial: int, statement_sha256: str) -> bool:
    revocation = root.revoked[keyid]
    return serial > revocation.after_serial and statement_sha256 not in revocation.accepted


def _against_names(receipt: Receipt, evidence: Evidence) -> Iterator[str]:
    known = set(evidence.statement.destinations)
    if evidence.roots:
        known |= evidence.roots[max(evidence.roots)].sites.keys()
    yield from look_alikes(receipt.site, known)


def look_alikes(site: str, others: Iterable[str]) -> Iterator[str]:
    """Other sites whose names people read as this one."""
    for name in sorted(set(others) - {site}):
        if skeleton(name) == skeleton(site):
            yield f"{site} is another site than {name}, and the names look alike"
