"""What the other side holds already: the base of a delta."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from airgap.advice import BASE, refuse_other
from airgap.agreement import Evidence, disagreements, is_base, look_alikes
from airgap.audit.receipt import PREDICATE_TYPE as RECEIPT
from airgap.audit.receipt import Receipt
from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.files import Folder, is_absent, read_small
from airgap.bundle.statement import PREDICATE_TYPE as BUNDLE
from airgap.bundle.statement import STREAM_GRAMMAR, Statement
from airgap.bundle.volumes import open_bundle
from airgap.durable import exists
from airgap.errors import FormatError, TrustError, UnknownKeyError, UsageError
from airgap.oci.digest import Digest
from airgap.oci.strict_json import Fields, parse_object
from airgap.progress import Progress
from airgap.prove_receipt import prove_receipt
from airgap.site import Site
from airgap.trust.envelope import MAX_ENVELOPE, Envelope
from airgap.trust.policy import check_signatures


def read_bases(
    site: Site, stream: str, since: Iterable[str], now: datetime, progress: Progress
) -> frozenset[Digest]:
    """The blobs that all the bases together hold.

    A base is a receipt of the other side, a bundle (folder, tar, or its `bundle.dsse.json` alone), or
    the serial of a bundle of `stream` that was sealed here. Raises a `TrustError` for one that is not
    signed by a key of the trust root, and for a receipt that does not agree with the bundle that was sealed
    here. A receipt that agrees, of a site whose key the root does not know, is taken with a note: a base that
    is not there is refused at load. Raises `UsageError` where there is no base.
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
            return folder.read(ENVELOPE_FILE, MAX_ENVELOPE)
    with Folder(path.absolute().parent) as folder:
        with folder.open(path.name) as stream_:
            head = bytearray(1)
            stream_.readinto(memoryview(head))
        if head == b"{":
            return folder.read(path.name, MAX_ENVELOPE)
    with open_bundle(path) as bundle:
        return read_small(bundle.open(ENVELOPE_FILE), text, MAX_ENVELOPE)


def _holds(site: Site, envelope: Envelope, where: str, now: datetime, progress: Progress) -> set[Digest]:
    """From a signed statement. What kind it is decides which role must have signed it."""
    fields = Fields(parse_object(envelope.payload, where, max_bytes=MAX_ENVELOPE, floats=False), where)
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
        # whose key is known, and this is not its signature; or whose name looks like that of such a site
        if receipt.site in root.sites or any(look_alikes(receipt.site, root.sites)):
            raise
        progress.note(f"{where}: the trust root has no key of site {receipt.site}; taken at its word")
    _refuse_disagreement(site, receipt, where, now)
    if not receipt.holds or not is_base(receipt):
        progress.note(f"{where}: no delta can build on what {receipt.target} has; nothing is left out for it")
        return set()
    return {Digest.parse(text, where) for text in receipt.holds}


def _refuse_disagreement(site: Site, receipt: Receipt, where: str, now: datetime) -> None:
    """What a receipt says that it holds counts only where the rest of it is true."""
    refusal = TrustError(
        "the receipt does not agree with the bundle that was sealed here", subject=where,
        hint="`airgap receipt import` keeps it as evidence; --since also takes a bundle, or its serial",
    )  # fmt: skip
    title = f"{receipt.bundle_stream[:80]}-{receipt.serial:04d}"
    kept = site.kept_envelope(receipt.bundle_stream, receipt.serial)
    if not STREAM_GRAMMAR.fullmatch(receipt.bundle_stream) or is_absent(kept):
        refusal.got = f"{title}, which was not sealed here"
        raise refusal
    with Folder(kept.parent) as folder:
        evidence = Evidence.parse(folder.read(kept.name, MAX_ENVELOPE), str(kept), site.root_versions())
    if evidence.statement_sha256 != receipt.statement_sha256:
        refusal.got = f"another {title} than that"
        raise refusal
    if found := list(disagreements(receipt, evidence, now)):
        refusal.got = "; ".join(found[:5])
        raise refusal


def held_by(statement: Statement) -> frozenset[Digest]:
    """All that a site has which has loaded it: what it carried, and what it required."""
    blobs = [name.split("/") for name in statement.subjects if name.startswith("blobs/")]
    carried = {Digest(algorithm, text) for _, algorithm, text in blobs}
    return frozenset(carried | {r.digest for r in statement.requires})
