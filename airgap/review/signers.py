"""Who signed a bundle, with which keys."""

from collections.abc import Iterable, Mapping

from airgap.audit.record import Outcome
from airgap.audit.report import LedgerEntry
from airgap.review.records import Kept, Sealed
from airgap.trust.document import TrustRoot
from airgap.trust.policy import counted_keys


def signing_keys(
    sealed: Sealed, roots: Mapping[int, TrustRoot], entries: Iterable[LedgerEntry]
) -> tuple[str, ...]:
    """Return the ids of the keys that signed a bundle: those whose signatures counted when it was sealed
    here, and those that signed it later, as `entries` of the ledger say.
    """
    root, envelope = roots.get(sealed.statement.root_version), sealed.envelope
    keyids: list[str] = []
    if root is not None and envelope is not None:
        keyids = sorted(counted_keys(envelope, root, "release", sealed.statement.created))
    later = (
        str(entry.details.get("key"))
        for entry in entries
        if (entry.event, entry.result) == ("sign", Outcome.OK)
    )
    return tuple(dict.fromkeys((*keyids, *later)))


def describe_key(keyid: str, root: TrustRoot | None) -> str:
    """Return `alice, key 1a2b3c4d5e6f7a8b (ecdsa-p256)`."""
    key = root.keys.get(keyid) if root is not None else None
    if key is None:
        return f"unknown key {keyid[:16]}"
    return f"{key.owner}, key {keyid[:16]} ({key.public_key.algorithm})"


def owners_of(kept: Kept) -> dict[str, tuple[str, ...]]:
    """Return the owners of the keys that signed each bundle when it was sealed here, by the SHA-256 of its
    statement.
    """
    found = {}
    for sealed in kept.sealed:
        root = kept.roots.get(sealed.statement.root_version)
        found[sealed.statement_sha256] = root.owners(signing_keys(sealed, kept.roots, ())) if root else ()
    return found
