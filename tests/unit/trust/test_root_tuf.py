"""The cases of TUF's conformance suite that are about the root role, over our walk of trust roots.

The identifiers are those of theupdateframework/tuf-conformance; docs/tuf-conformance.md says of each case
where its test is, or why there is none. Bundles are the matter of tests/unit/carry/test_verify_tuf.py.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airgap.errors import AirgapError, ExpiredError, FormatError, SignatureMismatchError, TrustError
from airgap.trust.envelope import ROOT_TYPE, Envelope, Signature
from airgap.trust.policy import check_signatures
from airgap.trust.root import RootKey, SignedRoot, TrustRoot, walk_roots
from tests.unit.trust.support import DAY, NOW, key, keyid, make_root, role, root_file, signed, signed_root

# -- test_root_rotation: versions as (keys, threshold, signers), and whether the last one is taken

ROTATIONS: dict[str, tuple[list[tuple[str, int, str]], bool]] = {
    "1-of-1-key-rotation": ([("1", 1, "1"), ("2", 1, "21"), ("2", 1, "2")], True),
    "1-of-1-key-rotation-unused-signatures": (
        [("1", 1, "314"), ("2", 1, "3214"), ("2", 1, "324")], True,
    ),
    "3-of-5-sign-with-different-keycombos": (
        [("01234", 3, "024"), ("01234", 3, "041"), ("01234", 3, "013"), ("01234", 3, "013")], True,
    ),
    "3-of-5-one-key-rotated": ([("01234", 3, "024"), ("01345", 3, "041")], True),
    "3-of-5-one-key-rotated-with-intermediate-step": (
        [("01234", 3, "024"), ("01345", 3, "0245"), ("01345", 3, "045")], True,
    ),
    "3-of-5-all-keys-rotated-with-intermediate-step": (
        [("01234", 3, "024"), ("56789", 3, "024567"), ("56789", 3, "567")], True,
    ),
    "1-of-3-threshold-increase-to-2-of-3": ([("123", 1, "1"), ("123", 2, "12")], True),
    "2-of-3-threshold-decrease-to-1-of-3": ([("123", 2, "12"), ("123", 1, "12"), ("123", 1, "1")], True),
    "1-of-2-threshold-increase-to-2-of-2": ([("1", 1, "1"), ("12", 2, "12")], True),
    "1-of-1-key-rotation-fail-not-signed-with-old-key": ([("1", 1, "1"), ("2", 1, "234")], False),
    "1-of-1-key-rotation-fail-not-signed-with-new-key": ([("1", 1, "1"), ("2", 1, "134")], False),
    "3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys": (
        [("01234", 3, "024"), ("01345", 3, "024")], False,
    ),
    "3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys": (
        [("01234", 3, "024"), ("01345", 3, "045")], False,
    ),
    "1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached": (
        [("123", 1, "1"), ("123", 2, "2")], False,
    ),
    "2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-eached": (
        [("123", 2, "12"), ("123", 1, "1")], False,
    ),
}  # fmt: skip


def version(number: int, keys: str, threshold: int, **fields: Any) -> TrustRoot:
    """A root whose root role has these keys, named by a digit each."""
    root = make_root("alice", version=number)
    known = {**root.keys, **{keyid(name): RootKey(key(name).public_key, f"owner{name}") for name in keys}}
    roles = {**root.roles, "root": role(*keys, threshold=threshold)}
    return replace(root, keys=known, roles=roles, **fields)


@pytest.mark.parametrize("case", ROTATIONS)
def test_root_rotation(case: str):
    versions, good = ROTATIONS[case]
    files = {
        number: root_file(version(number, keys, threshold), *signers)
        for number, (keys, threshold, signers) in enumerate(versions, 1)
    }
    first = SignedRoot.parse(files.pop(1), "1.root.json")
    if good:
        assert [each.raw for each in walk_roots(first, files)] == list(files.values())
        return
    with pytest.raises(TrustError) as caught:
        walk_roots(first, files)
    assert f"{len(versions)}.root.json" in str(caught.value)


# -- single cases: each is a root that comes after FIRST, and what is said of it

FIRST = version(1, "1", 1)
INSTALLED = signed_root(FIRST, "1")


def change(raw: bytes, edit: Callable[[Any], object], *signers: str) -> bytes:
    """Sign the payload again after `edit` changed its JSON, which may be no root of ours."""
    payload = json.loads(base64.b64decode(json.loads(raw)["payload"]))
    edit(payload)
    return Envelope.sign(ROOT_TYPE, json.dumps(payload).encode(), [key(name) for name in signers]).to_bytes()


def second(*signers: str, keys: str = "1", threshold: int = 1, number: int = 2, **fields: Any) -> bytes:
    return root_file(version(number, keys, threshold, **fields), *(signers or ("1",)))


def twice(raw: bytes) -> bytes:
    """The first signature a second time."""
    value = json.loads(raw)
    value["signatures"].append(value["signatures"][0])
    return json.dumps(value).encode()


def wrong_beside(sig: bytes) -> bytes:
    """Two keys of which one is enough: one signature is right, the other is `sig`."""
    root = version(2, "12", 1)
    envelope = Envelope.parse(root_file(root, "1"), "2.root.json")
    return replace(envelope, signatures=(*envelope.signatures, Signature(keyid("2"), sig))).to_bytes()


TAKEN = {
    "test_invalid_sig_in_valid_metadata": [
        wrong_beside(key("2").sign(b"something else")), wrong_beside(b""),
    ],
}  # fmt: skip
"""Roots that follow, by case."""

REFUSED: dict[str, tuple[bytes, type[AirgapError], str]] = {
    "test_unsigned_metadata[root]": (second("2"), TrustError, "not signed by a key"),
    "test_url_and_metadata_version_mismatch[root]": (second(number=3), TrustError, "want 2, got 3"),
    "test_custom_fields": (
        change(second(), lambda root: root.update({"custom-field": "value"}), "1"), FormatError, "custom-field",
    ),
    "test_deprecated_keyid_hash_algorithms": (
        change(second(), lambda root: root["keys"][keyid("1")].update(keyid_hash_algorithms="md5"), "1"),
        FormatError,
        "keyid_hash_algorithms",
    ),
    "test_duplicate_keys": (
        change(second(), lambda root: root["roles"]["release"].update(keyids=[keyid("alice")] * 9, threshold=6), "1"),
        FormatError,
        "the same value twice",
    ),
    "test_duplicate_sig_keyids": (twice(second()), FormatError, "the same signature or key id twice"),
    "test_snapshot_has_too_few_keys": (
        change(second(), lambda root: root["roles"]["release"].update(threshold=6), "1"),
        FormatError,
        "the threshold cannot be met",
    ),
}  # fmt: skip
"""What is not taken, by case: the file, and the error."""

FIRST_ROOTS: dict[str, tuple[bytes, type[AirgapError]]] = {
    "test_invalid_initial_root": (change(INSTALLED.raw, lambda root: root.pop("version"), "1"), FormatError),
    "test_unsigned_initial_root": (
        replace(INSTALLED.envelope, signatures=(Signature(keyid("1"), key("2").sign(b"x")),)).to_bytes(),
        SignatureMismatchError,
    ),
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_valid_next_root_is_accepted(case: str):
    for raw in TAKEN[case]:
        assert [each.raw for each in walk_roots(INSTALLED, {2: raw})] == [raw]


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str):
    raw, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        walk_roots(INSTALLED, {2: raw})


@pytest.mark.parametrize("case", FIRST_ROOTS)
def test_first_root(case: str):
    raw, error = FIRST_ROOTS[case]
    with pytest.raises(error):
        SignedRoot.parse(raw, "1.root.json")


def test_expired_local_root():
    """An expired root still names its successor, and judges nothing else."""
    old = signed_root(version(1, "1", 1, expires=NOW - DAY), "1")
    [new] = walk_roots(old, {2: second(expires=NOW + DAY)})
    assert check_signatures(signed("alice"), new.root, "release", NOW).owners == ("alice",)
    with pytest.raises(ExpiredError, match="has expired"):
        check_signatures(signed("alice"), old.root, "release", NOW)


# -- test_keytype_and_scheme

KEYTYPES = {"ecdsa/ecdsa-sha2-nistp256": "ecdsa-p256", "ed25519/ed25519": "ed25519"}
RSA = "test_keytype_and_scheme[rsa/rsassa-pss-sha256]"


@pytest.mark.parametrize("case", KEYTYPES)
def test_keytype(case: str):
    """The new key is wanted: with its signature the root is taken, with a wrong one it is not."""
    new = key("new", KEYTYPES[case])
    known = {**FIRST.keys, new.public_key.keyid: RootKey(new.public_key, "new")}
    both = frozenset({keyid("1"), new.public_key.keyid})
    roles = {**FIRST.roles, "root": replace(role("1", threshold=1), keyids=both, threshold=2)}
    root = replace(FIRST, version=2, keys=known, roles=roles)
    good = Envelope.sign(ROOT_TYPE, root.to_bytes(), [key("1"), new])
    [taken] = walk_roots(INSTALLED, {2: good.to_bytes()})
    third = Envelope.sign(ROOT_TYPE, replace(root, version=3).to_bytes(), [key("1"), new])
    bad = Signature(new.public_key.keyid, good.signatures[1].sig)
    with pytest.raises(SignatureMismatchError):
        walk_roots(taken, {3: replace(third, signatures=(third.signatures[0], bad)).to_bytes()})


RSA_KEY = """-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf
9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==
-----END PUBLIC KEY-----
"""


def test_rsa_is_refused():
    """The one standard key type of TUF that we do not take: the root that brings such a key is refused."""
    raw = change(second(), lambda root: root["keys"][keyid("1")].update(pem=RSA_KEY), "1")
    with pytest.raises(FormatError, match=r"not a usable public key.*RSA"):
        walk_roots(INSTALLED, {2: raw})


CASES = {
    *(f"test_root_rotation[{case}]" for case in ROTATIONS), *TAKEN, *REFUSED, *FIRST_ROOTS,
    *(f"test_keytype_and_scheme[{case}]" for case in KEYTYPES), RSA,
    "test_expired_local_root",
}  # fmt: skip
"""The cases that this module runs."""
