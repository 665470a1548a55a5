from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from airgap.errors import (
    AirgapError,
    ExpiredError,
    SignatureMismatchError,
    ThresholdError,
    TrustError,
    UnknownKeyError,
)
from airgap.trust.document import Revocation, RootKey, TrustRoot
from airgap.trust.envelope import STATEMENT_TYPE, Envelope, Signature
from airgap.trust.keys import PublicKey
from airgap.trust.policy import (
    check_revocations,
    check_root_signatures,
    check_signatures,
    check_signatures_so_far,
    counted_keys,
    lacks,
)
from tests.unit.trust.support import DAY, NOW, PAYLOAD, key, keyid, make_root, signed, with_key

STATEMENT = "c" * 64


def ids(*names):
    return tuple(sorted(keyid(name) for name in names))


def sig(name: str, keyid_hint: str | None = None, payload: bytes = PAYLOAD) -> Signature:
    """A signature of `name` under any key id."""
    real = signed(name, payload=payload).signatures[0]
    return real if keyid_hint is None else replace(real, keyid=keyid_hint)


def envelope(*signatures: Signature) -> Envelope:
    return Envelope(STATEMENT_TYPE, PAYLOAD, signatures)


def twin(name: str, hint: str) -> Signature:
    """The other signature (r, n - s) that everybody can make of an ECDSA signature."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = decode_dss_signature(sig(name).sig)
    return Signature(hint, encode_dss_signature(r, n - s))


# -- the table of thresholds -----------------------------------------------------------------------


@dataclass
class Case:
    envelope: Envelope
    root: TrustRoot
    counted: tuple[str, ...] = ()
    error: type[AirgapError] | None = None
    message: str = ""
    ignored: tuple[str, ...] = ()
    when: Callable = field(default=lambda: NOW)


ONE = make_root("alice", "bob")
TWO = make_root("alice", "bob", "carol", threshold=2)
PEOPLE = make_root(
    "alice", "alice2", "bob", threshold=2, distinct_owners=True, owners={"alice": "Alice", "alice2": "alice"}
)
TWICE = {**PEOPLE.roles, "release": replace(PEOPLE.roles["release"], distinct_owners=False)}
JUNK = Signature("", b"junk")

CASES = {
    "one of one": Case(signed("alice"), ONE, ids("alice")),
    "both of one": Case(signed("alice", "bob"), ONE, ids("alice", "bob")),
    "two of two": Case(signed("carol", "alice"), TWO, ids("alice", "carol")),
    "one of two": Case(signed("alice"), TWO, error=ThresholdError, message=r"want 2 of 3 keys with the role release, got 1 \(alice \w+\)$"),
    "a stranger": Case(signed("mallory"), ONE, error=UnknownKeyError, message="not signed by a key that has the role"),
    "the key of another role": Case(signed("site"), ONE, error=UnknownKeyError, message="the role release"),
    "the root key": Case(signed("root"), ONE, error=UnknownKeyError),
    "a stranger beside": Case(signed("alice", "mallory"), ONE, ids("alice"), ignored=ids("mallory")),
    "a stranger does not fill up": Case(signed("alice", "mallory"), TWO, error=ThresholdError),
    "one key twice, under two ids": Case(
        envelope(sig("alice"), twin("alice", "x")), TWO, error=ThresholdError, message=r"got 1 \(alice"
    ),
    "one key twice, the second as another": Case(
        envelope(sig("alice"), twin("alice", keyid("bob"))), TWO, error=SignatureMismatchError, message="bob"
    ),
    "one key twice, without ids": Case(
        envelope(replace(sig("alice"), keyid=""), twin("alice", "")), TWO, error=UnknownKeyError
    ),
    "the twin of a signature counts once": Case(
        envelope(sig("alice"), twin("alice", "x"), sig("bob")), TWO, ids("alice", "bob"), ignored=("x",)
    ),
    "no key id": Case(envelope(sig("alice", "")), ONE, error=UnknownKeyError),
    "a wrong key id": Case(envelope(sig("alice", keyid("bob"))), ONE, error=SignatureMismatchError, message="bob"),
    "a stranger's key id": Case(envelope(sig("alice", keyid("mallory"))), ONE, error=UnknownKeyError),
    "one digit of a key id": Case(
        envelope(sig("alice", keyid("alice")[:-1] + "x"), sig("bob")), TWO, error=ThresholdError
    ),
    "key ids swapped": Case(
        envelope(sig("alice", keyid("bob")), sig("bob", keyid("alice"))), TWO, error=SignatureMismatchError
    ),
    "a stranger in the name of alice": Case(
        envelope(sig("mallory", keyid("alice"))), ONE, error=SignatureMismatchError, message=r"\(alice "
    ),
    "a stranger in the name of alice, and she": Case(
        envelope(sig("mallory", keyid("alice")), sig("alice", "")), ONE, error=SignatureMismatchError
    ),
    "alice as bob, a stranger as alice": Case(
        envelope(sig("alice", keyid("bob")), sig("mallory", keyid("alice"))), TWO, error=SignatureMismatchError
    ),
    "another payload": Case(
        envelope(sig("alice", payload=b"other")), ONE, error=SignatureMismatchError, message="does not match"
    ),
    "another payload, no key id": Case(envelope(sig("alice", "", b"other")), ONE, error=UnknownKeyError),
    "another payload type": Case(
        replace(signed("alice"), payload_type="text/plain"), ONE, error=SignatureMismatchError
    ),
    "one holds, one does not, one wanted": Case(
        envelope(sig("alice"), sig("bob", payload=b"other")), ONE, ids("alice"), ignored=ids("bob")
    ),
    "one holds, one does not, two wanted": Case(
        envelope(sig("alice"), sig("bob", payload=b"other")), TWO, error=SignatureMismatchError, message="bob"
    ),
    "junk before": Case(envelope(JUNK, sig("alice")), ONE, ids("alice"), ignored=("",)),
    "63 unknown ones before": Case(
        envelope(*(Signature(f"{i}", b"%d" % i) for i in range(63)), sig("alice")),
        ONE, ids("alice"), ignored=tuple(f"{i}" for i in range(63)),
    ),
    "two owners": Case(signed("alice", "bob"), PEOPLE, ids("alice", "bob")),
    "two keys of one owner": Case(
        signed("alice", "alice2"), PEOPLE, error=ThresholdError, message="2 of 3 keys of different owners .*, got 1"
    ),
    "two keys of one owner, who may sign twice": Case(
        signed("alice", "alice2"), replace(PEOPLE, roles=TWICE), ids("alice", "alice2")
    ),
    "three keys of two owners": Case(signed("alice", "alice2", "bob"), PEOPLE, ids("alice", "alice2", "bob")),
    "a key past its time": Case(
        signed("alice"), with_key(ONE, "alice", not_after=NOW - DAY), error=ThresholdError,
        message="got none; outside their validity period: alice",
    ),
    "a key before its time": Case(
        signed("alice"), with_key(ONE, "alice", not_before=NOW + DAY), error=ThresholdError, message="outside"
    ),
    "a key at its first moment": Case(signed("alice"), with_key(ONE, "alice", not_before=NOW), ids("alice")),
    "a key at its last moment": Case(signed("alice"), with_key(ONE, "alice", not_after=NOW), ids("alice")),
    "a key past its time beside a good one": Case(
        signed("alice", "bob"), with_key(ONE, "alice", not_after=NOW - DAY), ids("bob"), ignored=ids("alice")
    ),
    "a key past its time does not fill up": Case(
        signed("alice", "bob"), with_key(TWO, "alice", not_after=NOW - DAY), error=ThresholdError,
        message=r"got 1 \(bob .*\); outside their validity period: alice",
    ),
    "the root at its last moment": Case(
        signed("alice"), replace(ONE, expires=NOW), error=ExpiredError, message="the trust root has expired"
    ),
    "the root a second before": Case(signed("alice"), ONE, ids("alice"), when=lambda: ONE.expires - DAY / 86400),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_threshold(case):
    if case.error is None:
        verdict = check_signatures(case.envelope, case.root, "release", case.when())
        assert verdict.keyids == case.counted
        assert verdict.owners == case.root.owners(case.counted)
        assert verdict.ignored == case.ignored
        assert (verdict.role, verdict.root_version) == ("release", case.root.version)
        assert verdict.threshold == case.root.roles["release"].threshold
        return
    with pytest.raises(case.error, match=case.message or "signe|signature") as caught:
        check_signatures(case.envelope, case.root, "release", case.when(), "bundle.dsse.json")
    assert type(caught.value) is case.error
    assert caught.value.exit_code == (14 if case.error is ExpiredError else 13)
    if case.error is not ExpiredError:
        assert caught.value.subject == "bundle.dsse.json"


def test_remedies_are_told():
    for case in ("the root at its last moment", "a stranger", "another payload"):
        with pytest.raises(AirgapError) as caught:
            check_signatures(CASES[case].envelope, CASES[case].root, "release", NOW)
        assert caught.value.hint


def test_receipts_have_their_own_role():
    assert check_signatures(signed("site"), ONE, "receipt", NOW).keyids == ids("site")
    with pytest.raises(UnknownKeyError):
        check_signatures(signed("alice"), ONE, "receipt", NOW)


def test_root_signatures_ask_for_no_time():
    root = with_key(replace(ONE, expires=NOW - DAY), "root", not_after=NOW - DAY)
    assert check_root_signatures(signed("root"), root, "r").keyids == ids("root")


@pytest.mark.parametrize("hint", ["x{}", "known", ""])
def test_false_signatures_cost_few_checks(monkeypatch, hint):
    """64 of them and 64 keys were 4,096 checks, of which each hashes a payload of up to 12 MiB."""
    checks = []
    monkeypatch.setattr(PublicKey, "verify", lambda *arguments: bool(checks.append(arguments)))
    people = [replace(key("alice").public_key, keyid=f"{n:064x}") for n in range(64)]
    keys = {one.keyid: RootKey(one, "alice") for one in people}
    role = replace(ONE.roles["release"], keyids=frozenset(keys))
    root = replace(ONE, keys={**ONE.keys, **keys}, roles={**ONE.roles, "release": role})
    named = [people[n].keyid if hint == "known" else hint.format(n) for n in range(64)]
    false = [Signature(name, b"%d" % n) for n, name in enumerate(named)]
    with pytest.raises(TrustError):
        check_signatures(envelope(*false), root, "release", NOW)
    assert len(checks) <= 64


# -- while further people have to sign ------------------------------------------------------------


def test_fewer_signatures_than_the_threshold_are_accepted_so_far():
    one = check_signatures_so_far(signed("alice"), TWO, "release", NOW)
    assert (one.keyids, one.owners, one.ignored) == (ids("alice"), ("alice",), ())
    assert lacks(one, TWO) == "2 of 3 keys with the role release"
    assert check_revocations(one, TWO, 9, STATEMENT) == one
    two = check_signatures_so_far(signed("carol", "alice"), TWO, "release", NOW)
    assert (two.keyids, lacks(two, TWO)) == (ids("alice", "carol"), None)


UNCOUNTED = "a signature that does not count: f, want signatures by keys with the role release only, got '{}'"


@pytest.mark.parametrize(
    ("envelope", "root", "error", "words"),
    [
        (signed("alice", "mallory"), TWO, UnknownKeyError, UNCOUNTED.format(keyid("mallory")[:16])),
        (
            signed("alice", "bob"), with_key(TWO, "bob", not_after=NOW - DAY), UnknownKeyError,
            UNCOUNTED.format(keyid("bob")[:16]),
        ),
        (signed("mallory"), TWO, UnknownKeyError, "not signed by a key that has the role release"),
        (envelope(sig("alice"), sig("bob", payload=b"other")), TWO, SignatureMismatchError, "does not match"),
        (signed("alice"), replace(TWO, expires=NOW), ExpiredError, "the trust root has expired"),
    ],
    ids=["a stranger", "a key that has ended", "only a stranger", "another payload", "an expired root"],
)  # fmt: skip
def test_every_signature_so_far_has_to_count(envelope, root, error, words):
    with pytest.raises(error) as caught:
        check_signatures_so_far(envelope, root, "release", NOW, "f")
    assert words in str(caught.value)


def test_keys_that_count_are_of_the_role_and_within_their_time():
    root = with_key(TWO, "bob", not_after=NOW - DAY)
    assert counted_keys(signed("alice", "bob", "mallory"), root, "release", NOW) == {keyid("alice")}


# -- required algorithms ---------------------------------------------------------------------------


def mixed_root(*required: str) -> TrustRoot:
    """Alice may sign with each of three algorithms, and roots too."""
    people = [key("alice"), key("alice", "ecdsa-p384"), key("alice", "ml-dsa-65")]
    keys = {one.public_key.keyid: RootKey(one.public_key, "alice") for one in people}
    root = make_root("alice")
    both = replace(root.roles["release"], keyids=frozenset(keys))
    return replace(
        root,
        keys={**root.keys, **keys},
        roles={**root.roles, "root": both, "release": both},
        require_algorithms=required,
    )


@pytest.mark.parametrize(
    ("required", "used", "missing"),
    [
        ([], ["ecdsa-p256"], None),
        (["ecdsa"], ["ecdsa-p256"], None),
        (["ecdsa"], ["ecdsa-p384"], None),
        (["ecdsa-p384"], ["ecdsa-p256"], "ecdsa-p384"),
        (["ecdsa-p384"], ["ecdsa-p256", "ecdsa-p384"], None),
        (["ml-dsa"], ["ecdsa-p256"], "ml-dsa"),
        (["ecdsa"], ["ml-dsa-65"], "ecdsa"),
        (["ecdsa", "ml-dsa"], ["ml-dsa-65"], "ecdsa"),
        (["ecdsa", "ml-dsa"], ["ml-dsa-65", "ecdsa-p256"], None),
        (["ecdsa", "ecdsa-p384"], ["ecdsa-p384"], None),
        (["ml-dsa", "ecdsa-p384"], ["ecdsa-p256"], "ml-dsa and ecdsa-p384"),
    ],
)
@pytest.mark.parametrize("role", ["release", "root"])
def test_required_algorithms(required, used, missing, role):
    root = mixed_root(*required)
    found = Envelope.sign(STATEMENT_TYPE, PAYLOAD, [key("alice", each) for each in used])
    if missing is None:
        assert len(check_signatures(found, root, role, NOW).keyids) == len(used)
        return
    with pytest.raises(ThresholdError, match=f"want a signature by a key of {missing}, got alice"):
        check_signatures(found, root, role, NOW)


def test_a_required_algorithm_out_of_its_time_is_missing():
    root = mixed_root("ml-dsa")
    late = key("alice", "ml-dsa-65").public_key.keyid
    root = replace(root, keys={**root.keys, late: replace(root.keys[late], not_after=NOW - DAY)})
    found = Envelope.sign(STATEMENT_TYPE, PAYLOAD, [key("alice"), key("alice", "ml-dsa-65")])
    with pytest.raises(ThresholdError, match=r"key of ml-dsa, .*; outside their validity period"):
        check_signatures(found, root, "release", NOW)


def test_receipts_need_no_second_algorithm():
    assert check_signatures(signed("site"), mixed_root("ml-dsa"), "receipt", NOW).keyids == ids("site")


# -- revocation ------------------------------------------------------------------------------------


def revoked(root: TrustRoot, name: str, after: int, *accepted: str) -> TrustRoot:
    return replace(root, revoked={keyid(name): Revocation(after, frozenset(accepted))})


@pytest.mark.parametrize(
    ("root", "names", "serial", "counted"),
    [
        (ONE, "alice", 9, "alice"),
        (revoked(ONE, "mallory", 0), "alice", 9, "alice"),
        (revoked(ONE, "alice", 5), "alice", 5, "alice"),
        (revoked(ONE, "alice", 5), "alice", 6, None),
        (revoked(ONE, "alice", 0), "alice", 1, None),
        (revoked(ONE, "alice", 0, STATEMENT), "alice", 6, "alice"),
        (revoked(ONE, "alice", 0, "d" * 64), "alice", 6, None),
        (revoked(ONE, "alice", 5), "alice bob", 6, "bob"),
        (revoked(TWO, "alice", 5), "alice bob", 6, None),
        (revoked(TWO, "alice", 5), "alice bob carol", 6, "bob carol"),
        (revoked(PEOPLE, "bob", 5), "alice alice2 bob", 6, None),
    ],
)
def test_revocation(root, names, serial, counted):
    verdict = check_signatures(signed(*names.split()), root, "release", NOW)
    if counted is None:
        with pytest.raises(TrustError, match=r"signed by a revoked key \(") as caught:
            check_revocations(verdict, root, serial, STATEMENT, "bundle 6")
        assert (caught.value.exit_code, caught.value.subject) == (13, "bundle 6")
        return
    found = check_revocations(verdict, root, serial, STATEMENT)
    assert found.keyids == ids(*counted.split())
    assert found.owners == root.owners(found.keyids)
    assert found.signers == tuple(map(root.key_title, found.keyids))
    assert set(found.ignored) == set(verdict.keyids) - set(found.keyids)


def test_the_revoked_key_is_named():
    root = revoked(ONE, "alice", 5)
    with pytest.raises(
        TrustError, match=rf"\(alice {keyid('alice')[:16]}\): .*, want 1 of 2 keys .*, got none"
    ):
        check_revocations(check_signatures(signed("alice"), root, "release", NOW), root, 6, STATEMENT)


def test_a_required_algorithm_may_be_what_is_revoked():
    root = mixed_root("ecdsa", "ml-dsa")
    quantum = key("alice", "ml-dsa-65").public_key.keyid
    keyids = root.roles["root"].keyids - {quantum} | {key("root", "ml-dsa-65").public_key.keyid}
    other = key("root", "ml-dsa-65").public_key
    root = replace(
        root,
        keys={**root.keys, other.keyid: RootKey(other, "root")},
        roles={**root.roles, "root": replace(root.roles["root"], keyids=keyids)},
        revoked={quantum: Revocation(1, frozenset())},
    )
    found = Envelope.sign(STATEMENT_TYPE, PAYLOAD, [key("alice"), key("alice", "ml-dsa-65")])
    with pytest.raises(TrustError, match="want a signature by a key of ml-dsa"):
        check_revocations(check_signatures(found, root, "release", NOW), root, 2, STATEMENT)
