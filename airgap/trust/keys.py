"""Signing keys and public keys. The algorithm is a property of the key.

A signature never says how to check it, so an attacker who writes one cannot choose a weaker check.
ECDSA signatures are DER (RFC 3279 §2.2.3) and Ed25519 and ML-DSA are "pure" (RFC 8032, FIPS 204, empty
context), as the `openssl` command makes and checks them.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from airgap.errors import FormatError, KeyFileError, UsageError, WrongPassphraseError
from airgap.limits import MAX_PUBLIC_KEY_BYTES
from airgap.trust.keyfile import read_private, write_private
from airgap.values import dataclass

try:
    from cryptography.hazmat.primitives.asymmetric import mldsa
except ImportError:  # cryptography before 47
    _ML_DSA: dict[str, tuple[type[Any], type[Any]]] = {}
else:
    _ML_DSA = {
        "ml-dsa-65": (mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey),
        "ml-dsa-87": (mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey),
    }

DEFAULT_ALGORITHM = "ecdsa-p256"
ALGORITHMS = (DEFAULT_ALGORITHM, "ecdsa-p384", "ed25519", "ml-dsa-65", "ml-dsa-87")
"""All supported algorithms; the last two only if `cryptography` has them."""

FAMILIES = ("ecdsa", "ed25519", "ml-dsa")
"""Families that a trust root may require instead of an exact algorithm."""


_ECDSA: dict[str, tuple[type[ec.EllipticCurve], type[hashes.HashAlgorithm]]] = {
    "ecdsa-p256": (ec.SECP256R1, hashes.SHA256),
    "ecdsa-p384": (ec.SECP384R1, hashes.SHA384),
}


_FIELD = 2**255 - 19
_SIGN_OF_X = 1 << 255
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})
"""The y coordinates of all points whose order divides 8."""


def is_of(algorithm: str, demanded: str) -> bool:
    """Return whether `algorithm` is `demanded`, or belongs to the family `demanded`."""
    return algorithm == demanded or algorithm.startswith(f"{demanded}-")


class Signer(Protocol):
    """Anything that can sign with one private key."""

    @property
    def public_key(self) -> "PublicKey":
        """The key that verifies what `sign` makes."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message` itself (not over a hash of it)."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key; make it with `from_pem`, which computes the id from the key itself.

    `keyid` is the hex SHA-256 of the SubjectPublicKeyInfo DER:
    `openssl pkey -pubin -in KEY -outform DER | sha256sum` prints it.
    """

    pem: str
    keyid: str
    algorithm: str

    @classmethod
    def from_pem(cls, text: str | bytes, where: str) -> Self:
        """Read a PEM `PUBLIC KEY` and encode it again, so that one key has one PEM and one id.

        Raises `FormatError` for anything else and for a kind of key that is not in `ALGORITHMS`.
        """
        raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
        if len(raw) > MAX_PUBLIC_KEY_BYTES:
            raise FormatError(
                "public key too large", subject=where, want=f"at most {MAX_PUBLIC_KEY_BYTES:,} bytes"
            )
        if raw.count(b"-----BEGIN ") > 1:
            raise FormatError("more than one key", subject=where, want="one PEM block")
        try:
            return cls._of(serialization.load_pem_public_key(raw))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise FormatError(
                "not a usable public key", subject=where,
                want=f"PEM, one of {', '.join(available())}", got=_reason(error),
            ) from error  # fmt: skip

    @classmethod
    def _of(cls, key: Any) -> Self:
        """Convert a key object of `cryptography`; raises ValueError for an unsupported kind."""
        algorithm = _algorithm_of(key)
        _refuse_small_order(key)
        encoding, spki = serialization.Encoding, serialization.PublicFormat.SubjectPublicKeyInfo
        keyid = hashlib.sha256(key.public_bytes(encoding.DER, spki)).hexdigest()
        return cls(key.public_bytes(encoding.PEM, spki).decode("ascii"), keyid, algorithm)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Return whether `signature` is a signature of this key over `message`."""
        key: Any = serialization.load_pem_public_key(self.pem.encode("ascii"))
        try:
            if self.algorithm in _ECDSA:
                if not _is_der(signature):
                    return False
                key.verify(signature, message, ec.ECDSA(_ECDSA[self.algorithm][1]()))
            else:
                key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key held in memory; implements `Signer`."""

    def __init__(self, private: Any) -> None:
        """Take a private key object of `cryptography`; raises ValueError for an unsupported kind."""
        self._private = private
        self._public = PublicKey._of(private.public_key())  # noqa: SLF001  # the other half of one thing

    @property
    def public_key(self) -> PublicKey:
        return self._public

    @classmethod
    def generate(cls, algorithm: str = DEFAULT_ALGORITHM) -> Self:
        """Make a new key; raises `UsageError` for an algorithm that is unknown or not available here."""
        try:
            if algorithm in _ECDSA:
                return cls(ec.generate_private_key(_ECDSA[algorithm][0]()))
            if algorithm == "ed25519":
                return cls(ed25519.Ed25519PrivateKey.generate())
            if algorithm in _ML_DSA:
                return cls(_ML_DSA[algorithm][0].generate())
        except UnsupportedAlgorithm as error:
            raise _unavailable(algorithm) from error
        raise _unavailable(algorithm)

    @classmethod
    def load(cls, path: Path, passphrase: Callable[[], bytes]) -> Self:
        """Read the key in the PEM file at `path`; `passphrase` is called only if the file is encrypted.

        Raises `KeyFileError`: see `read_private`, and for a wrong passphrase and a kind of key
        that is not in `ALGORITHMS`.
        """
        raw = read_private(path)
        try:
            return cls(serialization.load_pem_private_key(raw, None))
        except TypeError:  # `cryptography` raises this if the key is encrypted
            return cls._decrypt(raw, passphrase(), path)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise _unusable(path, error) from error

    @classmethod
    def _decrypt(cls, raw: bytes, passphrase: bytes, path: Path) -> Self:
        try:
            private = serialization.load_pem_private_key(raw, passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise WrongPassphraseError(
                "cannot decrypt the key file", subject=path,
                hint="the passphrase is wrong, or the file is damaged",
            ) from error  # fmt: skip
        try:
            return cls(private)
        except ValueError as error:
            raise _unusable(path, error) from error

    def save(self, path: Path, passphrase: bytes | None) -> None:
        """Write PKCS#8 PEM to a new file, encrypted if there is a passphrase.

        Raises `KeyFileError` for an empty or overlong passphrase and for a file that exists,
        `MediaError` when the disk fails.
        """
        try:
            raw: bytes = self._private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption()
                if passphrase is None
                else serialization.BestAvailableEncryption(passphrase),
            )
        except ValueError as error:
            raise KeyFileError("unusable passphrase", subject=path, got=str(error)) from error
        write_private(path, raw)

    def sign(self, message: bytes) -> bytes:
        algorithm = self._public.algorithm
        if algorithm in _ECDSA:
            return bytes(self._private.sign(message, _deterministic(_ECDSA[algorithm][1]())))
        return bytes(self._private.sign(message))


class LateKey:
    """A private key that is loaded when it first signs, so that its passphrase is asked last; implements
    `Signer`. It signs only as `public_key`.
    """

    def __init__(self, public_key: PublicKey, load: Callable[[], SigningKey]) -> None:
        self._public = public_key
        self._load = load
        self._loaded: SigningKey | None = None

    @property
    def public_key(self) -> PublicKey:
        return self._public

    def sign(self, message: bytes) -> bytes:
        if self._loaded is None:
            key = self._load()
            if key.public_key != self._public:
                raise KeyFileError(
                    "the private key does not belong to the public key beside it",
                    want=self._public.keyid, got=key.public_key.keyid,
                    hint="restore both files from a copy",
                )  # fmt: skip
            self._loaded = key
        return self._loaded.sign(message)


def available() -> tuple[str, ...]:
    """Return the algorithms that the installed `cryptography` supports."""
    return tuple(name for name in ALGORITHMS if name in _ML_DSA or not name.startswith("ml-dsa"))


def _algorithm_of(key: Any) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        for name, (curve, _) in _ECDSA.items():
            if isinstance(key.curve, curve):
                return name
        raise ValueError(f"a key on the curve {key.curve.name}")
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    for name, (_, kind) in _ML_DSA.items():
        if isinstance(key, kind):
            return name
    named = type(key).__name__.strip("_").removesuffix("PublicKey")
    raise ValueError(f"an unsupported kind of key ({named})")


def _refuse_small_order(key: Any) -> None:
    """Raise ValueError for an Ed25519 point of small order or with a non-canonical y (RFC 8032 §5.1.3).

    With such a key, one signature is valid for many messages, so it proves nothing about the signer.
    """
    if isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        y = int.from_bytes(raw, "little") & ~_SIGN_OF_X
        if y >= _FIELD or y in _SMALL_ORDER:
            raise ValueError("an Ed25519 key of small order")


def _is_der(signature: bytes) -> bool:
    """Return whether an ECDSA signature is in DER, the one accepted encoding of its numbers (X.690 §10)."""
    try:
        return encode_dss_signature(*decode_dss_signature(signature)) == signature
    except ValueError:
        return False


def _deterministic(digest: hashes.HashAlgorithm) -> ec.ECDSA:
    """ECDSA with the nonce of RFC 6979, where `cryptography` (43) and its OpenSSL (3.2) have it.

    The same bundle then gets the same signature, and a weak random number cannot reveal the key.
    """
    try:
        return ec.ECDSA(digest, deterministic_signing=True)
    except (TypeError, UnsupportedAlgorithm):
        return ec.ECDSA(digest)


def _unavailable(algorithm: str) -> UsageError:
    hint = "ML-DSA needs the Python package cryptography 47 or newer" if algorithm in ALGORITHMS else None
    return UsageError(
        "this key algorithm is not available here",
        want=" or ".join(available()),
        got=repr(algorithm),
        hint=hint,
    )


def _reason(error: Exception) -> str:
    """Return the first sentence of an error of `cryptography`; the next ones are about its own settings."""
    return str(error).partition(". ")[0]


def _unusable(path: Path, error: Exception) -> KeyFileError:
    return KeyFileError(
        "not a usable private key", subject=path,
        want=f"PKCS#8 PEM, one of {', '.join(available())}", got=_reason(error),
        hint="run `airgap key generate` to make one",
    )  # fmt: skip
