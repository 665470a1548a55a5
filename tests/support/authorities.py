"""Private CAs as people make them, few of which have the form of RFC 5280, and servers' certificates of theirs."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_NOT = dict.fromkeys(
    ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
     "encipher_only", "decipher_only"), False,
)  # fmt: skip


@dataclass(frozen=True)
class Extension:
    """One that does not depend on keys, or `ski` or `aki`."""

    value: x509.ExtensionType | str
    critical: bool = False


def _names(*names: x509.GeneralName) -> Extension:
    return Extension(x509.SubjectAlternativeName(names))


_LOCALHOST = x509.DNSName("localhost")
SAN = _names(_LOCALHOST, x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
ADDRESS_AS_NAME = _names(x509.DNSName("127.0.0.1"))
SKI, AKI = Extension("ski"), Extension("aki")
CA = Extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
CA_NOT_CRITICAL = Extension(CA.value)
NO_CA = Extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
SIGNS = Extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **_NOT), critical=True)
FOR_CLIENTS = Extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]))


@dataclass(frozen=True)
class Shape:
    """Extensions of the CA (None: a certificate of version 1) and of the server's certificate."""

    ca: tuple[Extension, ...] | None
    server: tuple[Extension, ...] = (SAN, SKI, AKI)
    name: str = "registry"
    """The server's common name."""
    intermediate: tuple[Extension, ...] = ()
    """Extensions of a CA between them, which is the trusted one."""
    days: int = 1
    """From now to the end of the server's certificate."""


@dataclass(frozen=True)
class Issued:
    """Files: what a client trusts, and what the server shows (certificate, key)."""

    trusted: Path
    pair: tuple[Path, Path]


@dataclass(frozen=True)
class _Holder:
    key: ec.EllipticCurvePrivateKey
    name: x509.Name
    files: tuple[Path, Path]


def issue(folder: Path, shape: Shape) -> Issued:
    """Make the CA and the server's certificate below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    root = _signed(folder / "root", "Private CA", shape.ca, None, 1)
    anchor = _signed(folder / "middle", "Middle", shape.intermediate, root, 1) if shape.intermediate else root
    return Issued(
        anchor.files[0], _signed(folder / "server", shape.name, shape.server, anchor, shape.days).files
    )


def _signed(
    at: Path, name: str, extensions: Sequence[Extension] | None, issuer: _Holder | None, days: int
) -> _Holder:
    """A certificate for a new key, signed by `issuer`, or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    holder = _Holder(key, subject, (at.with_suffix(".crt"), at.with_suffix(".key")))
    signer, end = issuer or holder, dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - dt.timedelta(days=9))
        .not_valid_after(end)
    )
    for each in extensions or ():
        builder = builder.add_extension(_value(each.value, holder, signer), each.critical)
    certificate = builder.sign(signer.key, hashes.SHA256())
    raw = certificate.public_bytes(serialization.Encoding.DER)
    if extensions is None:
        raw = _as_version_1(certificate, signer.key)
        certificate = x509.load_der_x509_certificate(raw)
    holder.files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    holder.files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return holder


def _value(value: x509.ExtensionType | str, holder: _Holder, signer: _Holder) -> x509.ExtensionType:
    if value == "ski":
        return x509.SubjectKeyIdentifier.from_public_key(holder.key.public_key())
    if value == "aki":
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    assert not isinstance(value, str)
    return value


_VERSION_3 = bytes.fromhex("a003020102")


def _as_version_1(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The same without the field for the version, signed again: the library makes version 3 only."""
    head, _, body = certificate.tbs_certificate_bytes.partition(_VERSION_3)
    assert len(head) <= 4
    tbs = _der(0x30, body)
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    return _der(0x30, tbs + algorithm + _der(0x03, b"\0" + key.sign(tbs, ec.ECDSA(hashes.SHA256()))))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = (
        bytes([size])
        if size < 0x80
        else (b"\x81" if size < 0x100 else b"\x82") + size.to_bytes(1 if size < 0x100 else 2, "big")
    )
    return bytes([tag]) + length + content
