"""Whose receipt it is: proved by the key that the trust root gives to its site."""

from collections.abc import Mapping
from datetime import datetime

from airgap.audit.receipt import Receipt
from airgap.errors import FormatError, UnknownKeyError
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from airgap.trust.keys import PublicKey
from airgap.trust.policy import Verdict, check_signatures
from airgap.trust.root import TrustRoot


def prove_receipt(
    envelope: Envelope, root: TrustRoot, now: datetime, where: str, own: tuple[str, PublicKey] | None = None
) -> Receipt:
    """The receipt in an envelope that a key of its own site signed, by what `root` says at `now`; or that
    this site signed, whose name and key are `own`.

    Nothing in it is parsed before a signature holds. Raises `FormatError`, and
    `UnknownKeyError` for a site of which the root has no key or another one.
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
    """A receipt that was proved when it came: still signed by a key that any of `roots` gives to its site, or
    by this site, whose name and key are `own`. Keys and roots may have ended since.

    Raises `FormatError`, and `UnknownKeyError` for what is not signed so: it was not put there by airgap.
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
        key.verify(envelope.message, each.sig) for key in keys.values() for each in envelope.signatures
    ):
        raise UnknownKeyError(
            "not counted: the receipt is not signed by its site", subject=where,
            want=f"a key that a trust root here gives to {receipt.site[:64]}",
            got=", ".join(repr(each.keyid[:16]) for each in envelope.signatures[:4]),
            hint="`airgap receipt import` takes receipts in; other files do not belong into this folder",
        )  # fmt: skip
    return receipt


def _check(envelope: Envelope, root: TrustRoot, now: datetime, where: str) -> Verdict:
    try:
        return check_signatures(envelope, root, "receipt", now, where)
    except UnknownKeyError as error:
        error.hint = (
            "the trust root must name the receiving site's key, which is site.pub in its AIRGAP_HOME: "
            "`airgap trust add-site`"
        )
        raise
