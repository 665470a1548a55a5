"""Signatures as cosign makes them."""

import base64
import json

from airgap.oci.digest import Digest
from airgap.trust.cosign import (
    BUNDLE_TYPE,
    SignatureMaterial,
)
from airgap.trust.envelope import pae
from airgap.trust.keys import PublicKey
from tests.unit.trust.support import key

IMAGE = Digest.of(b"an image manifest")


OTHER = Digest.of(b"another image manifest")


CLAIM = "cosign container image signature"


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


def public(name="alice", algorithm="ecdsa-p256") -> PublicKey:
    return key(name, algorithm).public_key


# -- several materials -----------------------------------------------------------------------------


def material(of: bytes | tuple[bytes, str | None], where="here") -> SignatureMaterial:
    if isinstance(of, bytes):
        return SignatureMaterial("bundle", of, None, where)
    return SignatureMaterial("simple", *of, where)
