"""The trust root as a signed file `<n>.root.json`, and the walk from one version to the next.

The walk is that of the TUF specification 5.3: each version names its successor by signing it. The first
one is installed by hand, with its fingerprint compared.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Self

from airgap.errors import FormatError, TrustError
from airgap.limits import MAX_EPOCH_RISE, MAX_ROOT_STEPS
from airgap.trust.document import ReceivingSite, Revocation, Role, RootKey, TrustRoot
from airgap.trust.envelope import ROOT_TYPE, Envelope
from airgap.trust.keys import PublicKey
from airgap.trust.policy import check_root_signatures
from airgap.trust.recall import refuse_dropped
from airgap.values import dataclass

__all__ = [
    "ReceivingSite",
    "Revocation",
    "Role",
    "RootKey",
    "SignedRoot",
    "TrustRoot",
    "new_root",
    "walk_roots",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class SignedRoot:
    """A root that the threshold of its own keys signed. That alone does not make it trusted."""

    root: TrustRoot
    envelope: Envelope
    raw: bytes

    @classmethod
    def parse(cls, raw: bytes, where: str) -> Self:
        """Read the bytes of a root file.

        Raises `FormatError` for a malformed or another kind of document, a `TrustError` if the root is not
        signed by the threshold of its own root role. Times are not checked.
        """
        return cls._of(_open(raw, where), raw, where)

    @classmethod
    def _of(cls, envelope: Envelope, raw: bytes, where: str) -> Self:
        root = TrustRoot.parse(envelope.payload, where)
        check_root_signatures(envelope, root, f"{where} by its own keys")
        return cls(root, envelope, raw)

    @property
    def fingerprint(self) -> str:
        """The hex SHA-256 of the file, to compare over another channel; `sha256sum` prints it too."""
        return hashlib.sha256(self.raw).hexdigest()

    def successor(self, raw: bytes, where: str) -> "SignedRoot":
        """Return the next version, from the bytes of a root file that both this root and the new one signed.

        Only the envelope in `raw` is parsed before the signatures by this root's keys are verified. Raises as
        `parse` does, and `TrustError` for a version that is not the next one, for an epoch that decreases, or
        increases by more than `MAX_EPOCH_RISE`, for a revocation that is dropped or weakened, for a recall
        that is dropped or changed, and for a new epoch in which the root still gives a role to a key that is
        revoked from a serial on: serials start again with each epoch, so the key would be valid again.
        """
        envelope = _open(raw, where)
        check_root_signatures(envelope, self.root, f"{where} by the keys of {self.root.name}")
        new = SignedRoot._of(envelope, raw, where)
        check_follows(self.root, new.root, where)
        return new


def check_follows(old: TrustRoot, new: TrustRoot, where: str) -> None:
    """Raise `TrustError` unless `new` may follow `old`: see `SignedRoot.successor`. Ignores signatures."""
    if new.version != old.version + 1:
        raise TrustError(
            "wrong version of the trust root", subject=where, want=old.version + 1, got=new.version
        )
    if new.epoch < old.epoch:
        raise TrustError("the epoch decreases", subject=where, want=f"at least {old.epoch}", got=new.epoch)
    if new.epoch > old.epoch + MAX_EPOCH_RISE:
        want = f"at most {old.epoch + MAX_EPOCH_RISE}"
        raise TrustError("the epoch increases too much", subject=where, want=want, got=new.epoch)
    _refuse_weaker_revocations(old, new, where)
    refuse_dropped(old.recalled, new.recalled, where)
    if new.epoch > old.epoch:
        _refuse_revived_keys(new, where)


def walk_roots(installed: SignedRoot, candidates: Mapping[int, bytes]) -> list[SignedRoot]:
    """Return the roots after `installed`, in order, each a `successor` of the one before.

    Expired roots are accepted during the walk; the caller must check the expiry of the last one
    (`policy.check_signatures` does).

    Args:
        installed: The root from which the walk starts.
        candidates: Root files by version, as found on a medium. The walk ends at a missing version, or after
            `MAX_ROOT_STEPS`.

    Raises:
        AirgapError: As `SignedRoot.successor`: a bad candidate is an attack or a damaged medium, and the
            versions after it cannot be trusted.
    """
    successors: list[SignedRoot] = []
    last = installed
    while len(successors) < MAX_ROOT_STEPS and (raw := candidates.get(last.root.version + 1)) is not None:
        last = last.successor(raw, f"{last.root.version + 1}.root.json")
        successors.append(last)
    return successors


def new_root(
    owner: str,
    key: PublicKey,
    site: str,
    site_key: PublicKey,
    *,
    expires: datetime,
    spare: PublicKey | None = None,
) -> TrustRoot:
    """Make version 1 for one owner and one site. Raises `FormatError` for invalid names.

    Each threshold is 1.

    Args:
        owner: The owner of `key`.
        key: The key that signs roots and bundles.
        site: The name of the site.
        site_key: The site's own key, which signs its receipts.
        expires: The time from which the root no longer counts.
        spare: A second key of the owner, which signs roots but no bundles.
    """
    release = Role(frozenset({key.keyid}), 1, distinct_owners=False)
    spares = {spare.keyid: RootKey(spare, owner)} if spare else {}
    receipt = Role(frozenset({site_key.keyid}), 1, distinct_owners=False)
    return TrustRoot(
        version=1,
        epoch=1,
        expires=expires.replace(microsecond=0),
        keys={site_key.keyid: RootKey(site_key, site), key.keyid: RootKey(key, owner), **spares},
        roles={
            "root": replace(release, keyids=release.keyids | spares.keys()),
            "release": release,
            "receipt": receipt,
        },
        sites={site: ReceivingSite(receipt.keyids)},
    )


def _open(raw: bytes, where: str) -> Envelope:
    envelope = Envelope.parse(raw, where)
    if envelope.payload_type != ROOT_TYPE:
        raise FormatError("not a trust root", subject=where, want=ROOT_TYPE, got=envelope.payload_type)
    return envelope


def _refuse_weaker_revocations(old: TrustRoot, new: TrustRoot, where: str) -> None:
    """Raise if a revocation is missing or weaker: it stays in every later version, even if its key is gone.

    Otherwise a later version could add the key again, and everything that a thief signed with it would count.
    """
    for keyid, before in sorted(old.revoked.items()):
        now = new.revoked.get(keyid)
        if now is None or now.after_serial > before.after_serial:
            raise TrustError(
                "a revocation must not be weakened or dropped", subject=f"{where}: revoked {keyid}",
                want=f"void above serial {before.after_serial} or below",
                got="no revocation" if now is None else f"void above serial {now.after_serial}",
            )  # fmt: skip


def _refuse_revived_keys(root: TrustRoot, where: str) -> None:
    for name, role in root.roles.items():
        for keyid in sorted(role.keyids & root.revoked.keys()):
            if root.revoked[keyid].after_serial > 0:
                raise TrustError(
                    "a new epoch must not give a role to a revoked key",
                    subject=f"{where}: role {name}",
                    got=keyid,
                )
