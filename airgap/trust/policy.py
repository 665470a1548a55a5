"""Whether enough of the right people signed (DESIGN §4, "Threshold"). Rules only: no I/O, no clock."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from airgap.errors import ExpiredError, SignatureMismatchError, ThresholdError, TrustError, UnknownKeyError
from airgap.times import format_time
from airgap.trust.document import TrustRoot
from airgap.trust.envelope import Envelope

_ADDS = {"root": "`airgap trust sign FILE` adds a signature", "release": "`airgap sign` adds one"}
"""How a role gets the signatures that it lacks."""

MAX_ATTEMPTS = 64
"""Signature checks spent on signatures whose key id names no key of the role, or the wrong one. One over the
largest payload takes some 20 ms, and the file may come from anybody.
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whose signatures count. `keyids` and `owners` are sorted.

    `ignored` has the key id, as the envelope states it (so proving nothing), of each signature that
    did not count.
    """

    role: str
    root_version: int
    threshold: int
    keyids: tuple[str, ...]
    owners: tuple[str, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Count:
    """The signatures of an envelope, sorted."""

    held: dict[str, str]
    """Key of the role whose signature holds -> the key id that the envelope states."""
    late: tuple[str, ...]
    """Those of `held` that are outside their time."""
    failed: tuple[str, ...]
    """Stated key ids of the signatures that hold under no key of the role."""


def check_signatures(
    envelope: Envelope, root: TrustRoot, role: str, now: datetime, where: str = "signatures"
) -> Verdict:
    """The verdict on `envelope`, when enough keys of `role` signed it by what `root` says at `now`.

    A key counts when the role has it, `now` is within its time and one signature holds under it;
    it counts once, however often and under whatever key ids it signed. Where the role wants distinct
    owners, owners are counted in place of keys. For the roles `root` and `release` each entry of
    `require_algorithms` must be met by at least one counted key: an algorithm (`ecdsa-p256`) by a key of
    exactly that, a family (`ecdsa`) by a key of any in it; one key may meet several. Receipts are
    exempt: one site answers with one key.

    Raises `ExpiredError` for a root past its time, `UnknownKeyError` when nothing is signed by a key of
    the role, `SignatureMismatchError` when the threshold is missed and a signature that names a key of
    the role does not hold, else `ThresholdError`. Revocations are not checked: see `check_revocations`.
    """
    _refuse_expired(root, now)
    return _judge(envelope, root, role, where, now)


def check_signatures_so_far(
    envelope: Envelope, root: TrustRoot, role: str, now: datetime, where: str = "signatures"
) -> Verdict:
    """As `check_signatures`, while others are still to sign: the threshold and the algorithms may be missed,
    but every signature must count.
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
    keyids = tuple(sorted(count.held))
    return Verdict(role, root.version, root.roles[role].threshold, keyids, root.owners(keyids), ())


def lacks(verdict: Verdict, root: TrustRoot) -> str | None:
    """What is wanted beside the keys of `verdict`; None when they are enough."""
    lack = _lack(root, verdict.role, verdict.keyids)
    return None if lack is None else lack[0]


def _refuse_expired(root: TrustRoot, now: datetime) -> None:
    if now >= root.expires:
        raise ExpiredError(
            "the trust root has expired", subject=root.name,
            want=f"use before {format_time(root.expires)}", got=format_time(now),
            hint="install a newer trust root: airgap trust install",
        )  # fmt: skip


def check_root_signatures(envelope: Envelope, root: TrustRoot, where: str) -> Verdict:
    """As `check_signatures` for the role `root`, at no time: for walking along roots of the past.

    Neither the expiry of the root nor the times of its keys are looked at (TUF 5.3: an expired
    root may still name its successor). Raises a `TrustError`.
    """
    return _judge(envelope, root, "root", where, None)


def root_signers(envelope: Envelope, root: TrustRoot) -> tuple[tuple[str, ...], str | None]:
    """The keys of the role `root` whose signatures hold, sorted, and what is wanted besides; None when these
    are enough. For what is on its way to be signed: `check_root_signatures` judges.
    """
    held = tuple(sorted(_count(envelope, root, "root", None).held))
    lack = _lack(root, "root", held)
    return held, lack and f"{lack[0]}, got {lack[1]}"


def check_revocations(
    verdict: Verdict, root: TrustRoot, serial: int, statement_sha256: str, where: str = "signatures"
) -> Verdict:
    """The verdict without the keys that `root` has revoked for this statement.

    A revoked key is void for serials above its `after_serial`, except for the statements listed as
    accepted (by hex SHA-256 of their bytes). Raises `TrustError`, naming the keys, when what is left
    misses the threshold. `verdict` must be one on this statement, by this root.
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
    return replace(verdict, keyids=left, owners=root.owners(left), ignored=(*verdict.ignored, *void))


def _judge(envelope: Envelope, root: TrustRoot, role: str, where: str, now: datetime | None) -> Verdict:
    count = _count(envelope, root, role, now)
    counted = tuple(sorted(count.held.keys() - set(count.late)))
    if (lack := _lack(root, role, counted)) is not None:
        raise _refusal(root, role, where, count, lack)
    ignored = (*count.failed, *(count.held[keyid] for keyid in count.late))
    return Verdict(
        role, root.version, root.roles[role].threshold, counted, root.owners(counted), ignored
    )  # fmt: skip


def _count(envelope: Envelope, root: TrustRoot, role: str, now: datetime | None) -> _Count:
    """Try each signature with the key that it names, then the rest with all keys that are left."""
    message, keyids = envelope.message, root.roles[role].keyids
    held: dict[str, str] = {}
    rest = []
    for signature in envelope.signatures:
        keyid = signature.keyid
        if keyid in keyids and root.keys[keyid].public_key.verify(message, signature.sig):
            held[keyid] = keyid
        else:
            rest.append(signature)
    failed = []
    attempts = MAX_ATTEMPTS
    for signature in rest:
        left = sorted(keyids - held.keys())[:attempts]
        attempts -= len(left)
        found = (keyid for keyid in left if root.keys[keyid].public_key.verify(message, signature.sig))
        if (by := next(found, None)) is None:
            failed.append(signature.keyid)
        else:
            held[by] = signature.keyid
    late = () if now is None else tuple(sorted(k for k in held if not root.keys[k].counts_at(now)))
    return _Count(held, late, tuple(failed))


def _lack(root: TrustRoot, role: str, keyids: Iterable[str]) -> tuple[str, str] | None:
    """What is wanted and what is there, when these keys do not satisfy the role."""
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
    """The error that tells best why the role is not satisfied."""
    want, got = lack
    known = [keyid for keyid in count.failed if keyid in root.roles[role].keyids and keyid not in count.held]
    if known:
        return SignatureMismatchError(
            f"a signature does not fit the signed bytes ({_named(root, known)})",
            subject=where, want=want, got=got,
            hint="the file was changed after signing, or damaged: get it again",
        )  # fmt: skip
    if not count.held:
        return UnknownKeyError(
            f"signed by no key that {root.name} gives the role {role}", subject=where, want=want,
            got=", ".join(repr(keyid[:16]) for keyid in count.failed),
            hint="compare the signer's fingerprint, or install the newer trust root that names the key",
        )  # fmt: skip
    if count.late:
        got += f"; outside their time: {_named(root, count.late)}"
    return ThresholdError("too few signatures", subject=where, want=want, got=got, hint=_ADDS.get(role))


def _named(root: TrustRoot, keyids: Iterable[str]) -> str:
    return ", ".join(f"{root.keys[keyid].owner} {keyid[:16]}" for keyid in keyids)
