import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import (
    DigestMismatchError,
    FormatError,
    SignatureMismatchError,
    TrustError,
    UnsignedError,
)
from airgap.limits import MAX_COSIGN_MATERIAL_BYTES, MAX_COSIGN_MATERIALS
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, ImageManifest
from airgap.trust.cosign import (
    BUNDLE_TYPE,
    SIGNATURE_ANNOTATION,
    SIMPLE_SIGNING_TYPE,
    SignatureMaterial,
    check_image,
    materials_of,
    verify_sigstore_bundle,
    verify_simple_signing,
)
from airgap.trust.envelope import pae
from airgap.trust.keys import PublicKey
from tests.unit.trust.support import key

IMAGE = Digest.of(b"an image manifest")
OTHER = Digest.of(b"another image manifest")
CLAIM = "cosign container image signature"
ALGORITHMS = ["ecdsa-p256", "ecdsa-p384", "ed25519"]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def simple_payload(digest=IMAGE, claim=CLAIM, **more) -> bytes:
    critical = {
        "identity": {"docker-reference": "r.example/app"},
        "image": {"docker-manifest-digest": str(digest)},
        "type": claim,
    }
    return json.dumps({"critical": {**critical, **more}, "optional": None}).encode()


def simple(payload: bytes, signer=None) -> tuple[bytes, str]:
    """The payload and the signature of `signer` (alice) over it."""
    return payload, b64((signer or key("alice")).sign(payload))


def statement(digest=IMAGE, **changes) -> bytes:
    fields = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {digest.algorithm: digest.hex}, "annotations": {}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    }
    return json.dumps({**fields, **changes}).encode()


def bundle(payload: bytes, signer=None, payload_type="application/vnd.in-toto+json", **changes) -> bytes:
    sig = (signer or key("alice")).sign(pae(payload_type, payload))
    envelope = {"payload": b64(payload), "payloadType": payload_type, "signatures": [{"sig": b64(sig)}]}
    fields = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": "aGludA=="}},
        "dsseEnvelope": envelope,
    }
    return json.dumps({**fields, **changes}).encode()


def with_envelope(**changes) -> bytes:
    """A good bundle with changed fields of its envelope."""
    fields = json.loads(bundle(statement()))
    fields["dsseEnvelope"].update(changes)
    return json.dumps(fields).encode()


def public(name="alice", algorithm="ecdsa-p256") -> PublicKey:
    return key(name, algorithm).public_key


# -- simple signing --------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_simple(algorithm):
    signer = key("alice", algorithm)
    verify_simple_signing(*simple(simple_payload(), signer), IMAGE, signer.public_key)


def test_simple_of_sha512():
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
def test_simple_of_another_key(algorithm):
    payload, signature = simple(simple_payload(), key("mallory", algorithm))
    with pytest.raises(SignatureMismatchError, match=public(algorithm=algorithm).keyid) as raised:
        verify_simple_signing(payload, signature, IMAGE, public(algorithm=algorithm))
    assert ("Ed25519ph" in (raised.value.hint or "")) == (algorithm == "ed25519")


def test_simple_with_a_changed_payload():
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
def test_bundle(algorithm):
    signer = key("alice", algorithm)
    verify_sigstore_bundle(bundle(statement(), signer), IMAGE, signer.public_key)


def test_bundle_with_several_subjects():
    subjects = [{"digest": {"sha256": each.hex}} for each in (OTHER, IMAGE)]
    verify_sigstore_bundle(bundle(statement(subject=subjects)), IMAGE, public())


def test_bundle_with_a_certificate_and_a_log_entry():
    material = {"certificate": {"rawBytes": "AAAA"}, "tlogEntries": [{"logIndex": "1"}]}
    verify_sigstore_bundle(bundle(statement(), verificationMaterial=material), IMAGE, public())


def test_bundle_of_another_key():
    with pytest.raises(SignatureMismatchError, match=public().keyid):
        verify_sigstore_bundle(bundle(statement(), key("mallory")), IMAGE, public())


def test_bundle_with_a_changed_statement():
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


# -- several materials -----------------------------------------------------------------------------


def material(of: bytes | tuple[bytes, str | None], where="here") -> SignatureMaterial:
    if isinstance(of, bytes):
        return SignatureMaterial("bundle", of, None, where)
    return SignatureMaterial("simple", *of, where)


GOOD = [material(simple(simple_payload())), material(bundle(statement()))]
BAD = [
    material(simple(simple_payload(), key("mallory")), "mallory's"),
    material((simple_payload(), None), "stripped"),
    material(bundle(statement(OTHER)), "other"),
    material(b"{", "broken"),
]


@pytest.mark.parametrize("good", GOOD)
def test_the_first_that_holds(good):
    later = material(bundle(statement()), "later")
    assert check_image(IMAGE, public(), [*BAD, good, later]) is good


def test_no_material():
    with pytest.raises(UnsignedError, match="no cosign signature") as raised:
        check_image(IMAGE, public(), [])
    assert public().keyid in str(raised.value)


def test_none_holds_and_each_reason_is_told():
    with pytest.raises(SignatureMismatchError) as raised:
        check_image(IMAGE, public(), BAD)
    text = str(raised.value)
    assert f"{IMAGE}, want one of key {public().keyid}" in text
    assert "mallory's: signature is not of this key" in text
    assert "stripped: a payload without a signature" in text
    assert f"other: signed image differs: {IMAGE}, want {IMAGE.hex}, got {OTHER.hex}" in text
    assert "broken: not JSON" in text
    assert "more" not in text
    assert raised.value.hint is None


def test_reasons_are_cut_and_hints_kept():
    bad = material(simple(simple_payload(), key("mallory", "ed25519")))
    with pytest.raises(SignatureMismatchError, match="; and 95 more") as raised:
        check_image(IMAGE, public(algorithm="ed25519"), [bad] * 100)
    assert "ECDSA" in raised.value.hint


@pytest.mark.parametrize(("count", "more"), [(5, []), (6, ["and 1 more"])])
def test_five_reasons_are_reported(count, more):
    with pytest.raises(SignatureMismatchError) as raised:
        check_image(IMAGE, public(), [BAD[0]] * count)
    assert str(raised.value).split("; ")[5:] == more


def test_five_subjects_are_reported_each_of_at_most_128_characters():
    subjects = [{"digest": {"sha256": "0" * 129}}] * 6
    with pytest.raises(TrustError) as raised:
        verify_sigstore_bundle(bundle(statement(subject=subjects)), IMAGE, public())
    assert str(raised.value).endswith(f", got {', '.join(['0' * 128] * 5)}")


def test_rsa_keys_are_refused():
    private = rsa.generate_private_key(65537, 2048)
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, spki)
    with pytest.raises(FormatError, match=r"ecdsa-p256.*unsupported kind of key \(RSA\)"):
        PublicKey.from_pem(pem, "cosign.pub")


# -- signature manifests ---------------------------------------------------------------------------


def layer(media_type: str, raw: bytes, **annotations: str) -> Descriptor:
    return Descriptor(media_type, Digest.of(raw), len(raw), platform=None, annotations=annotations)


def manifest(*layers: Descriptor) -> ImageManifest:
    return ImageManifest(b"{}", OCI_MANIFEST, Descriptor(OCI_CONFIG, Digest.of(b"{}"), 2), layers)


def test_materials_of_both_forms():
    payload, signature = simple(simple_payload())
    raw = bundle(statement())
    contents = {Digest.of(each): each for each in (payload, raw)}
    one = layer(SIMPLE_SIGNING_TYPE, payload, **{SIGNATURE_ANNOTATION: signature})
    stripped = layer(SIMPLE_SIGNING_TYPE, payload)
    two = layer(BUNDLE_TYPE, raw, **{SIGNATURE_ANNOTATION: "ignored"})
    other = layer(OCI_LAYER_GZIP, b"never read")
    found = materials_of(manifest(other, one, stripped, two), lambda each: contents[each.digest])
    assert [(each.kind, each.payload, each.signature) for each in found] == [
        ("simple", payload, signature),
        ("simple", payload, None),
        ("bundle", raw, None),
    ]
    assert found[0].where == f"{one.digest} in {Digest.of(b'{}')}"
    assert check_image(IMAGE, public(), found) is found[0]


def test_large_layers_are_not_read():
    sizes = []

    def read(each: Descriptor) -> bytes:
        sizes.append(each.size)
        return b"x" * each.size

    fits, large = (layer(BUNDLE_TYPE, b"x" * (MAX_COSIGN_MATERIAL_BYTES + more)) for more in (0, 1))
    assert len(materials_of(manifest(large, fits), read)) == 1
    assert sizes == [MAX_COSIGN_MATERIAL_BYTES]


def test_too_many_layers_are_refused_unread():
    layers = [layer(BUNDLE_TYPE, b"x")] * MAX_COSIGN_MATERIALS
    assert len(materials_of(manifest(*layers), lambda each: b"x")) == MAX_COSIGN_MATERIALS
    with pytest.raises(FormatError, match="at most 256, got 257"):
        materials_of(manifest(*layers, layers[0]), lambda each: pytest.fail("read"))


def test_content_of_another_digest_is_refused():
    with pytest.raises(DigestMismatchError):
        materials_of(manifest(layer(BUNDLE_TYPE, b"x")), lambda each: b"y")
