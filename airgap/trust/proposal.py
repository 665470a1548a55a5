"""A proposed trust root: the next version, with the signatures that it has so far.

The file is an envelope like that of a root. Once enough people have signed, it is a root file.
"""

from typing import Self

from airgap.errors import FormatError, TrustError, UnknownKeyError
from airgap.trust.document import TrustRoot
from airgap.trust.envelope import ROOT_TYPE, Envelope
from airgap.trust.keys import Signer
from airgap.trust.policy import root_signers
from airgap.trust.root import SignedRoot, check_follows
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class Proposal:
    """A next version of `old`. All signatures are valid, and at least one is by a key of `old`."""

    old: SignedRoot
    new: TrustRoot
    envelope: Envelope

    @classmethod
    def parse(cls, raw: bytes, old: SignedRoot, where: str) -> Self:
        """Read the bytes of a proposal file, and check it against the installed root `old`.

        Only the envelope is parsed before a signature by a root key of `old` is verified. Raises
        `FormatError` for another kind of document, and a `TrustError` if no such key signed, if any
        signature is not by a root key of either version, or if the root may not follow `old`.
        """
        envelope = Envelope.parse(raw, where)
        if envelope.payload_type != ROOT_TYPE:
            raise FormatError("not a trust root", subject=where, want=ROOT_TYPE, got=envelope.payload_type)
        by_old, _ = root_signers(envelope, old.root)
        if not by_old:
            raise UnknownKeyError(
                f"not signed by a root key of {old.root.name}", subject=where,
                hint="it may be another proposal, or one for a version that is not installed here",
            )  # fmt: skip
        new = TrustRoot.parse(envelope.payload, where)
        check_follows(old.root, new, where)
        by_new, _ = root_signers(envelope, new)
        if len({*by_old, *by_new}) != len(envelope.signatures):
            want = f"signatures by root keys of versions {old.root.version} and {new.version} only"
            raise TrustError("a signature is not valid", subject=where, want=want)
        return cls(old, new, envelope)

    @classmethod
    def make(cls, old: SignedRoot, new: TrustRoot, first: Signer) -> Self:
        """Make a proposal that `first` signs. Raises `UnknownKeyError` if that is not a root key of `old`."""
        if first.public_key.keyid not in old.root.roles["root"].keyids:
            raise UnknownKeyError("this key may not sign trust roots", subject=first.public_key.keyid)
        return cls(old, new, Envelope.sign(ROOT_TYPE, new.to_bytes(), [first]))

    def signed(self, signer: Signer) -> "Proposal":
        """Return the proposal with one more signature. Raises as `with_signature` of `Envelope`."""
        if signer.public_key.keyid not in self.eligible:
            raise UnknownKeyError("this key may not sign this trust root", subject=signer.public_key.keyid)
        return Proposal(self.old, self.new, self.envelope.with_signature(signer))

    @property
    def eligible(self) -> frozenset[str]:
        """The keys whose signatures count, for the old version, the new one, or both."""
        return self.old.root.roles["root"].keyids | self.new.roles["root"].keyids

    @property
    def signers(self) -> frozenset[str]:
        """The keys that have signed."""
        return frozenset(
            {*root_signers(self.envelope, self.old.root)[0], *root_signers(self.envelope, self.new)[0]}
        )

    def key_title(self, keyid: str) -> str:
        """Return `TrustRoot.key_title` for a key of either version."""
        return (self.new if keyid in self.new.keys else self.old.root).key_title(keyid)

    @property
    def wants(self) -> tuple[str, ...]:
        """What is still needed, for each of the two versions; empty when the proposal is complete."""
        lacks = ((root, root_signers(self.envelope, root)[1]) for root in (self.old.root, self.new))
        return tuple(f"by {root.name}: {lack}" for root, lack in lacks if lack)

    @property
    def who(self) -> tuple[str, ...]:
        """The owners of keys that can still sign."""
        keys = {**self.new.keys, **self.old.root.keys}
        return tuple(sorted({keys[keyid].owner for keyid in self.eligible - self.signers}))

    def complete(self) -> SignedRoot:
        """Return the signed root, once it is complete. Raises as `SignedRoot.successor`."""
        return self.old.successor(self.envelope.to_bytes(), f"{self.new.version}.root.json")
