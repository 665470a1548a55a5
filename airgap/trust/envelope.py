"""DSSE 1.0.2: one payload, its type, and the signatures over both.

Stricter than the specification, so that an envelope has only one interpretation: unknown fields are refused,
and base64 is the standard alphabet with exact padding (the specification lets signers use the
URL-safe alphabet too; ours never do).
"""

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from airgap.errors import FormatError, SignatureMismatchError, TrustError, UnsignedError
from airgap.limits import MAX_ENVELOPE_BYTES, MAX_ENVELOPE_COMMAS, MAX_LABEL_CHARACTERS, MAX_SIGNATURES
from airgap.oci.strict_json import Fields, dump, parse_object
from airgap.trust.keys import PublicKey, Signer
from airgap.values import dataclass

STATEMENT_TYPE = "application/vnd.in-toto+json"
ROOT_TYPE = "application/vnd.airgap.root.v1+json"


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed (DSSE protocol.md, "Pre-Authentication Encoding").

    Raises `FormatError` for a payload type that is not printable ASCII without spaces: implementations
    differ on the length of any other.
    """
    if not 0 < len(payload_type) <= MAX_LABEL_CHARACTERS or not all("!" <= c <= "~" for c in payload_type):
        raise FormatError(
            "not a payload type", want="printable ASCII", got=repr(payload_type[:MAX_LABEL_CHARACTERS])
        )
    kind = payload_type.encode("ascii")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature. Anyone who holds the file can change `keyid`, so it proves nothing; the signature counts
    only under this key. Envelopes of other tools may have an empty `keyid`.
    """

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with 1 to 64 different signatures, well-formed. The signatures are not verified here."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        _check(self.signatures, self.payload_type)

    @property
    def message(self) -> bytes:
        """The bytes that each signature covers."""
        return pae(self.payload_type, self.payload)

    def is_signed_by(self, key: PublicKey) -> bool:
        """Return whether the signature that names `key` is valid."""
        return any(
            signature.keyid == key.keyid and key.verify(self.message, signature.sig)
            for signature in self.signatures
        )

    @classmethod
    def parse(cls, raw: bytes, where: str, *, foreign: bool = False) -> Self:
        """Read the bytes of an envelope file; with `foreign`, of another tool, in any JSON layout.

        Raises `FormatError` for a malformed or too large envelope, or one that is not canonical, and
        `UnsignedError` for an empty list of signatures.
        """
        if raw.count(b",") > MAX_ENVELOPE_COMMAS:
            raise FormatError("too many values for an envelope", subject=where)
        fields = Fields(parse_object(raw, where, max_bytes=MAX_ENVELOPE_BYTES, floats=False), where)
        payload_type = fields.text("payloadType")
        pae(payload_type, b"")
        payload = _decode(fields.text("payload"), f"{where}: payload")
        signatures = tuple(_signature(item) for item in fields.children("signatures"))
        fields.end()
        _check(signatures, where)
        envelope = cls(payload_type, payload, signatures)
        if not foreign and envelope.to_bytes() != raw:
            raise FormatError("not in canonical form", subject=where)
        return envelope

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the envelope file. Raises `FormatError` if they would be too large
        for `parse`.
        """
        raw = dump(
            {
                "payload": base64.b64encode(self.payload).decode("ascii"),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": signature.keyid, "sig": base64.b64encode(signature.sig).decode("ascii")}
                    for signature in self.signatures
                ],
            }
        )
        if len(raw) >= MAX_ENVELOPE_BYTES:
            raise FormatError(
                "envelope too large", want=f"at most {MAX_ENVELOPE_BYTES:,} bytes", got=f"{len(raw):,}"
            )
        return raw + b"\n"

    @property
    def raw_signatures(self) -> dict[str, bytes]:
        """The raw signatures by key id."""
        return {signature.keyid: signature.sig for signature in self.signatures}

    @classmethod
    def sign(cls, payload_type: str, payload: bytes, signers: Sequence[Signer]) -> Self:
        """Make an envelope with one signature of each signer, in their order.

        Raises `UnsignedError` if there are no signers, `TrustError` if two have the same key, and
        `SignatureMismatchError` if a signer's answer does not match its own public key.
        """
        if not signers:
            raise UnsignedError("no signer", subject=payload_type)
        message = pae(payload_type, payload)
        envelope = cls(payload_type, payload, (_signed(message, signers[0]),))
        for signer in signers[1:]:
            envelope = envelope.with_signature(signer)
        return envelope

    def with_signature(self, signer: Signer) -> Self:
        """Return the envelope with one more signature.

        Raises as `sign` does, and `FormatError` for the 65th signature and if another signature has this
        signer's key id.
        """
        key, message = signer.public_key, self.message
        if any(key.verify(message, signature.sig) for signature in self.signatures):
            raise TrustError("already signed by this key", subject=self.payload_type, got=key.keyid)
        return replace(self, signatures=(*self.signatures, _signed(message, signer)))


def _check(signatures: tuple[Signature, ...], where: str) -> None:
    if not signatures:
        raise UnsignedError("no signature", subject=where)
    if len(signatures) > MAX_SIGNATURES:
        raise FormatError(
            "too many signatures", subject=where, want=f"at most {MAX_SIGNATURES}", got=len(signatures)
        )
    keyids = [signature.keyid for signature in signatures if signature.keyid]
    if len(set(keyids)) < len(keyids) or len({signature.sig for signature in signatures}) < len(signatures):
        raise FormatError("the same signature or key id twice", subject=where)


def _signed(message: bytes, signer: Signer) -> Signature:
    key = signer.public_key
    sig = signer.sign(message)
    if not key.verify(message, sig):
        raise SignatureMismatchError("the signer's answer does not match its public key", subject=key.keyid)
    return Signature(key.keyid, sig)


def _signature(fields: Fields) -> Signature:
    keyid = fields.optional_text("keyid") or ""
    if len(keyid) > MAX_LABEL_CHARACTERS:
        raise FormatError(
            "key id too long", subject=fields.where, want=f"at most {MAX_LABEL_CHARACTERS} characters"
        )
    sig = _decode(fields.text("sig"), f"{fields.where}: sig")
    fields.end()
    return Signature(keyid, sig)


def _decode(text: str, where: str) -> bytes:
    """Decode strict base64: encoding the result gives `text` again."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise FormatError("not base64", subject=where, got=str(error)) from error
    if base64.b64encode(raw).decode("ascii") != text:
        raise FormatError("not canonical base64", subject=where)
    return raw
