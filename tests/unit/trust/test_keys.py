"""Signatures, public keys and algorithms; OpenSSL is the judge."""

import base64
import importlib.util
import sys

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import FormatError, UsageError
from airgap.trust import keys
from airgap.trust.keys import ALGORITHMS, PublicKey, SigningKey, available, is_of
from tests.unit.trust.keys_support import EACH_ALGORITHM, PEM, PKCS8, PLAIN, openssl
from tests.unit.trust.support import key

SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


# -- signing and verifying -------------------------------------------------------------------------


@EACH_ALGORITHM
def test_signs_and_verifies(algorithm):
    signer = key("alice", algorithm)
    signature = signer.sign(b"message")
    assert signer.public_key.algorithm == algorithm
    assert signer.public_key.verify(b"message", signature)
    assert not signer.public_key.verify(b"massage", signature)
    assert not key("bob", algorithm).public_key.verify(b"message", signature)


@EACH_ALGORITHM
def test_a_key_of_the_algorithm_is_generated(algorithm):
    one, other = SigningKey.generate(algorithm).public_key, SigningKey.generate(algorithm).public_key
    assert one.algorithm == algorithm
    assert one.keyid != other.keyid


@EACH_ALGORITHM
@pytest.mark.parametrize(
    "change", [lambda s: b"", lambda s: s[:-1], lambda s: s + b"\0", lambda s: b"\0" * len(s)]
)
def test_a_mangled_signature_does_not_verify(algorithm, change):
    signer = key("alice", algorithm)
    assert not signer.public_key.verify(b"message", change(signer.sign(b"message")))


def ed25519_pem(point: int) -> str:
    """The PEM of a public key with this point, in little-endian."""
    raw = bytes.fromhex("302a300506032b6570032100") + point.to_bytes(32, "little")
    return f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(raw).decode()}\n-----END PUBLIC KEY-----\n"


FIELD = 2**255 - 19


ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
"""RFC 8032's curve: a y with 2 y^2 = 1 - d y^4, whose double is a point of order 4."""


def test_the_point_of_order_8_is_one():
    d = -121665 * pow(121666, -1, FIELD)
    assert (2 * ORDER_8**2 - 1 + d * ORDER_8**4) % FIELD == 0


@pytest.mark.parametrize("sign", [0, 1 << 255])
@pytest.mark.parametrize("y", [0, 1, FIELD - 1, FIELD, FIELD + 1, ORDER_8, FIELD - ORDER_8, 2**255 - 1])
def test_an_ed25519_key_of_small_order_is_refused(y, sign):
    with pytest.raises(FormatError, match="not a usable public key"):
        PublicKey.from_pem(ed25519_pem(y | sign), "key")


def test_a_file_with_two_keys_is_refused():
    two = key("alice").public_key.pem + key("bob").public_key.pem
    with pytest.raises(FormatError, match="more than one key"):
        PublicKey.from_pem(two, "key")


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "ecdsa-p384"])
def test_an_ecdsa_signature_has_one_encoding(algorithm):
    signer = key("alice", algorithm)
    signature = signer.sign(b"message")
    length, r_length = signature[1], signature[3]
    padded_r = bytes([0x30, length + 1, 2, r_length + 1, 0]) + signature[4:]
    long_form = bytes([0x30, 0x81, length]) + signature[2:]
    for changed in (padded_r, long_form, signature + b"\0\0"):
        assert not signer.public_key.verify(b"message", changed)


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "ecdsa-p384", "ed25519"])
def test_the_same_message_gets_the_same_signature(algorithm):
    assert key("alice", algorithm).sign(b"message") == key("alice", algorithm).sign(b"message")


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "ecdsa-p384"])
def test_raw_r_s_signatures_are_refused(algorithm):
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    signer = key("alice", algorithm)
    r, s = decode_dss_signature(signer.sign(b"message"))
    size = 32 if algorithm == "ecdsa-p256" else 48
    assert not signer.public_key.verify(b"message", r.to_bytes(size, "big") + s.to_bytes(size, "big"))


def test_p256_goes_with_sha256_only():
    private = ec.generate_private_key(ec.SECP256R1())
    from cryptography.hazmat.primitives import hashes

    other = private.sign(b"message", ec.ECDSA(hashes.SHA384()))
    assert not SigningKey(private).public_key.verify(b"message", other)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=100))
def test_no_made_up_signature_verifies(message, signature):
    assert not key("alice").public_key.verify(message, signature)


@pytest.mark.parametrize("error", [UnsupportedAlgorithm, TypeError])
def test_without_a_deterministic_nonce_in_cryptography_it_still_signs(error, monkeypatch):
    def ecdsa(digest, **options):
        if options:
            raise error("deterministic nonce")
        return original(digest)

    original = ec.ECDSA
    monkeypatch.setattr(keys.ec, "ECDSA", ecdsa)
    signer = key("alice")
    assert signer.public_key.verify(b"message", signer.sign(b"message"))


# -- public keys -----------------------------------------------------------------------------------


@EACH_ALGORITHM
def test_pem_round_trip(algorithm):
    public = key("alice", algorithm).public_key
    assert PublicKey.from_pem(public.pem, "pem") == public
    assert PublicKey.from_pem(public.pem.encode(), "pem") == public


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "ecdsa-p384", "ed25519"])
def test_openssl_prints_the_key_id(algorithm):
    public = key("alice", algorithm).public_key
    der = openssl("pkey", "-pubin", "-outform", "DER", data=public.pem.encode()).stdout
    assert openssl("dgst", "-sha256", "-r", data=der).stdout.split()[0].decode() == public.keyid


@pytest.mark.parametrize(
    "change",
    [
        lambda pem: "a comment\n" + pem,
        lambda pem: pem.replace("\n", "\r\n"),
        lambda pem: pem + "\n\n",
    ],
    ids=["comment", "crlf", "blank lines"],
)
def test_one_key_has_one_pem_and_one_id(change):
    public = key("alice").public_key
    assert PublicKey.from_pem(change(public.pem), "pem") == public


def test_a_compressed_point_is_the_same_key():
    public = key("alice").public_key
    packed = openssl("ec", "-pubin", "-conv_form", "compressed", data=public.pem.encode()).stdout
    assert packed != public.pem.encode()
    assert PublicKey.from_pem(packed, "pem") == public


def test_the_longest_pem():
    pem = key("alice").public_key.pem
    padded = pem + "\n" * (keys.MAX_PUBLIC_KEY_BYTES - len(pem))
    assert PublicKey.from_pem(padded, "pem").pem == pem


def _foreign(private):
    return private.public_key().public_bytes(PEM, SPKI)


@pytest.mark.parametrize(
    ("text", "got"),
    [
        (b"", "Unable to load PEM file"),
        ("", "Unable to load PEM file"),
        ("\ud800", "Unable to load PEM file"),
        (b"\xff\xfe", "Unable to load PEM file"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "got"),
        (b"-----BEGIN PUBLIC KEY-----\n****\n-----END PUBLIC KEY-----\n", "Unable to load PEM file"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "Valid PEM but no"),
        (_foreign(rsa.generate_private_key(65537, 2048)), r"unsupported kind of key \(RSA\)"),
        (_foreign(dsa.generate_private_key(1024)), r"unsupported kind of key \(DSA\)"),
        (_foreign(ed448.Ed448PrivateKey.generate()), r"unsupported kind of key \(Ed448\)"),
        (_foreign(ec.generate_private_key(ec.SECP521R1())), "the curve secp521r1"),
        (_foreign(ec.generate_private_key(ec.SECP256K1())), "the curve secp256k1"),
        (b"x" * (keys.MAX_PUBLIC_KEY_BYTES + 1), None),
    ],
    ids=[
        "empty",
        "text",
        "surrogate",
        "bytes",
        "short",
        "base64",
        "certificate",
        "rsa",
        "dsa",
        "ed448",
        "p521",
        "k1",
        "large",
    ],
)
def test_refuses_public_keys(text, got):
    with pytest.raises(FormatError, match="too large: alice.pub" if got is None else got) as caught:
        PublicKey.from_pem(text, "alice.pub")
    assert caught.value.exit_code == 10
    assert caught.value.subject == "alice.pub"


def test_a_private_key_is_no_public_key():
    raw = ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, PLAIN)
    with pytest.raises(FormatError, match="not a usable public key"):
        PublicKey.from_pem(raw, "alice.pub")


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.text(max_size=200)))
def test_any_text_is_refused_in_our_words(text):
    with pytest.raises(FormatError):
        PublicKey.from_pem(text, "pem")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 90), st.integers(1, 255))
def test_a_changed_key_is_refused_or_has_another_id(index, mask):
    from base64 import b64decode, b64encode

    public = key("alice").public_key
    der = bytearray(b64decode("".join(public.pem.splitlines()[1:-1])))
    der[index] ^= mask
    body = b64encode(bytes(der)).decode()
    try:
        found = PublicKey.from_pem(f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n", "pem")
    except FormatError:
        return
    assert found.keyid != public.keyid


# -- algorithms ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "demanded", "holds"),
    [
        ("ecdsa-p256", "ecdsa", True),
        ("ecdsa-p384", "ecdsa", True),
        ("ecdsa-p256", "ecdsa-p256", True),
        ("ecdsa-p256", "ecdsa-p384", False),
        ("ed25519", "ed25519", True),
        ("ed25519", "ecdsa", False),
        ("ml-dsa-65", "ml-dsa", True),
        ("ml-dsa-65", "ml-dsa-87", False),
        ("ecdsa-p256", "ecd", False),
    ],
)
def test_families(algorithm, demanded, holds):
    assert is_of(algorithm, demanded) is holds


@pytest.mark.parametrize("algorithm", ["", "rsa", "ECDSA-P256", "ecdsa", "ml-dsa-44"])
def test_refuses_to_generate_an_unknown_algorithm(algorithm):
    with pytest.raises(UsageError, match="want ecdsa-p256 or") as caught:
        SigningKey.generate(algorithm)
    assert caught.value.hint is None


def test_an_older_cryptography_has_no_ml_dsa(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    monkeypatch.delattr("cryptography.hazmat.primitives.asymmetric.mldsa", raising=False)
    spec = importlib.util.spec_from_file_location("older_keys", keys.__file__)
    older = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "older_keys", older)
    spec.loader.exec_module(older)
    assert older.available() == ("ecdsa-p256", "ecdsa-p384", "ed25519")
    with pytest.raises(UsageError, match="got 'ml-dsa-65'") as caught:
        older.SigningKey.generate("ml-dsa-65")
    assert "cryptography 47" in caught.value.hint


def test_a_backend_without_ml_dsa_is_said_so(monkeypatch):
    class Absent:
        @staticmethod
        def generate():
            raise UnsupportedAlgorithm("ML-DSA")

    monkeypatch.setitem(keys._ML_DSA, "ml-dsa-65", (Absent, Absent))
    with pytest.raises(UsageError, match="this key algorithm is not available here"):
        SigningKey.generate("ml-dsa-65")


def test_every_algorithm_is_available_here():
    assert available() == ALGORITHMS
