import hashlib
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest

from airgap.errors import (
    AirgapError,
    ExpiredError,
    FormatError,
    SignatureMismatchError,
    ThresholdError,
    TrustError,
    UnknownKeyError,
)
from airgap.trust import root as root_module
from airgap.trust.envelope import ROOT_TYPE, STATEMENT_TYPE, Envelope, Signature
from airgap.trust.policy import check_signatures
from airgap.trust.root import Revocation, RootKey, SignedRoot, TrustRoot, check_follows, new_root, walk_roots
from tests.unit.trust.support import DAY, NOW, key, keyid, make_root, role, root_file, signed, signed_root

FIRST = make_root("alice")


def next_root(root: TrustRoot, *signers: str, **fields: object) -> TrustRoot:
    """The next version of `root`, in which `signers` may sign roots."""
    keys = {**root.keys, **{keyid(name): RootKey(key(name).public_key, name) for name in signers}}
    roles = {**root.roles, "root": role(*signers)} if signers else root.roles
    return replace(root, **{"version": root.version + 1, "keys": keys, "roles": roles, **fields})


# -- one root --------------------------------------------------------------------------------------


def test_reads_a_signed_root():
    raw = root_file(FIRST, "root")
    found = SignedRoot.parse(raw, "1.root.json")
    assert (found.root, found.raw, found.envelope.payload) == (FIRST, raw, FIRST.to_bytes())


def test_sha256sum_prints_the_fingerprint(tmp_path):
    found = signed_root(FIRST, "root")
    (tmp_path / "1.root.json").write_bytes(found.raw)
    printed = subprocess.run(
        ["sha256sum", "1.root.json"], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    assert printed.split()[0].decode() == found.fingerprint == hashlib.sha256(found.raw).hexdigest()


@pytest.mark.parametrize(
    ("raw", "error", "message"),
    [
        (b"", FormatError, "not JSON"),
        (FIRST.to_bytes(), FormatError, "wrong type: 1.root.json: payloadType"),
        (Envelope.sign(STATEMENT_TYPE, FIRST.to_bytes(), [key("root")]).to_bytes(), FormatError, "not a trust root"),
        (Envelope.sign(ROOT_TYPE, b"{}", [key("root")]).to_bytes(), FormatError, "1.root.json: version"),
        (root_file(FIRST, "mallory"), UnknownKeyError, "1.root.json by its own keys"),
        (root_file(FIRST, "alice"), UnknownKeyError, "the role root"),
        (
            Envelope(ROOT_TYPE, FIRST.to_bytes(), (Signature(keyid("root"), b"x"),)).to_bytes(),
            SignatureMismatchError,
            r"\(root ",
        ),
        (
            root_file(replace(FIRST, roles={**FIRST.roles, "root": role("root", "alice", threshold=2)}), "root"),
            ThresholdError,
            "want 2 of 2 keys",
        ),
    ],
    ids=["empty", "payload", "statement", "nothing", "stranger", "release", "junk", "few"],
)  # fmt: skip
def test_refuses(raw, error, message):
    with pytest.raises(error, match=message) as caught:
        SignedRoot.parse(raw, "1.root.json")
    assert type(caught.value) is error


def test_a_flipped_bit_is_refused_or_changes_nothing():
    raw = root_file(FIRST, "root")
    for index in range(0, len(raw), 3):
        bad = bytearray(raw)
        bad[index] ^= 1 << index % 8
        try:
            found = SignedRoot.parse(bytes(bad), "r")
        except AirgapError:
            continue
        assert found.root == FIRST
        assert found.fingerprint != hashlib.sha256(raw).hexdigest()


# -- the first root --------------------------------------------------------------------------------


def test_new_root():
    signer, site = key("alice").public_key, key("site").public_key
    root = new_root("Alice", signer, "plant-7", site, expires=NOW + 365 * DAY + timedelta(microseconds=5))
    assert (root.version, root.epoch, root.expires) == (1, 1, NOW + 365 * DAY)
    assert root.roles["root"] == root.roles["release"] == role("alice")
    assert root.roles["receipt"] == role("site")
    assert root.sites["plant-7"].receipt_keyids == {site.keyid}
    assert (root.keys[signer.keyid].owner, root.keys[site.keyid].owner) == ("Alice", "plant-7")
    assert signed_root(root, "alice").root == root
    assert check_signatures(signed("alice"), root, "release", NOW).owners == ("Alice",)
    assert check_signatures(signed("site"), root, "receipt", NOW).owners == ("plant-7",)


def test_one_key_for_both():
    public = key("alice").public_key
    root = new_root("Alice", public, "plant-7", public, expires=NOW + DAY)
    assert root.owners(root.keys) == ("Alice",)


@pytest.mark.parametrize(
    ("owner", "site"), [("", "plant-7"), ("Alice", ""), ("Alice", "a/b"), ("A\nB", "plant-7")]
)
def test_new_root_refuses(owner, site):
    with pytest.raises(FormatError):
        new_root(owner, key("alice").public_key, site, key("site").public_key, expires=NOW + DAY)


# -- the walk --------------------------------------------------------------------------------------

INSTALLED = signed_root(FIRST, "root")
SECOND = next_root(FIRST, "root2")
THIRD = next_root(SECOND, "root3")


def versions(found):
    return [each.root.version for each in found]


def test_walks_over_changed_keys():
    candidates = {2: root_file(SECOND, "root", "root2"), 3: root_file(THIRD, "root3", "root2")}
    found = walk_roots(INSTALLED, candidates)
    assert versions(found) == [2, 3]
    assert [each.raw for each in found] == list(candidates.values())
    assert versions(walk_roots(found[0], candidates)) == [3]
    assert walk_roots(found[1], candidates) == []


def test_walks_fifty_steps_with_a_new_key_each():
    candidates, root = {}, FIRST
    for version in range(2, 52):
        before, after = f"root{version - 1}" if version > 2 else "root", f"root{version}"
        root = next_root(root, after)
        candidates[version] = root_file(root, before, after)
    assert walk_roots(INSTALLED, candidates)[-1].root == root


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ({}, []),
        ({1: b"garbage"}, []),
        ({3: b"garbage"}, []),
        ({0: b"garbage", -1: b"garbage", 2**60: b"garbage"}, []),
        ({2: root_file(SECOND, "root", "root2"), 4: b"garbage"}, [2]),
        ({2: root_file(next_root(FIRST), "root")}, [2]),
        ({2: root_file(next_root(FIRST, epoch=9), "root")}, [2]),
        ({2: root_file(SECOND, "root", "root2", "mallory")}, [2]),
        ({2: root_file(next_root(FIRST, expires=NOW - DAY), "root"), 3: root_file(next_root(next_root(FIRST)), "root")}, [2, 3]),
        ({2: root_file(next_root(FIRST, revoked={keyid("alice"): Revocation(5, frozenset())}), "root")}, [2]),
        ({2: root_file(next_root(FIRST, epoch=2, revoked={keyid("alice"): Revocation(0, frozenset())}), "root")}, [2]),
        ({2: root_file(next_root(FIRST, epoch=2, revoked={keyid("bob"): Revocation(5, frozenset())}), "root")}, [2]),
    ],
)  # fmt: skip
def test_walk(candidates, expected):
    assert versions(walk_roots(INSTALLED, candidates)) == expected


def test_an_expired_root_is_walked_over_but_not_used():
    expired = replace(SECOND, expires=NOW - DAY)
    found = walk_roots(INSTALLED, {2: root_file(expired, "root", "root2")})
    with pytest.raises(ExpiredError):
        check_signatures(signed("alice"), found[-1].root, "release", NOW)


VOID = replace(
    FIRST,
    revoked={keyid("alice"): Revocation(5, frozenset()), keyid("bob"): Revocation(0, frozenset({"a" * 64}))},
)
"""A version 1 with two revocations."""


def _revoking(**changes):
    """The version after `VOID`, with other revocations: None drops one."""
    revoked = {**VOID.revoked, **{keyid(owner): each for owner, each in changes.items()}}
    return {each: value for each, value in revoked.items() if value is not None}


WEAKER = {
    "dropped": {"revoked": _revoking(alice=None)},
    "all dropped": {"revoked": {}},
    "dropped in a new epoch": {"revoked": _revoking(bob=None), "epoch": 2},
    "from a later serial on": {"revoked": _revoking(alice=Revocation(6, frozenset()))},
}


@pytest.mark.parametrize("changes", WEAKER.values(), ids=WEAKER)
def test_a_revocation_is_never_dropped_nor_made_weaker(changes):
    with pytest.raises(TrustError, match="must not be weakened") as caught:
        check_follows(VOID, next_root(VOID, **changes), "2.root.json")
    assert "revoked " in str(caught.value)


def test_a_key_that_is_gone_stays_revoked():
    """Else the next version could take it up again."""
    keys = {each: key for each, key in VOID.keys.items() if each != keyid("bob")}
    roles = {
        name: replace(each, keyids=each.keyids - {keyid("bob")}, threshold=1)
        for name, each in VOID.roles.items()
    }
    gone = next_root(VOID, keys=keys, roles=roles)
    check_follows(VOID, gone, "2.root.json")
    with pytest.raises(TrustError, match="must not be weakened"):
        check_follows(VOID, replace(gone, revoked=_revoking(bob=None)), "2.root.json")


@pytest.mark.parametrize(
    "revoked",
    [
        _revoking(),
        _revoking(alice=Revocation(4, frozenset())),
        _revoking(bob=Revocation(0, frozenset())),
        _revoking(bob=Revocation(0, frozenset({"a" * 64, "b" * 64}))),
    ],
    ids=["the same", "from an earlier serial on", "nothing accepted", "one more accepted"],
)
def test_a_revocation_may_be_kept_or_sharpened(revoked):
    check_follows(VOID, next_root(VOID, revoked=revoked), "2.root.json")


@pytest.mark.parametrize(
    ("epoch", "good"), [(1, True), (2, True), (1001, True), (1002, False), (2**53 - 1, False)]
)
def test_an_epoch_does_not_rise_too_far(epoch, good):
    new = next_root(FIRST, epoch=epoch)
    if good:
        check_follows(FIRST, new, "2.root.json")
        return
    with pytest.raises(TrustError, match="the epoch increases too much"):
        check_follows(FIRST, new, "2.root.json")


BAD_STEPS = {
    "garbage": (b"garbage", FormatError, "2.root.json"),
    "a statement": (signed("root").to_bytes(), FormatError, "not a trust root"),
    "signed by the old only": (root_file(SECOND, "root"), UnknownKeyError, "2.root.json by its own keys"),
    "signed by the new only": (
        root_file(SECOND, "root2"),
        UnknownKeyError,
        "2.root.json by the keys of trust root 1",
    ),
    "signed by strangers": (root_file(SECOND, "mallory"), UnknownKeyError, "trust root 1"),
    "signed by the release key": (root_file(next_root(FIRST), "alice"), UnknownKeyError, "the role root"),
    "the same version": (root_file(FIRST, "root"), TrustError, "wrong version .*, want 2, got 1"),
    "a version skipped": (
        root_file(replace(SECOND, version=3), "root", "root2"),
        TrustError,
        "want 2, got 3",
    ),
    "the epoch decreases": (root_file(next_root(FIRST, epoch=0), "root"), TrustError, "the epoch decreases"),
    "a revoked key revived": (
        root_file(next_root(FIRST, epoch=2, revoked={keyid("alice"): Revocation(1, frozenset())}), "root"),
        TrustError,
        "a new epoch must not give a role to a revoked key: .*: role release",
    ),
    "not signed by enough of the new": (
        root_file(
            replace(SECOND, roles={**SECOND.roles, "root": role("root", "root2", threshold=2)}), "root"
        ),
        ThresholdError,
        "by its own keys",
    ),
    "not a root inside": (Envelope.sign(ROOT_TYPE, b"{}", [key("root")]).to_bytes(), FormatError, "version"),
}


@pytest.mark.parametrize(("raw", "error", "message"), BAD_STEPS.values(), ids=BAD_STEPS)
def test_a_bad_step_stops_everything(raw, error, message):
    with pytest.raises(error, match=message) as caught:
        walk_roots(INSTALLED, {2: raw, 3: root_file(THIRD, "root2", "root3")})
    assert type(caught.value) is error


def test_a_bad_step_after_a_good_one():
    with pytest.raises(UnknownKeyError, match=r"3\.root\.json by the keys of trust root 2"):
        walk_roots(INSTALLED, {2: root_file(SECOND, "root", "root2"), 3: root_file(THIRD, "root", "root3")})


def test_nothing_is_parsed_before_the_old_root_has_signed_it():
    """A payload that would be refused is not even looked at when a stranger signed it."""
    with pytest.raises(UnknownKeyError):
        walk_roots(INSTALLED, {2: Envelope.sign(ROOT_TYPE, b"not JSON", [key("mallory")]).to_bytes()})


def test_the_steps_are_bounded(monkeypatch):
    monkeypatch.setattr(root_module, "MAX_ROOT_STEPS", 1)
    candidates = {2: root_file(SECOND, "root", "root2"), 3: root_file(THIRD, "root2", "root3")}
    found = walk_roots(INSTALLED, candidates)
    assert versions(found) == [2]
    assert versions(walk_roots(found[-1], candidates)) == [3]
