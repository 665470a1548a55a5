"""Several signatures of one image, and the manifests that hold them."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

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
    check_image,
    materials_of,
    verify_sigstore_bundle,
)
from airgap.trust.keys import PublicKey
from tests.unit.trust.cosign_support import (
    IMAGE,
    OTHER,
    bundle,
    material,
    public,
    simple,
    simple_payload,
    statement,
)
from tests.unit.trust.support import key

GOOD = [material(simple(simple_payload())), material(bundle(statement()))]


BAD = [
    material(simple(simple_payload(), key("mallory")), "mallory's"),
    material((simple_payload(), None), "stripped"),
    material(bundle(statement(OTHER)), "other"),
    material(b"{", "broken"),
]


@pytest.mark.parametrize("good", GOOD)
def test_the_first_valid_signature_counts(good):
    later = material(bundle(statement()), "later")
    assert check_image(IMAGE, public(), [*BAD, good, later]) is good


def test_an_image_without_signatures_is_refused():
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
