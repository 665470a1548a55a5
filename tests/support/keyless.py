"""A Sigstore instance for tests: a certificate authority, its certificate log and a transparency log.

It signs as cosign does with `--new-bundle-format`: a Sigstore bundle v0.3 round cosign's statement, whose
certificate has a signed certificate timestamp, and whose entry in a log of two has an inclusion proof and a
promise. The formats are those of Fulcio (docs/oid-info.md, RFC 6962) and Rekor (`dsse` 0.0.1).
"""

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_MANIFEST, Descriptor
from airgap.trust.cosign import BUNDLE_TYPE
from airgap.trust.envelope import STATEMENT_TYPE, pae
from tests.support.attachments import EMPTY
from tests.support.images import Image

ISSUER = "https://issuer.example"
SUBJECT = "https://git.example/acme/app/.github/workflows/release.yml@refs/heads/main"
SIGNED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LIFE = timedelta(minutes=10)

_ISSUER_V1 = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_TIMESTAMPS = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ORIGIN = "log.example - 1"
_FIRST_INDEX = 41


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def _id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_der(key)).digest()


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


def _usage(*, of_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not of_authority, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=of_authority, crl_sign=of_authority,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _asn1(tag: int, raw: bytes) -> bytes:
    length = len(raw).to_bytes(2)
    return bytes([tag]) + (length[1:] if len(raw) < 128 else b"\x82" + length) + raw


def statement(digest: str, predicate_type: str = "https://sigstore.dev/cosign/sign/v1") -> bytes:
    """What cosign signs for an image."""
    algorithm, value = digest.split(":")
    subject = [{"digest": {algorithm: value}}]
    top = {"_type": "https://in-toto.io/Statement/v1", "predicateType": predicate_type}
    return compact({**top, "subject": subject, "predicate": {}})


@dataclass(frozen=True)
class Signing:
    """One signature, and what is unusual about it."""

    digest: str
    issuer: str = ISSUER
    subject: str = SUBJECT
    logged_at: datetime = SIGNED_AT + timedelta(minutes=1)
    predicate_type: str = "https://sigstore.dev/cosign/sign/v1"
    logged_payload: bytes | None = None
    """The payload in the log's entry, if it is not the signed one."""


@dataclass(frozen=True)
class SigstoreInstance:
    authority: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)
    certificates: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)
    """The key of the certificate log."""
    log: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)

    def sign(self, signing: Signing) -> dict[str, Any]:
        """A Sigstore bundle as a JSON object."""
        key, payload = _new_key(), statement(signing.digest, signing.predicate_type)
        certificate = self._certificate(key, signing)
        signature = sign(key, pae(STATEMENT_TYPE, payload))
        logged = payload if signing.logged_payload is None else signing.logged_payload
        entry = self._entry(certificate, logged, signature, int(signing.logged_at.timestamp()))
        envelope = {
            "payload": b64(payload), "payloadType": STATEMENT_TYPE, "signatures": [{"sig": b64(signature)}],
        }  # fmt: skip
        raw = certificate.public_bytes(serialization.Encoding.DER)
        material = {"certificate": {"rawBytes": b64(raw)}, "tlogEntries": [entry]}
        return {"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}

    @property
    def trusted_root(self) -> bytes:
        """The file that pins this instance."""
        der = self._root.public_bytes(serialization.Encoding.DER)
        authority = {
            "subject": {"organization": "example", "commonName": "authority"},
            "uri": "https://authority.example",
            "certChain": {"certificates": [{"rawBytes": b64(der)}]},
            "validFor": {"start": "2026-01-01T00:00:00Z"},
        }
        return compact({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_log_of("https://log.example", self.log)],
            "certificateAuthorities": [authority],
            "ctlogs": [_log_of("https://certificates.example", self.certificates)],
            "timestampAuthorities": [],
        })  # fmt: skip

    @property
    def _name(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])

    @cached_property
    def _root(self) -> x509.Certificate:
        usage = _usage(of_authority=True)
        public = self.authority.public_key()
        return (
            x509.CertificateBuilder(self._name, self._name, public, 1)
            .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self.authority, hashes.SHA256())
        )

    def _certificate(self, key: ec.EllipticCurvePrivateKey, signing: Signing) -> x509.Certificate:
        usage = _usage(of_authority=False)
        issuer = signing.issuer.encode()
        name = x509.UniformResourceIdentifier(signing.subject)
        public = key.public_key()
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key())
        builder = (
            x509.CertificateBuilder(self._name, x509.Name([]), public, x509.random_serial_number())
            .not_valid_before(SIGNED_AT)
            .not_valid_after(SIGNED_AT + LIFE)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(identifier, critical=False)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_V1, issuer), critical=False)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_V2, _asn1(0x0C, issuer)), critical=False)
        )
        precertificate = builder.sign(self.authority, hashes.SHA256())
        timestamps = x509.UnrecognizedExtension(_TIMESTAMPS, self._timestamps(precertificate))
        return builder.add_extension(timestamps, critical=False).sign(self.authority, hashes.SHA256())

    def _timestamps(self, precertificate: x509.Certificate) -> bytes:
        """A list of one signed certificate timestamp (RFC 6962 §3.2, §3.3)."""
        body, time = precertificate.tbs_certificate_bytes, int(SIGNED_AT.timestamp() * 1000)
        about = (
            struct.pack("!BBQH", 0, 0, time, 1) + _id(self.authority) + len(body).to_bytes(3) + body + b"\0\0"
        )
        signature = sign(self.certificates, about)
        one = (
            b"\0"
            + _id(self.certificates)
            + time.to_bytes(8)
            + b"\0\0\4\3"
            + len(signature).to_bytes(2)
            + signature
        )
        listed = len(one).to_bytes(2) + one
        return _asn1(0x04, len(listed).to_bytes(2) + listed)

    def _entry(
        self, certificate: x509.Certificate, payload: bytes, signature: bytes, time: int
    ) -> dict[str, Any]:
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        sha256 = hashlib.sha256(payload).hexdigest()
        body = compact({
            "apiVersion": "0.0.1", "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": sha256},
                "payloadHash": {"algorithm": "sha256", "value": sha256},
                "signatures": [{"signature": b64(signature), "verifier": b64(pem)}],
            },
        })  # fmt: skip
        promised = {
            "body": b64(body),
            "integratedTime": time,
            "logID": _id(self.log).hex(),
            "logIndex": _FIRST_INDEX,
        }
        other = hashlib.sha256(b"\0another entry").digest()
        root = hashlib.sha256(b"\1" + other + hashlib.sha256(b"\0" + body).digest()).digest()
        return {
            "logIndex": str(_FIRST_INDEX),
            "logId": {"keyId": b64(_id(self.log))},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(time),
            "inclusionPromise": {"signedEntryTimestamp": b64(sign(self.log, compact(promised)))},
            "inclusionProof": {
                "logIndex": "1", "rootHash": b64(root), "treeSize": "2", "hashes": [b64(other)],
                "checkpoint": {"envelope": self._checkpoint(root)},
            },
            "canonicalizedBody": b64(body),
        }  # fmt: skip

    def _checkpoint(self, root: bytes) -> str:
        note = f"{_ORIGIN}\n2\n{b64(root)}\n"
        signature = _id(self.log)[:4] + sign(self.log, note.encode())
        return f"{note}\n\u2014 log.example {b64(signature)}\n"


def _log_of(url: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    return {
        "baseUrl": url, "hashAlgorithm": "SHA2_256", "logId": {"keyId": b64(_id(key))},
        "publicKey": {
            "rawBytes": b64(_der(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": "2026-01-01T00:00:00Z"},
        },
    }  # fmt: skip


def signature_image(bundle: dict[str, Any], subject: Image) -> Image:
    """The artifact that cosign 3 attaches to an image."""
    blob = compact(bundle)
    layer = Descriptor(BUNDLE_TYPE, Digest.of(blob), len(blob)).to_json()
    raw = compact({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": BUNDLE_TYPE,
        "config": EMPTY, "layers": [layer], "subject": subject.descriptor.to_json(),
    })  # fmt: skip
    root = Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw))
    contents = {root.digest: raw, Digest.of(blob): blob, Digest.of(b"{}"): b"{}"}
    return Image(root, raw, contents, None, (Digest.of(blob),))
