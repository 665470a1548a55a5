"""Checks whether an image is signed with a cosign key, on bytes that the caller has fetched.

Cosign keeps signatures in two forms (its specs/SIGNATURE_SPEC.md and specs/BUNDLE_SPEC.md): "simple", a
payload that names the image's digest with its signature in an annotation, and "bundle", a Sigstore bundle
round an in-toto statement. Both are checked with the public key alone. Transparency logs, certificates,
timestamps and key hints in them are ignored: only the operator's key counts, and no network is used.
The repository name in a simple payload is ignored too, as cosign does: an image may be mirrored.

Keys are of the kinds of `PublicKey`, so RSA is refused there. Two of them differ between cosign's versions:

- ECDSA P-384: the specification and `cosign verify` hash with SHA-256, cosign 3 signs with SHA-384. Both
  count.
- Ed25519: `cosign verify` needs pure signatures, cosign 3 makes Ed25519ph ones that it cannot verify itself
  (sigstore/cosign#5074). Only pure ones count.
"""

import base64
from collections.abc import Callable, Sequence
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airgap.errors import FormatError, SignatureMismatchError, TrustError, UnsignedError
from airgap.limits import MAX_COSIGN_MATERIAL_BYTES, MAX_COSIGN_MATERIALS
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor, ImageManifest, check_size_and_digest
from airgap.oci.strict_json import Fields, dump, parse_object
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from airgap.trust.keys import PublicKey
from airgap.values import dataclass

SIMPLE_SIGNING_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature"


_CLAIM = "cosign container image signature"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
_MAX_REASONS = 5

Kind = Literal["simple", "bundle"]
_KINDS: dict[str, Kind] = {SIMPLE_SIGNING_TYPE: "simple", BUNDLE_TYPE: "bundle"}


@dataclass(frozen=True, slots=True)
class SignatureMaterial:
    """A possible signature, which is not checked yet.

    `payload` is the signed payload of a simple signature, with its base64 `signature` (None if there was
    none), or a whole Sigstore bundle. `where` is its name in messages.
    """

    kind: Kind
    payload: bytes
    signature: str | None
    where: str


def is_material(layer: Descriptor) -> bool:
    """Return whether a layer is read as a signature. It is read early, so it is on every volume."""
    return layer.media_type in _KINDS and layer.size <= MAX_COSIGN_MATERIAL_BYTES


def materials_of(manifest: ImageManifest, read: Callable[[Descriptor], bytes]) -> list[SignatureMaterial]:
    """Return the signatures in a manifest that was at `sha256-<hex>.sig` or among the image's referrers.

    Args:
        manifest: The manifest. Its `subject` is not checked, because the signed digest counts.
        read: Returns the whole content of a layer. It is not called for layers above
            `MAX_COSIGN_MATERIAL_BYTES`, which, like layers of other media types, are not signatures.

    Raises:
        FormatError: There are more than `MAX_COSIGN_MATERIALS`.
        IntegrityError: `read` returned other content.
    """
    layers = [layer for layer in manifest.layers if is_material(layer)]
    if len(layers) > MAX_COSIGN_MATERIALS:
        raise FormatError(
            "too many signatures",
            subject=manifest.digest,
            want=f"at most {MAX_COSIGN_MATERIALS}",
            got=len(layers),
        )
    return [_material(layer, read, f"{layer.digest} in {manifest.digest}") for layer in layers]


def check_image(digest: Digest, key: PublicKey, materials: Sequence[SignatureMaterial]) -> SignatureMaterial:
    """Return the first of `materials` that is a signature of `key` over the image (or index) `digest`.

    Raises `UnsignedError` if there are none, `SignatureMismatchError` with the reasons if none is valid.
    """
    return first_valid(materials, digest, f"one of key {key.keyid}", lambda item: _verify(item, digest, key))


def first_valid(
    materials: Sequence[SignatureMaterial],
    digest: Digest,
    want: str,
    verify: Callable[[SignatureMaterial], None],
) -> SignatureMaterial:
    """Return the first of `materials` for which `verify` raises no `TrustError` or `FormatError`.

    Raises `UnsignedError` if there are none, `SignatureMismatchError` with the reasons if none is valid.
    """
    if not materials:
        raise UnsignedError("no cosign signature", subject=digest, want=want)
    failures: list[tuple[SignatureMaterial, TrustError | FormatError]] = []
    for material in materials:
        try:
            verify(material)
        except (TrustError, FormatError) as error:
            failures.append((material, error))
        else:
            return material
    reasons = [f"{material.where}: {error}" for material, error in failures[:_MAX_REASONS]]
    if len(failures) > _MAX_REASONS:
        reasons.append(f"and {len(failures) - _MAX_REASONS} more")
    raise SignatureMismatchError(
        "no valid cosign signature", subject=digest, want=want, got="; ".join(reasons),
        hint=next((error.hint for _, error in failures if error.hint), None),
    )  # fmt: skip


def verify_simple_signing(payload: bytes, signature: str, digest: Digest, key: PublicKey) -> None:
    """Check a simple signing payload and its base64 signature.

    Raises `UnsignedError` for an empty signature, `SignatureMismatchError` if it is not of `key` over
    these bytes, `TrustError` if the payload is about something else, `FormatError` for malformed values.
    """
    if not signature:
        raise UnsignedError("a payload without a signature", subject=digest, want=SIGNATURE_ANNOTATION)
    try:
        raw = base64.b64decode(signature, validate=True)
    except ValueError as error:
        raise FormatError("signature is not base64", subject=digest, got=str(error)) from error
    _check_signature(payload, raw, digest, key)
    where = "simple signing payload"
    critical = Fields(parse_object(payload, where, max_bytes=MAX_COSIGN_MATERIAL_BYTES), where).child(
        "critical"
    )
    _same("signed claim", _CLAIM, critical.text("type"), digest)
    _same("signed image", str(digest), critical.child("image").text("docker-manifest-digest"), digest)


def verify_sigstore_bundle(raw: bytes, digest: Digest, key: PublicKey) -> None:
    """Check a Sigstore bundle v0.3.

    It must contain cosign's image signature statement. An attestation (provenance, an SBOM) by the same key
    does not count, nor does a signature over plain bytes (`cosign sign-blob`); cosign ignores these too.

    Raises `SignatureMismatchError` if the signature is not of `key`, `UnsignedError` if there is none,
    `TrustError` if the bundle is about something else, `FormatError` for malformed values.
    """
    envelope = bundle_envelope(raw, digest)
    _check_signature(envelope.message, envelope.signatures[0].sig, digest, key)
    check_statement(envelope.payload, digest)


def bundle_envelope(raw: bytes, digest: Digest) -> Envelope:
    """Return the envelope with one signature in a Sigstore bundle v0.3. The signature is not checked.

    Raises `TrustError` if the bundle has other content, `FormatError` for malformed values.
    """
    where = "Sigstore bundle"
    fields = Fields(parse_object(raw, where, max_bytes=MAX_COSIGN_MATERIAL_BYTES, floats=False), where)
    _same("media type of the bundle", BUNDLE_TYPE, fields.text("mediaType"), digest)
    content = [name for name in ("dsseEnvelope", "messageSignature") if fields.has(name)]
    _same("content of the bundle", "dsseEnvelope", " and ".join(content) or "nothing", digest)
    envelope = Envelope.parse(dump(fields.take("dsseEnvelope")), f"{where}: dsseEnvelope", foreign=True)
    if len(envelope.signatures) != 1:
        raise FormatError("not one signature", subject=where, got=len(envelope.signatures))
    _same("payload type", STATEMENT_TYPE, envelope.payload_type, digest)
    return envelope


def check_statement(payload: bytes, digest: Digest) -> None:
    """Raise `TrustError` unless a payload is cosign's statement about the image `digest`."""
    where = "cosign's statement"
    fields = Fields(parse_object(payload, where), where)
    _same("statement type", _STATEMENT, fields.text("_type"), digest)
    _same("predicate type", _PREDICATE, fields.text("predicateType"), digest)
    subjects = [item.string_map("digest").get(digest.algorithm) for item in fields.children("subject")]
    if digest.hex not in subjects:
        signed = ", ".join(str(subject)[:128] for subject in subjects[:_MAX_REASONS]) or "no subject"
        raise TrustError("signed image differs", subject=digest, want=digest.hex, got=signed)


def _material(layer: Descriptor, read: Callable[[Descriptor], bytes], where: str) -> SignatureMaterial:
    raw = check_size_and_digest(read(layer), layer, where)
    kind = _KINDS[layer.media_type]
    signature = layer.annotations.get(SIGNATURE_ANNOTATION) if kind == "simple" else None
    return SignatureMaterial(kind, raw, signature, where)


def _verify(material: SignatureMaterial, digest: Digest, key: PublicKey) -> None:
    if material.kind == "simple":
        verify_simple_signing(material.payload, material.signature or "", digest, key)
    else:
        verify_sigstore_bundle(material.payload, digest, key)


def _same(what: str, want: str, got: str, digest: Digest) -> None:
    if got != want:
        raise TrustError(f"{what} differs", subject=digest, want=want, got=repr(got[:128]))


def _check_signature(message: bytes, signature: bytes, digest: Digest, key: PublicKey) -> None:
    if key.verify(message, signature) or _matches_with_sha256(message, signature, key):
        return
    ed25519 = "cosign 3 signs with Ed25519ph, which no cosign verifies: ask for a signature of an ECDSA key"
    raise SignatureMismatchError(
        "signature is not of this key, or not over these bytes", subject=digest, want=f"key {key.keyid}",
        hint=ed25519 if key.algorithm == "ed25519" else None,
    )  # fmt: skip


def _matches_with_sha256(message: bytes, signature: bytes, key: PublicKey) -> bool:
    """Return whether a P-384 key made `signature` with SHA-256, which `PublicKey` does not check."""
    if key.algorithm != "ecdsa-p384":
        return False
    public: Any = serialization.load_pem_public_key(key.pem.encode("ascii"))
    try:
        public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
