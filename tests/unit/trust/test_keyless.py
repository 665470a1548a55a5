"""Keyless signatures: only of the exact identity, under the pinned trusted root, over this image."""

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AirgapError, FormatError, SignatureMismatchError, UnsignedError, UsageError
from airgap.limits import MAX_COSIGN_MATERIAL_BYTES, MAX_TRUSTED_ROOT_BYTES
from airgap.oci.digest import Digest
from airgap.trust import keyless
from airgap.trust.cosign import SignatureMaterial
from airgap.trust.keyless import Identity, KeylessVerifier
from tests.support.keyless import ISSUER, SIGNED_AT, SUBJECT, Signing, SigstoreInstance, b64, statement

IMAGE, OTHER = Digest.of(b"an image"), Digest.of(b"another image")
IDENTITY = Identity(issuer=ISSUER, subject=SUBJECT)
INSTANCE, STRANGER = SigstoreInstance(), SigstoreInstance()
SIGNING = Signing(str(IMAGE))
GOOD = INSTANCE.sign(SIGNING)
ROOT = INSTANCE.trusted_root
VERIFIER = KeylessVerifier.under(ROOT, "root.json")


def material(bundle: dict[str, Any] | bytes) -> SignatureMaterial:
    raw = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    return SignatureMaterial("bundle", raw, None, "here")


def check(*bundles: dict[str, Any] | bytes, identity: Identity = IDENTITY) -> SignatureMaterial:
    return VERIFIER.check_image(IMAGE, identity, [material(bundle) for bundle in bundles])


def test_a_signature_of_the_identity_counts_among_others():
    assert check(STRANGER.sign(SIGNING), b"{}", GOOD) == material(GOOD)


def signed(**changes: Any) -> dict[str, Any]:
    return INSTANCE.sign(replace(SIGNING, **changes))


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The good bundle with one change."""
    bundle = json.loads(json.dumps(GOOD))
    change(bundle)
    return bundle


def entry(bundle: dict[str, Any]) -> dict[str, Any]:
    return bundle["verificationMaterial"]["tlogEntries"][0]


def with_entry_of(other: dict[str, Any]) -> dict[str, Any]:
    return changed(lambda b: b["verificationMaterial"].update(tlogEntries=[entry(other)]))


TWIN = json.dumps(GOOD).replace('"dsseEnvelope"', '"dsseEnvelope": {}, "dsseEnvelope"').encode()
BAD = {
    "another subject": (signed(subject=SUBJECT.replace("main", "fork")), "SANs do not match"),
    "a subject that only begins so": (signed(subject=SUBJECT + "2"), "SANs do not match"),
    "another issuer": (signed(issuer="https://issuer.example.org"), "0 of 2 policies succeeded"),
    "a signature of another image": (signed(digest=str(OTHER)), "signed image differs"),
    "an attestation": (signed(predicate_type="https://slsa.dev/provenance/v1"), "predicate type differs"),
    "another authority": (STRANGER.sign(SIGNING), "failed to build timestamp certificate chain"),
    "another certificate log": (
        replace(INSTANCE, certificates=STRANGER.certificates).sign(SIGNING), "failed to verify SCT",
    ),
    "another transparency log": (replace(INSTANCE, log=STRANGER.log).sign(SIGNING), "keyring: invalid signature"),
    "logged after the certificate expired": (
        signed(logged_at=SIGNED_AT + timedelta(hours=1)), "failed to build timestamp certificate chain",
    ),
    "logged before the certificate": (
        signed(logged_at=SIGNED_AT - timedelta(seconds=1)), "failed to build timestamp certificate chain",
    ),
    "an entry of another payload": (signed(logged_payload=statement(str(OTHER))), "payload hash does not match"),
    "an entry of another signature": (with_entry_of(signed()), "log entry signatures do not match"),
    "no entry": (changed(lambda b: b["verificationMaterial"].update(tlogEntries=[])), "exactly one log entry"),
    "no promise": (changed(lambda b: entry(b).pop("inclusionPromise")), "inclusion promise or signed timestamp"),
    "no proof": (changed(lambda b: entry(b).pop("inclusionProof")), "inclusion"),
    "another time": (changed(lambda b: entry(b).update(integratedTime=str(int(SIGNED_AT.timestamp())))), "SET"),
    "a changed proof": (
        changed(lambda b: entry(b)["inclusionProof"].update(hashes=[b64(bytes(32))])), "invalid root hash",
    ),
    "a longer proof": (changed(lambda b: entry(b)["inclusionProof"]["hashes"].append(b64(bytes(32)))), "wrong size"),
    "a changed checkpoint": (
        changed(lambda b: entry(b)["inclusionProof"]["checkpoint"].update(envelope="log\n2\nAAAA\n\n\u2014 x AAAAAAA=\n")),
        "Signature not found",
    ),
    "a changed payload": (
        changed(lambda b: b["dsseEnvelope"].update(payload=b64(statement(str(IMAGE)) + b" "))), "invalid signature",
    ),
    "two signatures": (
        changed(lambda b: b["dsseEnvelope"]["signatures"].append(b["dsseEnvelope"]["signatures"][0])), "signature",
    ),
    "a key in place of a certificate": (
        changed(lambda b: b.update(verificationMaterial={"publicKey": {"hint": "aGludA=="}})), "InvalidBundle",
    ),
    "not a certificate": (
        changed(lambda b: b["verificationMaterial"].update(certificate={"rawBytes": "AAAA"})), "not valid",
    ),
    "an older bundle": (changed(lambda b: b.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2")), "media type"),
    "a key twice": (TWIN, "duplicate key"),
    "not JSON": (b"bundle", "JSON"),
    "too large": (b" " * (MAX_COSIGN_MATERIAL_BYTES + 1), "too large"),
}  # fmt: skip


@pytest.mark.parametrize(("bundle", "words"), BAD.values(), ids=BAD)
def test_other_signatures_are_refused(bundle, words):
    with pytest.raises(SignatureMismatchError, match="no valid cosign signature") as raised:
        check(bundle)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "subject", [".*", "https://git.example/*", SUBJECT.replace(".", "?"), SUBJECT.upper(), f"^{SUBJECT}$"]
)
def test_a_subject_is_not_a_pattern(subject):
    with pytest.raises(SignatureMismatchError, match="SANs do not match"):
        check(GOOD, identity=replace(IDENTITY, subject=subject))


def test_without_signatures():
    with pytest.raises(UnsignedError, match=r"no cosign signature: .* want one of https://git\.example/"):
        check()


def test_the_form_of_cosign_2_is_refused_with_a_hint():
    simple = SignatureMaterial("simple", b"{}", "", "here")
    with pytest.raises(SignatureMismatchError, match="in the form of cosign 2") as raised:
        VERIFIER.check_image(IMAGE, IDENTITY, [simple])
    assert "cosign 3" in raised.value.hint


ROOTS = {
    "of somebody else": (STRANGER.trusted_root, SignatureMismatchError, "certificate chain"),
    "not JSON": (b"root", FormatError, "JSON"),
    "another document": (b"{}", FormatError, "not a Sigstore trusted root"),
    "without logs": (json.dumps({**json.loads(ROOT), "tlogs": []}).encode(), FormatError, "no transparency log"),
    "without authorities": (
        json.dumps({**json.loads(ROOT), "certificateAuthorities": []}).encode(), FormatError, "Fulcio certificates",
    ),
    "without certificate logs": (json.dumps({**json.loads(ROOT), "ctlogs": []}).encode(), SignatureMismatchError, "CTFE keys"),
    "a key twice": (ROOT.replace(b'"tlogs"', b'"tlogs":[],"tlogs"'), FormatError, "duplicate key"),
    "too large": (b" " * (MAX_TRUSTED_ROOT_BYTES + 1), FormatError, "too large"),
}  # fmt: skip


@pytest.mark.parametrize(("root", "error", "words"), ROOTS.values(), ids=ROOTS)
def test_other_trusted_roots_are_refused(root, error, words):
    with pytest.raises(error, match=words):
        KeylessVerifier.under(root, "root.json").check_image(IMAGE, IDENTITY, [material(GOOD)])


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "sigstore", None)
    assert not keyless.is_available()
    with pytest.raises(UsageError, match="a library that is not installed") as raised:
        KeylessVerifier.under(ROOT, "root.json")
    assert raised.value.hint == "pip install 'airgap[sigstore]'"


TEXT = json.dumps(GOOD)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.text(max_size=3))
def test_a_damaged_bundle_counts_or_is_refused_with_an_error_of_ours(place, text):
    with contextlib.suppress(AirgapError):
        check((TEXT[:place] + text + TEXT[place + 1 :]).encode())


REAL = Path(__file__).parent / "sigstore_conformance"
BEACON = Identity(
    issuer="https://token.actions.githubusercontent.com",
    subject="https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon"
    "/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main",
)
BUNDLES = [path for path in sorted(REAL.glob("*.json")) if "trusted_root" not in path.name]


@pytest.mark.parametrize("path", BUNDLES, ids=[path.stem for path in BUNDLES])
def test_real_bundles(path):
    """The good ones are provenance: everything about them is right, except that they do not sign an image."""
    root = "rekor2" if path.name.startswith("rekor2") else "dsse"
    verifier = KeylessVerifier.under((REAL / f"{root}.trusted_root.json").read_bytes(), root)
    words = "the keyless signature is not valid" if path.stem.endswith("_fail") else "predicate type differs"
    with pytest.raises(SignatureMismatchError, match=words):
        verifier.check_image(IMAGE, BEACON, [material(path.read_bytes())])
