import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AirgapError, FormatError
from airgap.limits import MAX_ROOT_KEYS
from airgap.trust.document import ReceivingSite, Revocation, Role, RootKey, TrustRoot, skeleton
from tests.unit.trust.support import DAY, NOW, key, keyid, make_root, role, with_key

ALICE, BOB, ROOT = keyid("alice"), keyid("bob"), keyid("root")
UNKNOWN = "0" * 64


def full_root() -> TrustRoot:
    """A root that uses every field."""
    root = make_root(
        "alice", "bob", threshold=2, distinct_owners=True,
        epoch=4, require_algorithms=("ecdsa", "ecdsa-p256"),
        revoked={BOB: Revocation(7, frozenset({"a" * 64, "b" * 64})), UNKNOWN: Revocation(0, frozenset())},
        sites={"plant-7": ReceivingSite(frozenset({keyid("site")})), "plant-8": ReceivingSite(frozenset())},
    )  # fmt: skip
    return with_key(root, "alice", not_before=NOW, not_after=NOW + DAY)


def document(root: TrustRoot | None = None) -> dict:
    return json.loads((root or full_root()).to_bytes())


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


def test_round_trip():
    root = full_root()
    assert TrustRoot.parse(root.to_bytes(), "r") == root


def test_the_same_root_gives_the_same_bytes():
    root = full_root()
    turned = replace(root, keys=dict(reversed(root.keys.items())), roles=dict(reversed(root.roles.items())))
    assert turned.to_bytes() == root.to_bytes()
    assert TrustRoot.parse(dump(document()), "r").to_bytes() == root.to_bytes()


def test_the_form_on_paper():
    value = document(make_root("alice"))
    assert list(value) == [
        "version", "epoch", "expires", "keys", "roles", "require_algorithms", "revoked", "sites",
    ]  # fmt: skip
    assert value["expires"] == "2026-07-01T00:00:00Z"
    assert value["keys"][ALICE] == {"pem": key("alice").public_key.pem, "owner": "alice"}
    assert value["roles"]["release"] == {"keyids": [ALICE], "threshold": 1, "distinct_owners": False}


def test_another_pem_of_the_same_key_reads_the_same():
    value = document()
    value["keys"][ALICE]["pem"] = value["keys"][ALICE]["pem"].replace("\n", "\r\n")
    assert TrustRoot.parse(dump(value), "r") == full_root()


zoned = st.datetimes(
    datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001  # bounds are naive
).map(lambda when: when.replace(microsecond=0))  # fmt: skip
hexes = st.binary(min_size=32, max_size=32).map(bytes.hex)


any_fields = st.fixed_dictionaries(
    {
        "version": st.integers(1, 2**53 - 1),
        "epoch": st.integers(0, 2**53 - 1),
        "expires": zoned,
        "revoked": st.dictionaries(
            hexes,
            st.builds(Revocation, st.integers(0, 2**53 - 1), st.frozensets(hexes, max_size=3)),
            max_size=3,
        ),
        "sites": st.dictionaries(
            st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True),
            st.just(ReceivingSite(frozenset({ALICE}))),
            max_size=3,
        ).filter(lambda sites: len(set(map(skeleton, sites))) == len(sites)),
    }
)
names = st.from_regex(r"[A-Za-z0-9]( ?[A-Za-z0-9._@'-]){0,39}", fullmatch=True)


@settings(max_examples=40, deadline=None)
@given(any_fields, names)
def test_round_trip_of_any_root(fields, owner):
    root = make_root("alice", owners={"alice": owner}, **fields)
    assert TrustRoot.parse(root.to_bytes(), "r") == root
    assert TrustRoot.parse(root.to_bytes(), "r").to_bytes() == root.to_bytes()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_changed_document_is_refused_in_our_words_or_still_consistent(data):
    value = document()
    node = value
    path = data.draw(st.sampled_from(_paths(value)))
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = data.draw(
        st.sampled_from([None, 0, -1, 1.5, True, "", "x", [], ["x"], {}, {"x": 1}, 2**60])
    )
    try:
        root = TrustRoot.parse(dump(value), "r")
    except AirgapError:
        return
    assert TrustRoot.parse(root.to_bytes(), "r") == root


def _paths(value, prefix=()):
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return []
    return [path for k, v in items for path in [(*prefix, k), *_paths(v, (*prefix, k))]]


# -- bad documents ---------------------------------------------------------------------------------


def _set(*path_and_value):
    *path, last, value = path_and_value

    def change(node):
        for step in path:
            node = node[step]
        node[last] = value

    return change


def _drop(*path):
    *steps, last = path

    def change(node):
        for step in steps:
            node = node[step]
        del node[last]

    return change


def _same_key_twice(node):
    node["keys"][UNKNOWN] = node["keys"][ALICE]


def _swap(node):
    keys = node["keys"]
    keys[ALICE], keys[BOB] = keys[BOB], keys[ALICE]


RSA = """-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL3Q5mE0ypBzI+sSxKRMZiCfTGC7MDO3
-----END PUBLIC KEY-----
"""

BAD = {
    **{f"no {name}": (_drop(name), "want .*, got nothing") for name in document()},
    **{f"{name} is null": (_set(name, None), "got nothing") for name in document()},
    "unknown field": (_set("threshold", 1), "unknown field: r, got 'threshold'"),
    "unknown field of a key": (_set("keys", ALICE, "alg", "x"), "unknown field: r: keys: .*, got 'alg'"),
    "unknown field of a role": (_set("roles", "root", "note", ""), "unknown field"),
    "unknown field of a revocation": (_set("revoked", BOB, "reason", ""), "unknown field"),
    "unknown field of a site": (_set("sites", "plant-7", "note", ""), "unknown field"),
    "version 0": (_set("version", 0), "want version 1 or more"),
    "version below 0": (_set("version", -1), "negative"),
    "version a string": (_set("version", "1"), "want an integer, got a string"),
    "version a boolean": (_set("version", True),  # noqa: FBT003
 "want an integer, got a boolean"),
    "version a float": (_set("version", 1.0), "not an integer"),
    "version too large": (_set("version", 2**53), "integer too large"),
    "epoch below 0": (_set("epoch", -1), "negative"),
    "expires a date": (_set("expires", "2026-01-01"), "not a time: r: expires"),
    "expires with an offset": (_set("expires", "2026-01-01T00:00:00+00:00"), "not a time"),
    "no keys": (_set("keys", {}), "1 to 1024 keys, got 0 keys"),
    "keys a list": (_set("keys", []), "want an object, got a list"),
    "key a string": (_set("keys", ALICE, "pem"), "want an object, got a string"),
    "key without PEM": (_drop("keys", ALICE, "pem"), "want a string, got nothing"),
    "key with garbage": (_set("keys", ALICE, "pem", "x"), "not a usable public key"),
    "key of another kind": (_set("keys", ALICE, "pem", RSA), "not a usable public key"),
    "key under a wrong id": (_swap, "the key id does not match the key"),
    "one key under two ids": (_same_key_twice, "the key id does not match the key"),
    "no owner": (_drop("keys", ALICE, "owner"), "want a string, got nothing"),
    "empty owner": (_set("keys", ALICE, "owner", ""), "not an owner's name"),
    "owner with a space at the end": (_set("keys", ALICE, "owner", "bob "), "not an owner's name"),
    "owner with a control character": (_set("keys", ALICE, "owner", "a\x1b[2Jb"), "not an owner's name"),
    "owner with a right-to-left override": (_set("keys", ALICE, "owner", "a\u202eb"), "not an owner's name"),
    "owner with a zero-width space": (_set("keys", ALICE, "owner", "bob\u200b"), "not an owner's name"),
    "owner too long": (_set("keys", ALICE, "owner", "x" * 129), "not an owner's name"),
    "key time wrong": (_set("keys", ALICE, "not_before", "soon"), "not a time: r: keys: .*: not_before"),
    "key time a number": (_set("keys", ALICE, "not_after", 5), "want a string, got an integer"),
    "key times reversed": (_set("keys", ALICE, "not_after", "2020-01-01T00:00:00Z"), "before not_before"),
    "role missing": (_drop("roles", "receipt"), "want root, release, receipt"),
    "role unknown": (_set("roles", "log", {"keyids": [ALICE], "threshold": 1, "distinct_owners": False}), "wrong roles"),
    "role case twin": (_set("roles", "Root", {}), "differ in case only"),
    "role without keys": (_set("roles", "root", "keyids", []), r"cannot be met: .*, want 1 to 0 \(keys\)"),
    "role names an unknown key": (_set("roles", "root", "keyids", [UNKNOWN]), "the key is not listed in keys"),
    "role names a key twice": (_set("roles", "release", "keyids", [ALICE, ALICE, BOB]), "same value twice"),
    "role names no id": (_set("roles", "root", "keyids", ["alice"]), "not an id"),
    "role names an id in capitals": (_set("roles", "root", "keyids", [ALICE.upper()]), "not an id"),
    "role names a number": (_set("roles", "root", "keyids", [1]), "want strings"),
    "threshold 0": (_set("roles", "root", "threshold", 0), "cannot be met"),
    "threshold below 0": (_set("roles", "root", "threshold", -1), "negative"),
    "threshold above the keys": (_set("roles", "root", "threshold", 2), r"1 to 1 \(keys\), got 2"),
    "threshold above the owners": (_set("keys", BOB, "owner", "alice"), r"1 to 1 \(owners\), got 2"),
    "owners that differ in case": (_set("keys", BOB, "owner", "Alice"), r"1 to 1 \(owners\)"),
    "owners that differ in punctuation": (_set("keys", BOB, "owner", "a-lice"), r"1 to 1 \(owners\)"),
    "owners that differ in 1 and l": (_set("keys", BOB, "owner", "a1ice"), r"1 to 1 \(owners\)"),
    "owner in full width": (_set("keys", BOB, "owner", "\uff41lice"), "not an owner's name"),
    "owner with a Cyrillic letter": (_set("keys", BOB, "owner", "\u0430lice"), "not an owner's name"),
    "owner with a variation selector": (_set("keys", BOB, "owner", "alice\ufe0f"), "not an owner's name"),
    "owner with a no-break space": (_set("keys", BOB, "owner", "alice\u00a0b"), "not an owner's name"),
    "owner with a tag character": (_set("keys", BOB, "owner", "alice\U000e0061"), "not an owner's name"),
    "owner with two spaces": (_set("keys", BOB, "owner", "alice  b"), "not an owner's name"),
    "distinct_owners a string": (_set("roles", "root", "distinct_owners", "no"), "want a boolean"),
    "distinct_owners missing": (_drop("roles", "root", "distinct_owners"), "want a boolean, got nothing"),
    "algorithm unknown": (_set("require_algorithms", ["rsa"]), "unknown or repeated algorithm: .*'rsa'"),
    "algorithm twice": (_set("require_algorithms", ["ecdsa", "ecdsa"]), "repeated algorithm"),
    "algorithm in capitals": (_set("require_algorithms", ["ECDSA"]), "unknown or repeated algorithm"),
    "algorithm a number": (_set("require_algorithms", [1]), "want strings"),
    "algorithm without a key": (_set("require_algorithms", ["ml-dsa"]), "role root, want ml-dsa"),
    "revoked no id": (_set("revoked", "x", {"after_serial": 1, "accepted": []}), "not an id"),
    "revoked without a serial": (_drop("revoked", BOB, "after_serial"), "got nothing"),
    "revoked before the first": (_set("revoked", BOB, "after_serial", -1), "negative"),
    "accepted no digest": (_set("revoked", BOB, "accepted", ["sha256:" + "a" * 64]), "not an id"),
    "accepted twice": (_set("revoked", BOB, "accepted", ["a" * 64] * 2), "same value twice"),
    "revoked root key": (_set("revoked", ROOT, {"after_serial": 1, "accepted": []}), "may not sign trust roots"),
    "site name empty": (_set("sites", "", {"receipt_keyids": []}), "not a site name"),
    "site name a path": (_set("sites", "../x", {"receipt_keyids": []}), "not a site name"),
    "site name too long": (_set("sites", "x" * 65, {"receipt_keyids": []}), "not a site name"),
    "site names that differ in case": (_set("sites", "PLANT-7", {"receipt_keyids": []}), "differ in case only"),
    "site with an unknown key": (_set("sites", "plant-7", "receipt_keyids", [UNKNOWN]), "not listed in keys"),
    "site without keys": (_drop("sites", "plant-7", "receipt_keyids"), "got nothing"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_refuses(change, message):
    value = document()
    change(value)
    with pytest.raises(FormatError, match=message) as caught:
        TrustRoot.parse(dump(value), "r")
    assert caught.value.exit_code == 10


@pytest.mark.parametrize(
    "path",
    [(), ("keys", ALICE), ("roles", "root"), ("revoked", BOB), ("sites", "plant-7")],
    ids=["root", "key", "role", "revocation", "site"],
)
def test_an_unknown_field_may_be_of_a_newer_version(path):
    value = document()
    _set(*path, "new", 1)(value)
    with pytest.raises(FormatError) as caught:
        TrustRoot.parse(dump(value), "r")
    assert "newer version" in caught.value.hint


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"version":1,"version":1}', b"\xff", b" " * (5 << 20)], ids=len
)
def test_refuses_what_is_no_document(raw):
    with pytest.raises(FormatError):
        TrustRoot.parse(raw, "r")


# -- made in code: what cannot be written cannot be made ---------------------------------------------


def _root_key(name, **fields):
    return replace(RootKey(key(name).public_key, name), **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keys": {UNKNOWN: _root_key("alice")}}, "the key id does not match the key"),
        ({"expires": NOW.replace(tzinfo=None)}, "whole seconds with a zone"),
        ({"expires": NOW + timedelta(microseconds=1)}, "whole seconds with a zone"),
        ({"revoked": {BOB: Revocation(-1, frozenset())}}, "negative after_serial"),
        ({"revoked": {BOB: Revocation(1, frozenset({"x"}))}}, "not an id"),
        ({"roles": {"root": role("root"), "release": role("alice")}}, "wrong roles"),
        (
            {"sites": {"a": ReceivingSite(frozenset()), "A": ReceivingSite(frozenset())}},
            "the names of two sites look alike",
        ),
        ({"keys": {f"{i:064x}": _root_key("alice") for i in range(MAX_ROOT_KEYS + 1)}}, "got 1025 keys"),
    ],
)
def test_refuses_to_make(fields, message):
    with pytest.raises(FormatError, match=message):
        replace(make_root("alice"), **fields)


def test_what_is_just_within_the_limits_is_accepted():
    root, public = make_root("alice", owners={"alice": "x" * 128}), key("alice").public_key
    ids = [f"{i:064x}" for i in range(MAX_ROOT_KEYS - len(root.keys))]
    more = {keyid: RootKey(replace(public, keyid=keyid), "alice") for keyid in ids}
    assert len(replace(root, keys={**root.keys, **more}).keys) == MAX_ROOT_KEYS


def test_a_key_may_have_one_end_of_its_time_or_a_single_moment():
    root = make_root("alice")
    for times in ({"not_before": NOW}, {"not_after": NOW}, {"not_before": NOW, "not_after": NOW}):
        assert with_key(root, "alice", **times).keys[ALICE].counts_at(NOW)


def test_keys_of_one_owner_meet_a_threshold_of_keys():
    root = make_root("alice", "bob", threshold=2, owners={"bob": "alice"})
    assert root.key_title(BOB) == f"alice {BOB[:16]}"
    assert root.key_title(UNKNOWN) == f"unknown key {UNKNOWN[:16]}"


def test_key_times_have_a_zone_too():
    with pytest.raises(FormatError, match="whole seconds with a zone"):
        with_key(make_root("alice"), "alice", not_after=NOW.replace(tzinfo=None))


def test_another_zone_is_the_same_time():
    root = make_root("alice", expires=NOW.astimezone(timezone(timedelta(hours=2))))
    assert TrustRoot.parse(root.to_bytes(), "r") == root


@pytest.mark.parametrize(
    ("one", "other"),
    [("Bob", "b0b"), ("ian", "Lan"), ("modern", "modem"), ("w.", "vv"), ("O'Neil", "oneil"), ("a b", "ab")],
)
def test_names_that_look_alike_have_one_skeleton(one, other):
    assert skeleton(one) == skeleton(other)


def test_sites_that_look_alike_are_refused():
    sites = {"plant-1": ReceivingSite(frozenset({ALICE})), "plant-l": ReceivingSite(frozenset({ALICE}))}
    with pytest.raises(FormatError, match="the names of two sites look alike"):
        make_root("alice", sites=sites)


def test_owners_are_people_not_spellings():
    root = make_root("alice", "bob", "carol", owners={"alice": "Eve", "bob": "eve", "carol": "Carol"})
    assert len(root.owners([ALICE, BOB])) == 1
    assert root.owners([ALICE, keyid("carol")]) == ("Carol", "Eve")
    assert root.owners([]) == ()


def test_role_is_a_value():
    assert Role(frozenset({"a"}), 1, False) == Role(frozenset({"a"}), 1, False)  # noqa: FBT003
    assert hash(make_root("alice")) == hash(make_root("alice"))
