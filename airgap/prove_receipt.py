"""Proves which site signed a receipt, by the keys that the trust root gives to each site."""

from collections.abc import Mapping
from datetime import datetime

from airgap.audit.receipt import Receipt
from airgap.errors import FormatError, UnknownKeyError
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from airgap.trust.keys import PublicKey
from airgap.trust.policy import SignatureVerdict, check_signatures
from airgap.trust.root import TrustRoot


def prove_receipt(
    envelope: Envelope, root: TrustRoot, now: datetime, where: str, own: tuple[str, PublicKey] | None = None
) -> Receipt:
    """Return the receipt in an envelope that its own site signed: with a key that `root` gives to that site
    at `now`, or with this site's key (`own`: name and key of this site).

    The payload is parsed only after a signature was verified. Raises `FormatError`, and `UnknownKeyError` if
    `root` has no key, or another key, for the site.
    """
    if envelope.payload_type != STATEMENT_TYPE:
        raise FormatError("not a receipt", subject=where, want=STATEMENT_TYPE, got=envelope.payload_type)
    if own is not None and envelope.is_signed_by(own[1]):
        signers, owners = frozenset({own[0]}), own[0]
    else:
        verdict = _check(envelope, root, now, where)
        signers = frozenset(
            name for name, site in root.sites.items() if site.receipt_keyids & set(verdict.keyids)
        )
        owners = ", ".join(verdict.owners)
    receipt = Receipt.parse(envelope.payload, where)
    if receipt.site not in signers:
        raise UnknownKeyError(
            "signed by another site's key",
            subject=f"{where}: receipt of {receipt.site}",
            want=f"a key that {root.name} gives to this site",
            got=owners,
        )
    return receipt


def prove_again(
    envelope: Envelope, roots: Mapping[int, TrustRoot], where: str, own: tuple[str, PublicKey] | None
) -> Receipt:
    """Return a receipt that was proved when it was imported: it must still be signed by a key that any of
    `roots` gives to its site, or by this site (`own`: name and key). Keys and roots may have expired since.

    Raises `FormatError`, and `UnknownKeyError` for a receipt without such a signature: airgap did not put it
    there.
    """
    if envelope.payload_type != STATEMENT_TYPE:
        raise FormatError("not a receipt", subject=where, want=STATEMENT_TYPE, got=envelope.payload_type)
    receipt = Receipt.parse(envelope.payload, where)
    keys = {
        keyid: root.keys[keyid].public_key
        for root in roots.values()
        if receipt.site in root.sites
        for keyid in root.sites[receipt.site].receipt_keyids
    }
    if own is not None and own[0] == receipt.site:
        keys[own[1].keyid] = own[1]
    if not any(
        key.verify(envelope.message, signature.sig)
        for key in keys.values()
        for signature in envelope.signatures
    ):
        raise UnknownKeyError(
            "the receipt is ignored, because its site did not sign it", subject=where,
            want=f"a key that a trust root here gives to {receipt.site[:64]}",
            got=", ".join(repr(signature.keyid[:16]) for signature in envelope.signatures[:4]),
            hint="receipts are added with `airgap receipt import`; no other files may be in this folder",
        )  # fmt: skip
    return receipt


def _check(envelope: Envelope, root: TrustRoot, now: datetime, where: str) -> SignatureVerdict:
    try:
        return check_signatures(envelope, root, "receipt", now, where)
    except UnknownKeyError as error:
        error.hint = (
            "the trust root must name the receiving site's key, which is site.pub in its AIRGAP_HOME: "
            "`airgap trust add-site`"
        )
        raise
