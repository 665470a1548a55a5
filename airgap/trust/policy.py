"""Checks whether enough of the right people signed. Rules only: no I/O, no clock."""

from collections.abc import Collection, Iterable
from dataclasses import field, replace
from datetime import datetime

from airgap.errors import ExpiredError, SignatureMismatchError, ThresholdError, TrustError, UnknownKeyError
from airgap.times import format_time
from airgap.trust.document import TrustRoot
from airgap.trust.envelope import Envelope, Signature
from airgap.values import dataclass

_ADDS = {"root": "run `airgap trust sign FILE` to add a signature", "release": "run `airgap sign` to add one"}
"""The command that adds a signature for a role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureVerdict:
    """The keys whose signatures count. `keyids` and `owners` are sorted.

    `ignored` has the key id of each signature that did not count. The envelope states these ids; they prove
    nothing.
    """

    role: str
    root_version: int
    threshold: int
    keyids: tuple[str, ...]
    owners: tuple[str, ...]
    ignored: tuple[str, ...]
    signers: tuple[str, ...] = field(default=(), compare=False)
    """The owner and the first digits of the id of each of `keyids`, for people."""


@dataclass(frozen=True, slots=True)
class _Count:
    """The signatures of an envelope, sorted by whether they count."""

    valid: dict[str, Signature]
    """The signatures that are valid under the key of the role that they name, by key id."""
    late: tuple[str, ...]
    """The keys in `valid` that are outside their validity period."""
    failed: tuple[str, ...]
    """The stated key ids of all other signatures."""


def check_signatures(
    envelope: Envelope, root: TrustRoot, role: str, now: datetime, where: str = "signatures"
) -> SignatureVerdict:
    """Return the verdict on `envelope` if enough keys of `role`, as `root` defines it, signed it at `now`.

    A key counts if the role has it, `now` is within its validity period, and the signature that names it is
    valid. If the role requires distinct owners, owners are counted instead of keys. For the roles `root` and
    `release`, at least one counted key must satisfy each entry of `require_algorithms`: an algorithm
    (`ecdsa-p256`) is satisfied by a key of exactly that algorithm, a family (`ecdsa`) by any key of the
    family; one key may satisfy several entries. Receipts are exempt, because a site signs with one key.

    Raises `ExpiredError` for an expired root, `UnknownKeyError` if no key of the role signed,
    `SignatureMismatchError` if the threshold is not met and a signature that names a key of the role is not
    valid, else `ThresholdError`. Revocations are not checked: see `check_revocations`.
    """
    _refuse_expired(root, now)
    return _check_role(envelope, root, role, where, now)


def check_signatures_so_far(
    envelope: Envelope, root: TrustRoot, role: str, now: datetime, where: str = "signatures"
) -> SignatureVerdict:
    """Do the same as `check_signatures` while further people have to sign: the threshold and the algorithms
    need not be met, but every signature must count.
    """
    _refuse_expired(root, now)
    count = _count(envelope, root, role, now)
    if count.failed or count.late:
        want = f"signatures by keys with the role {role} only"
        got = ", ".join(repr(keyid[:16]) for keyid in (*count.failed, *count.late))
        refusal = _refusal(root, role, where, count, (want, got))
        if not isinstance(refusal, ThresholdError):
            raise refusal
        raise UnknownKeyError("a signature that does not count", subject=where, want=want, got=got)
    keyids = tuple(sorted(count.valid))
    return SignatureVerdict(
        role=role,
        root_version=root.version,
        threshold=root.roles[role].threshold,
        keyids=keyids,
        owners=root.owners(keyids),
        ignored=(),
        signers=_titles(root, keyids),
    )


def lacks(verdict: SignatureVerdict, root: TrustRoot) -> str | None:
    """Return what is needed besides the keys of `verdict`; None if they are enough."""
    lack = _lack(root, verdict.role, verdict.keyids)
    return None if lack is None else lack[0]


def _refuse_expired(root: TrustRoot, now: datetime) -> None:
    if now >= root.expires:
        raise ExpiredError(
            "the trust root has expired", subject=root.name,
            want=f"use before {format_time(root.expires)}", got=format_time(now),
            hint="install a newer trust root: airgap trust install",
        )  # fmt: skip


def check_root_signatures(envelope: Envelope, root: TrustRoot, where: str) -> SignatureVerdict:
    """Do the same as `check_signatures` for the role `root`, but at no particular time, to walk past roots.

    Neither the expiry of the root nor the validity periods of its keys are checked (TUF 5.3: an expired root
    may still name its successor). Raises a `TrustError`.
    """
    return _check_role(envelope, root, "root", where, None)


def counted_keys(envelope: Envelope, root: TrustRoot, role: str, now: datetime) -> frozenset[str]:
    """Return the keys of `role` whose signatures count at `now`, whether or not they are enough. Revocations
    and the expiry of the root are not checked.
    """
    count = _count(envelope, root, role, now)
    return frozenset(count.valid.keys() - set(count.late))


def root_signers(envelope: Envelope, root: TrustRoot) -> tuple[tuple[str, ...], str | None]:
    """Return the keys of the role `root` with a valid signature, sorted, and what is needed besides, or None
    if they are enough. For documents that people are still signing; `check_root_signatures` decides.
    """
    signed = tuple(sorted(_count(envelope, root, "root", None).valid))
    lack = _lack(root, "root", signed)
    return signed, lack and f"{lack[0]}, got {lack[1]}"


def root_keys_suffice(root: TrustRoot, keyids: Collection[str]) -> bool:
    """Return whether signatures by these keys would be enough for the role `root`."""
    return _lack(root, "root", sorted(root.roles["root"].keyids & set(keyids))) is None


def check_revocations(
    verdict: SignatureVerdict, root: TrustRoot, serial: int, statement_sha256: str, where: str = "signatures"
) -> SignatureVerdict:
    """Return the verdict without the keys that `root` has revoked for this statement.

    A revoked key is void for serials above its `after_serial`, except for the statements that are listed as
    accepted (by the hex SHA-256 of their bytes). Raises `TrustError`, which names the keys, if the remaining
    keys do not meet the threshold. `verdict` must be about this statement and this root.
    """
    void = tuple(
        keyid
        for keyid in verdict.keyids
        if (revocation := root.revoked.get(keyid)) is not None
        and serial > revocation.after_serial
        and statement_sha256 not in revocation.accepted
    )
    if not void:
        return verdict
    left = tuple(keyid for keyid in verdict.keyids if keyid not in void)
    if (lack := _lack(root, verdict.role, left)) is not None:
        raise TrustError(
            f"signed by a revoked key ({_named(root, void)})", subject=where, want=lack[0], got=lack[1]
        )
    ignored = (*verdict.ignored, *void)
    signers = _titles(root, left)
    return replace(verdict, keyids=left, owners=root.owners(left), ignored=ignored, signers=signers)


def _check_role(
    envelope: Envelope, root: TrustRoot, role: str, where: str, now: datetime | None
) -> SignatureVerdict:
    count = _count(envelope, root, role, now)
    counted = tuple(sorted(count.valid.keys() - set(count.late)))
    if (lack := _lack(root, role, counted)) is not None:
        raise _refusal(root, role, where, count, lack)
    ignored = (*count.failed, *count.late)
    return SignatureVerdict(
        role=role,
        root_version=root.version,
        threshold=root.roles[role].threshold,
        keyids=counted,
        owners=root.owners(counted),
        ignored=ignored,
        signers=_titles(root, counted),
    )


def _count(envelope: Envelope, root: TrustRoot, role: str, now: datetime | None) -> _Count:
    """Sort the signatures: one counts only under the key that it names, so a changed key id voids it."""
    keyids = root.roles[role].keyids
    valid = {
        signature.keyid: signature
        for signature in envelope.signatures
        if signature.keyid in keyids
        and root.keys[signature.keyid].public_key.verify(envelope.message, signature.sig)
    }
    failed = tuple(signature.keyid for signature in envelope.signatures if signature.keyid not in valid)
    late = () if now is None else tuple(sorted(k for k in valid if not root.keys[k].counts_at(now)))
    return _Count(valid, late, failed)


def _lack(root: TrustRoot, role: str, keyids: Iterable[str]) -> tuple[str, str] | None:
    """Return what is needed and what was found, if these keys do not satisfy the role; else None."""
    rule, keyids = root.roles[role], tuple(keyids)
    counted = root.owners(keyids) if rule.distinct_owners else keyids
    if len(counted) < rule.threshold:
        whose = "keys of different owners" if rule.distinct_owners else "keys"
        want = f"{rule.threshold} of {len(rule.keyids)} {whose} with the role {role}"
        return want, f"{len(counted)} ({_named(root, keyids)})" if keyids else "none"
    if role != "receipt" and (missing := root.missing_algorithms(keyids)):
        return f"a signature by a key of {' and '.join(missing)}", _named(root, keyids)
    return None


def _refusal(root: TrustRoot, role: str, where: str, count: _Count, lack: tuple[str, str]) -> TrustError:
    """Return the error that explains best why the role is not satisfied."""
    want, got = lack
    known = [keyid for keyid in count.failed if keyid in root.roles[role].keyids]
    if known:
        return SignatureMismatchError(
            f"a signature does not match the signed bytes ({_named(root, known)})",
            subject=where, want=want, got=got,
            hint="the file was changed after signing, or is damaged: get it again",
        )  # fmt: skip
    if not count.valid:
        return UnknownKeyError(
            f"not signed by a key that has the role {role} in {root.name}", subject=where, want=want,
            got=", ".join(repr(keyid[:16]) for keyid in count.failed),
            hint="compare the signer's fingerprint, or install the newer trust root that names the key",
        )  # fmt: skip
    if count.late:
        got += f"; outside their validity period: {_named(root, count.late)}"
    return ThresholdError("too few signatures", subject=where, want=want, got=got, hint=_ADDS.get(role))


def _titles(root: TrustRoot, keyids: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(root.key_title, keyids))


def _named(root: TrustRoot, keyids: Iterable[str]) -> str:
    return ", ".join(_titles(root, keyids))
