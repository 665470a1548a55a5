from dataclasses import replace

import pytest

from airgap.errors import UsageError
from airgap.trust.change import (
    add_key,
    add_site_key,
    describe_change,
    expiry_warning,
    extend_root,
    find_keys,
    in_turn,
    next_version,
    raise_epoch,
    remove_keys,
    replace_key,
    revoke_keys,
    set_threshold,
)
from airgap.trust.document import ReceivingSite, Revocation, RootKey, TrustRoot
from tests.unit.trust.support import DAY, NOW, key, keyid, make_root, with_key


@pytest.fixture
def root() -> TrustRoot:
    return make_root("alice", "bob", sites={"plant-7": ReceivingSite(frozenset({keyid("site")}))})


def public(name: str):
    return key(name).public_key


def test_add_a_person(root):
    new = next_version(root, add_key("carol", public("carol"), ["release", "root"]), NOW)
    assert new.version == 2
    assert new.keys[keyid("carol")].owner == "carol"
    assert keyid("carol") in new.roles["release"].keyids & new.roles["root"].keyids
    assert keyid("carol") not in new.roles["receipt"].keyids


def test_a_key_that_is_there_gets_a_further_role(root):
    new = next_version(root, add_key("alice", public("alice"), ["root"]), NOW)
    assert keyid("alice") in new.roles["root"].keyids
    assert new.keys == root.keys


def test_add_a_site_and_a_second_key_of_it(root):
    new = next_version(root, add_site_key("plant-8", public("eight"), own="hq"), NOW)
    assert new.sites["plant-8"] == ReceivingSite(frozenset({keyid("eight")}))
    assert keyid("eight") in new.roles["receipt"].keyids
    more = add_site_key("plant-7", public("other"), own="hq")
    with pytest.raises(UsageError, match="another owner"):
        add_site_key("plant-8", public("site"), own="hq")(root)
    assert more(root).sites["plant-7"].receipt_keyids == {keyid("site"), keyid("other")}


def test_remove_takes_a_key_out_everywhere(root):
    both = next_version(root, add_site_key("plant-8", public("eight"), own="hq"), NOW)
    new = next_version(both, remove_keys("plant-8"), NOW)
    assert replace(new, version=1) == root
    assert keyid("bob") not in remove_keys(keyid("bob")[:16])(root).keys


def test_revoke_keeps_the_role_for_what_was_signed_before(root):
    new = next_version(root, revoke_keys("bob", 7, ["a" * 64]), NOW)
    assert new.revoked == {keyid("bob"): Revocation(7, frozenset({"a" * 64}))}
    assert keyid("bob") in new.roles["release"].keyids
    again = next_version(new, revoke_keys("bob", 0, ["b" * 64]), NOW)
    assert again.revoked[keyid("bob")] == Revocation(0, frozenset({"a" * 64, "b" * 64}))


def test_what_is_void_does_not_become_good_again(root):
    new = next_version(root, revoke_keys("bob", 5, []), NOW)
    with pytest.raises(UsageError, match="want serial 5 or below, got 500"):
        revoke_keys("bob", 500, [])(new)
    assert revoke_keys("bob", 5, ["a" * 64])(new).revoked[keyid("bob")].after_serial == 5


def test_a_receiving_site_is_not_called_like_this_one(root):
    with pytest.raises(UsageError, match="the receiving site has the name of this site"):
        add_site_key("hq", public("eight"), own="hq")(root)


def test_a_revoked_key_signs_no_roots(root):
    both = next_version(root, add_key("bob", public("bob"), ["root"]), NOW)
    new = next_version(both, revoke_keys("bob", 0, []), NOW)
    assert new.roles["root"].keyids == {keyid("root")}


@pytest.mark.parametrize(("after", "kept"), [(0, True), (1, False)])
def test_a_new_epoch_takes_the_roles_of_a_key_that_is_void_from_a_serial_on(root, after, kept):
    new = next_version(root, in_turn(revoke_keys("bob", after, []), raise_epoch()), NOW)
    assert new.epoch == 2
    assert (keyid("bob") in new.roles["release"].keyids) == kept
    assert keyid("alice") in new.roles["release"].keyids


def test_rotate_and_replace(root):
    new = next_version(
        root,
        in_turn(extend_root(NOW + 90 * DAY + DAY / 86400_000), replace_key("alice", public("alice-2"))),
        NOW,
    )
    assert new.expires == NOW + 90 * DAY
    assert new.keys[keyid("alice-2")] == RootKey(public("alice-2"), "alice")
    assert keyid("alice") not in new.keys
    assert new.roles["release"].keyids == {keyid("alice-2"), keyid("bob")}
    assert keyid("alice-2") not in new.roles["root"].keyids
    assert new.sites == root.sites
    site = replace_key("site", public("site-2"))(root)
    assert site.sites["plant-7"] == ReceivingSite(frozenset({keyid("site-2")}))


def test_threshold(root):
    new = next_version(root, set_threshold("release", 2, distinct_owners=True), NOW)
    assert (new.roles["release"].threshold, new.roles["release"].distinct_owners) == (2, True)
    kept = next_version(new, set_threshold("release", 1), NOW)
    assert kept.roles["release"].distinct_owners


def test_keys_of_one_owner_meet_a_threshold_of_keys(root):
    two = in_turn(add_key("bob", public("bob-2"), ["release"]), remove_keys("alice"))
    assert next_version(root, in_turn(two, set_threshold("release", 2)), NOW).roles["release"].threshold == 2
    with pytest.raises(UsageError, match=r"want 2 keys of different owners, got 1 \(bob\)"):
        next_version(root, in_turn(two, set_threshold("release", 2, distinct_owners=True)), NOW)


LOCKOUTS = {
    "no root key": (remove_keys("root"), "could still sign trust roots: role root, want 1 keys, got none"),
    "no receipt key": (remove_keys("site"), "could still sign receipts"),
    "all bundle keys": (in_turn(remove_keys("alice"), remove_keys("bob")), "could still sign bundles"),
    "all revoked": (
        in_turn(revoke_keys("alice", 0, []), revoke_keys("bob", 0, [])),
        "could still sign bundles",
    ),
    "threshold": (set_threshold("release", 3), "want 3 keys, got 2 (alice, bob)"),
    "one of two": (
        in_turn(set_threshold("release", 2, distinct_owners=True), revoke_keys("bob", 0, [])),
        "want 2 keys of different owners, got 1 (alice)",
    ),
}


@pytest.mark.parametrize(("change", "words"), LOCKOUTS.values(), ids=list(LOCKOUTS))
def test_nobody_is_locked_out(root, change, words):
    with pytest.raises(UsageError, match="too few keys could still sign") as caught:
        next_version(root, change, NOW)
    assert words in str(caught.value)
    assert "airgap trust add" in caught.value.hint


def test_a_key_past_its_time_does_not_count(root):
    late = with_key(root, "bob", not_after=NOW - DAY)
    with pytest.raises(UsageError, match="too few keys could still sign bundles"):
        next_version(late, remove_keys("alice"), NOW)


def test_a_required_algorithm_stays_to_be_had(root):
    demanding = replace(make_root("alice", "bob"), require_algorithms=())
    ed = key("ed", "ed25519").public_key
    both = in_turn(add_key("ed", ed, ["release", "root"]))(demanding)
    strict = replace(both, require_algorithms=("ed25519",))
    with pytest.raises(UsageError, match="role root, want a key of ed25519"):
        next_version(strict, remove_keys("ed"), NOW)
    assert next_version(strict, extend_root(NOW + DAY), NOW).version == 2  # receipts need no second algorithm
    with pytest.raises(UsageError, match="role root, want 2 keys, got 1"):
        next_version(strict, in_turn(set_threshold("root", 2), revoke_keys("ed", 0, [])), NOW)


REFUSED = {
    "nothing": (extend_root(NOW + 30 * DAY), "not change the trust root"),
    "roles it has": (add_key("alice", public("alice"), ["release"]), "not change the trust root"),
    "another's": (add_key("carol", public("alice"), ["root"]), "key belongs to another owner: carol, got alice"),
    "site signs": (add_key("site", public("site"), ["release"]), "signs only receipts"),
    "person receipts": (add_site_key("alice", public("alice"), own="hq"), "cannot sign receipts"),
    "unknown": (remove_keys("nobody"), "no such key in the trust root: nobody"),
    "short id": (remove_keys(keyid("bob")[:15]), "no such key"),
    "revoke a site": (revoke_keys("site", 0, []), "only a key that signs bundles"),
    "revoked again": (
        in_turn(revoke_keys("bob", 0, []), add_key("bob", public("bob"), ["root"])), "cannot get a role again",
    ),
    "replace by itself": (replace_key("bob", public("alice")), "in the trust root already"),
    "replace by a revoked one": (
        in_turn(revoke_keys("bob", 0, []), remove_keys("bob"), replace_key("alice", public("bob"))), "cannot get a role again",
    ),
    "which": (
        in_turn(add_key("bob", public("bob-2"), ["release"]), replace_key("bob", public("x"))), "several keys match",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=list(REFUSED))
def test_refused(root, change, words):
    with pytest.raises(UsageError) as caught:
        next_version(root, change, NOW)
    assert words in str(caught.value)


def test_find_keys(root):
    assert find_keys(root, keyid("bob").upper()) == (keyid("bob"),)


@pytest.mark.parametrize(
    ("days", "words"), [(31, None), (30, "in 30 days"), (29, "in 29 days"), (0, "has expired")]
)
def test_expiry_warning(root, days, words):
    found = expiry_warning(replace(root, expires=NOW + days * DAY), NOW)
    assert (found is None) if words is None else (words in found)


BOB, SITE, GONE = keyid("bob"), keyid("site"), "0" * 64
DIFFERENCES = [
    ({"epoch": 2}, "changed: epoch: 1 -> 2"),
    ({"expires": NOW + 40 * DAY}, "changed: expires: 2026-07-01T00:00:00Z -> 2026-07-11T00:00:00Z"),
    ({"require_algorithms": ("ecdsa",)}, "new: required algorithms: ecdsa"),
    (
        {"revoked": {BOB: Revocation(3, frozenset({"a" * 64}))}},
        f"new: revoked key {BOB}: bob, void above serial 3, but for the statements {'a' * 64}",
    ),
    ({"revoked": {GONE: Revocation(0, frozenset())}}, f"new: revoked key {GONE}: void above serial 0"),
    ({"sites": {}}, f"gone: site plant-7: receipts by key {SITE}"),
]


@pytest.mark.parametrize(
    ("fields", "line"), DIFFERENCES, ids=range(len(DIFFERENCES))
)  # keys are new each time
def test_each_difference_is_told(root, fields, line):
    assert describe_change(root, replace(root, version=2, **fields)) == ["trust root 1 -> 2", line]


def test_one_end_of_the_time_of_a_key_is_told(root):
    told = describe_change(root, with_key(root, "bob", not_before=NOW))
    assert told[1].endswith("bob, ecdsa-p256 -> bob, ecdsa-p256, 2026-06-01T00:00:00Z to any time")


def test_differences_of_keys_and_roles_are_told(root):
    told = describe_change(root, with_key(root, "bob", owner="mallory", not_after=NOW))
    assert f"changed: key {keyid('bob')}: bob, ecdsa-p256 -> mallory, ecdsa-p256, any time to " in told[1]
    new = next_version(root, in_turn(remove_keys("bob"), set_threshold("root", 1, distinct_owners=True)), NOW)
    assert describe_change(root, new) == [
        "trust root 1 -> 2",
        f"gone: key {keyid('bob')}: bob, ecdsa-p256",
        "changed: role root: 1 keys must sign -> 1 keys of different owners must sign",
        f"gone: role release of key {keyid('bob')}: bob",
    ]
