"""Signatures of cosign, in both forms."""

import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import (
    FormatError,
    SignatureMismatchError,
    TrustError,
    UnsignedError,
)
from airgap.limits import MAX_COSIGN_MATERIAL_BYTES
from airgap.oci.digest import Digest
from airgap.trust.cosign import (
    BUNDLE_TYPE,
    verify_sigstore_bundle,
    verify_simple_signing,
)
from airgap.trust.envelope import pae
from airgap.trust.keys import PublicKey
from tests.unit.trust.cosign_support import (
    CLAIM,
    IMAGE,
    OTHER,
    b64,
    bundle,
    public,
    simple,
    simple_payload,
    statement,
)
from tests.unit.trust.support import key

ALGORITHMS = ["ecdsa-p256", "ecdsa-p384", "ed25519"]


def with_envelope(**changes) -> bytes:
    """A good bundle with changed fields of its envelope."""
    fields = json.loads(bundle(statement()))
    fields["dsseEnvelope"].update(changes)
    return json.dumps(fields).encode()


# -- simple signing --------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_simple_signature_of_each_algorithm_is_valid(algorithm):
    signer = key("alice", algorithm)
    verify_simple_signing(*simple(simple_payload(), signer), IMAGE, signer.public_key)


def test_a_simple_signature_of_a_sha512_digest_is_valid():
    digest = Digest.of(b"an image manifest", "sha512")
    verify_simple_signing(*simple(simple_payload(digest)), digest, public())


def test_p384_with_sha256_counts_too():
    private = ec.generate_private_key(ec.SECP384R1())
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, spki)
    payload = simple_payload()
    signature = b64(private.sign(payload, ec.ECDSA(hashes.SHA256())))
    verify_simple_signing(payload, signature, IMAGE, PublicKey.from_pem(pem, "cosign.pub"))
    with pytest.raises(SignatureMismatchError):
        verify_simple_signing(payload + b" ", signature, IMAGE, PublicKey.from_pem(pem, "cosign.pub"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_simple_signature_of_another_key_is_refused(algorithm):
    payload, signature = simple(simple_payload(), key("mallory", algorithm))
    with pytest.raises(SignatureMismatchError, match=public(algorithm=algorithm).keyid) as raised:
        verify_simple_signing(payload, signature, IMAGE, public(algorithm=algorithm))
    assert ("Ed25519ph" in (raised.value.hint or "")) == (algorithm == "ed25519")


def test_a_simple_signature_of_a_changed_payload_is_refused():
    payload, signature = simple(simple_payload(OTHER))
    forged = payload.replace(OTHER.hex.encode(), IMAGE.hex.encode())
    with pytest.raises(SignatureMismatchError):
        verify_simple_signing(forged, signature, IMAGE, public())


def test_what_is_unsigned_is_not_parsed():
    with pytest.raises(SignatureMismatchError):
        verify_simple_signing(b"{", b64(b"no signature"), IMAGE, public())
    with pytest.raises(SignatureMismatchError):
        verify_sigstore_bundle(with_envelope(payload=b64(b"{")), IMAGE, public())


@pytest.mark.parametrize(
    ("payload", "kind", "message"),
    [
        (simple_payload(OTHER), TrustError, f"want {IMAGE}, got '{OTHER}'"),
        (simple_payload(claim="atomic container signature"), TrustError, f"want {CLAIM}, got 'atomic"),
        (simple_payload(claim=""), TrustError, "claim differs"),
        (simple_payload(claim=None), FormatError, "type, want a string"),
        (simple_payload(image={"docker-manifest-digest": IMAGE.hex}), TrustError, "image differs"),
        (simple_payload(image={"Docker-manifest-digest": str(IMAGE)}), FormatError, "docker-manifest-digest"),
        (simple_payload(image={"docker-manifest-digest": [str(IMAGE)]}), FormatError, "want a string"),
        (simple_payload(image=None), FormatError, "image, want an object"),
        (simple_payload(Image={"docker-manifest-digest": str(OTHER)}), FormatError, "case only"),
        (b'{"critical":[]}', FormatError, "want an object"),
        (b"{}", FormatError, "want an object"),
        (b"[]", FormatError, "not a JSON object"),
        (b"\xff", FormatError, "not UTF-8"),
        (b"", FormatError, "not JSON"),
        (simple_payload() + b"{}", FormatError, "not JSON"),
        (simple_payload() + b" " * MAX_COSIGN_MATERIAL_BYTES, FormatError, "too large"),
        (simple_payload()[:-1] + b',"critical":{}}', FormatError, "duplicate key"),
    ],
)
def test_simple_refuses_though_signed(payload, kind, message):
    with pytest.raises(kind) as raised:
        verify_simple_signing(*simple(payload), IMAGE, public())
    assert message in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("signature", "kind"),
    [
        ("", UnsignedError),
        ("*", FormatError),
        ("é", FormatError),
        ("AAA", FormatError),
        ("AAAA\n", FormatError),
        ("AAAA", SignatureMismatchError),
    ],
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_simple_refuses_the_signature(signature, kind, algorithm):
    with pytest.raises(kind):
        verify_simple_signing(simple_payload(), signature, IMAGE, public(algorithm=algorithm))


# -- bundles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_bundle_of_each_algorithm_is_valid(algorithm):
    signer = key("alice", algorithm)
    verify_sigstore_bundle(bundle(statement(), signer), IMAGE, signer.public_key)


def test_a_bundle_may_have_several_subjects():
    subjects = [{"digest": {"sha256": each.hex}} for each in (OTHER, IMAGE)]
    verify_sigstore_bundle(bundle(statement(subject=subjects)), IMAGE, public())


def test_a_certificate_and_a_log_entry_in_a_bundle_are_ignored():
    material = {"certificate": {"rawBytes": "AAAA"}, "tlogEntries": [{"logIndex": "1"}]}
    verify_sigstore_bundle(bundle(statement(), verificationMaterial=material), IMAGE, public())


def test_a_bundle_of_another_key_is_refused():
    with pytest.raises(SignatureMismatchError, match=public().keyid):
        verify_sigstore_bundle(bundle(statement(), key("mallory")), IMAGE, public())


def test_a_bundle_with_a_changed_statement_is_refused():
    with pytest.raises(SignatureMismatchError):
        verify_sigstore_bundle(with_envelope(payload=b64(statement() + b" ")), IMAGE, public())


MESSAGE_SIGNATURE = {"messageDigest": {"algorithm": "SHA2_256", "digest": "AAAA"}, "signature": "AAAA"}


@pytest.mark.parametrize(
    ("raw", "kind", "message"),
    [
        (bundle(statement(OTHER)), TrustError, f"want {IMAGE.hex}, got {OTHER.hex}"),
        (bundle(statement(subject=[])), TrustError, "got no subject"),
        (bundle(statement(subject=[{}])), TrustError, "got None"),
        (bundle(statement(subject=[{"digest": {"sha512": IMAGE.hex}}])), TrustError, "got None"),
        (bundle(statement(subject=[{"digest": {"sha256": 1}}])), FormatError, "object of strings"),
        (bundle(statement(subject=[{"digest": {"sha256": "0" * 999}}])), TrustError, f"got {'0' * 128}"),
        (bundle(statement(subject=["x"])), FormatError, "want an object"),
        (bundle(statement(subject={})), FormatError, "want a list"),
        (bundle(statement(subject=None)), FormatError, "want a list"),
        (bundle(statement(predicateType="https://slsa.dev/provenance/v1")), TrustError, "slsa.dev"),
        (bundle(statement(predicateType=None)), FormatError, "predicateType"),
        (bundle(statement(_type="https://in-toto.io/Statement/v0.1")), TrustError, "v0.1"),
        (bundle(b"[]"), FormatError, "not a JSON object"),
        (bundle(statement()[:-1] + b',"Subject":[]}'), FormatError, "case only"),
        (bundle(simple_payload()), FormatError, "_type"),
        (bundle(statement(), payload_type="application/json"), TrustError, "application/json"),
        (bundle(statement(), mediaType=f"{BUNDLE_TYPE};x=1"), TrustError, "x=1"),
        (bundle(statement(), mediaType=None), FormatError, "mediaType"),
        (bundle(statement(), messageSignature=MESSAGE_SIGNATURE), TrustError, "and messageSignature"),
        (bundle(statement(), dsseEnvelope=None), FormatError, "not a JSON object"),
        (bundle(statement(), verificationMaterial=1.5), FormatError, "not an integer"),
        (bundle(statement(), x="x" * MAX_COSIGN_MATERIAL_BYTES), FormatError, "too large"),
        (json.dumps({"mediaType": BUNDLE_TYPE}).encode(), TrustError, "got 'nothing'"),
        (
            json.dumps({"mediaType": BUNDLE_TYPE, "messageSignature": MESSAGE_SIGNATURE}).encode(),
            TrustError,
            "want dsseEnvelope, got 'messageSignature'",
        ),
        (with_envelope(signatures=[]), UnsignedError, "no signature"),
        (with_envelope(signatures=[{"sig": "AAAA"}, {"sig": "AAAB"}]), FormatError, "not one signature"),
        (with_envelope(signatures=[{"sig": 1}]), FormatError, "sig, want a string"),
        (with_envelope(payload="*"), FormatError, "not base64"),
        (with_envelope(payloadType="a b"), FormatError, "not a payload type"),
        (with_envelope(more=1), FormatError, "unknown field"),
        (bundle(statement()).replace(b'"sig": "', b'"sig": 1e999, "x": "'), FormatError, "not an integer"),
        (b"{}", FormatError, "mediaType"),
        (b"null", FormatError, "not a JSON object"),
        (b"", FormatError, "not JSON"),
        (b"[" * 100_000, FormatError, "nested too deeply"),
    ],
)
def test_bundle_refuses(raw, kind, message):
    with pytest.raises(kind) as raised:
        verify_sigstore_bundle(raw, IMAGE, public())
    assert message in str(raised.value)
    assert len(str(raised.value)) < 500


def test_forms_do_not_stand_in_for_each_other():
    payload, signature = simple(pae("application/vnd.in-toto+json", statement()))
    with pytest.raises(FormatError):
        verify_simple_signing(payload, signature, IMAGE, public())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_byte_of_a_payload_is_refused(data):
    payload, signature = simple(simple_payload())
    changed = _changed(data, payload)
    with pytest.raises(SignatureMismatchError):
        verify_simple_signing(changed, signature, IMAGE, public())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_changed_bundle_is_for_another_image(data):
    with pytest.raises((FormatError, TrustError)):
        verify_sigstore_bundle(_changed(data, bundle(statement())), OTHER, public())


def _changed(data, raw: bytes) -> bytes:
    at = data.draw(st.integers(0, len(raw) - 1))
    return raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_signed_bytes_raise_ours(payload):
    with pytest.raises((FormatError, TrustError)):
        verify_simple_signing(*simple(payload), IMAGE, public())
    with pytest.raises((FormatError, TrustError)):
        verify_sigstore_bundle(bundle(payload), IMAGE, public())
    with pytest.raises((FormatError, TrustError)):
        verify_sigstore_bundle(payload, IMAGE, public())
