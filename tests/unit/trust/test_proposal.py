from dataclasses import replace

import pytest

from airgap.errors import AirgapError, FormatError, TrustError, UnknownKeyError
from airgap.trust.change import add_key, in_turn, next_version, remove_keys, revoke_keys, set_threshold
from airgap.trust.envelope import ROOT_TYPE, STATEMENT_TYPE, Envelope, Signature
from airgap.trust.proposal import Proposal
from tests.unit.trust.support import NOW, key, keyid, make_root, signed_root


def first():
    """Root 1: alice and bob must both sign roots."""
    base = make_root("alice", "bob")
    both = in_turn(
        add_key("alice", key("alice").public_key, ["root"]),
        add_key("bob", key("bob").public_key, ["root"]),
        set_threshold("root", 2, distinct_owners=True),
    )(base)
    return signed_root(both, "alice", "bob")


OLD = first()
NEW = next_version(OLD.root, add_key("carol", key("carol").public_key, ["root"]), NOW)


def file(new=NEW, *names: str, kind: str = ROOT_TYPE) -> bytes:
    return Envelope.sign(kind, new.to_bytes(), [key(name) for name in names or ("alice",)]).to_bytes()


def test_one_after_the_other():
    half = Proposal.make(OLD, NEW, key("alice"))
    assert half.who == ("bob", "carol", "root")
    assert [want.partition(", got")[0] for want in half.wants] == [
        "by trust root 1: 2 of 3 keys of different owners with the role root",
        "by trust root 2: 2 of 4 keys of different owners with the role root",
    ]
    read = Proposal.parse(half.envelope.to_bytes(), OLD, "p")
    whole = read.signed(key("bob"))
    assert whole.wants == ()
    assert whole.complete().root == NEW


def test_a_new_key_signs_for_the_new_version_only():
    half = Proposal.make(OLD, NEW, key("alice")).signed(key("carol"))
    assert [want[:16] for want in half.wants] == ["by trust root 1:"]
    with pytest.raises(TrustError):
        half.complete()


def test_keys_of_one_version_only_sign_too():
    carol = add_key("carol", key("carol").public_key, ["root"])
    new = next_version(OLD.root, in_turn(carol, remove_keys("bob")), NOW)
    whole = Proposal.make(OLD, new, key("alice")).signed(key("bob")).signed(key("carol"))
    read = Proposal.parse(whole.envelope.to_bytes(), OLD, "p")
    assert read.signers == {keyid("alice"), keyid("bob"), keyid("carol")}
    assert [read.key_title(keyid(name)).split()[0] for name in ("bob", "carol")] == ["bob", "carol"]


def test_the_same_key_never_twice():
    with pytest.raises(TrustError, match="already signed by this key"):
        Proposal.make(OLD, NEW, key("alice")).signed(key("alice"))


@pytest.mark.parametrize("name", ["mallory", "site"])
def test_other_keys_sign_nothing(name):
    with pytest.raises(UnknownKeyError):
        Proposal.make(OLD, NEW, key("alice")).signed(key(name))
    with pytest.raises(UnknownKeyError):
        Proposal.make(OLD, NEW, key(name))


REVOKED = signed_root(
    replace(
        next_version(OLD.root, in_turn(set_threshold("root", 1), revoke_keys("bob", 0, [])), NOW), version=1
    ),
    "alice",
)
BAD = {
    "not json": (b"x", OLD, FormatError),
    "a bundle": (file(kind=STATEMENT_TYPE), OLD, FormatError),
    "a stranger": (file(NEW, "mallory"), OLD, UnknownKeyError),
    "a stranger beside": (file(NEW, "alice", "mallory"), OLD, TrustError),
    "the new key alone": (file(NEW, "carol"), OLD, UnknownKeyError),
    "skips one": (file(replace(NEW, version=3)), OLD, TrustError),
    "the same version": (file(replace(NEW, version=1)), OLD, TrustError),
    "the epoch decreases": (file(replace(NEW, epoch=0)), OLD, TrustError),
    "a revoked key": (file(replace(REVOKED.root, version=2), "bob"), REVOKED, UnknownKeyError),
    "a revoked key beside": (file(replace(REVOKED.root, version=2), "alice", "bob"), REVOKED, TrustError),
}


@pytest.mark.parametrize(("raw", "old", "error"), BAD.values(), ids=list(BAD))
def test_refused(raw, old, error):
    with pytest.raises(error):
        Proposal.parse(raw, old, "p")


def test_changed_after_signing():
    good = Envelope.parse(file(NEW, "alice"), "p")
    other = replace(NEW, epoch=2)
    with pytest.raises(AirgapError, match="not signed by a root key"):
        Proposal.parse(replace(good, payload=other.to_bytes()).to_bytes(), OLD, "p")


def test_a_spoilt_signature_beside_a_good_one():
    good = Envelope.parse(file(NEW, "alice", "bob"), "p")
    spoilt = Signature(keyid("bob"), b"x" + good.signatures[1].sig)
    raw = replace(good, signatures=(good.signatures[0], spoilt)).to_bytes()
    with pytest.raises(TrustError, match="is not valid"):
        Proposal.parse(raw, OLD, "p")
