"""Checks keyless cosign signatures, of an identity in a certificate instead of a key, with `sigstore`.

The library is optional: `airgap[sigstore]`. It checks that the certificate is from an authority of the
trusted root and was logged there, that the signature is in a transparency log of that root at a time at
which the certificate was valid, and that the log's proof is right. All of this is in the signature and in
the trusted root, so no network is used. Only cosign's form "bundle" counts, which cosign 3 writes by default.

The times within which the trusted root says that an authority issued certificates are not checked by the
library, which leaves this to the dates in the authority's own certificate.
"""

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Self

from airgap.errors import FormatError, SignatureMismatchError, TrustError, UnsignedError, UsageError
from airgap.limits import MAX_TRUSTED_ROOT_BYTES
from airgap.oci.digest import Digest
from airgap.oci.strict_json import parse_object
from airgap.trust.cosign import (
    SignatureMaterial,
    bundle_envelope,
    check_statement,
    first_valid,
)
from airgap.values import dataclass

if TYPE_CHECKING:
    from sigstore.verify import Verifier

INSTALL_HINT = "pip install 'airgap[sigstore]'"
_MAX_GOT_CHARACTERS = 200
_NEWER_HINT = "ask for a signature of cosign 3, or of `cosign sign --new-bundle-format`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who signed: the subject of a certificate (a mail address, a workflow's URI), and who attests to it."""

    issuer: str
    """The address of the OpenID Connect provider, exactly as in the certificate."""
    subject: str
    """The subject alternative name, exactly as in the certificate. It is never a pattern."""

    def __str__(self) -> str:
        return f"{self.subject} (issuer {self.issuer})"


def is_available() -> bool:
    """Return whether the library is installed. It is not imported, which takes a second."""
    return importlib.util.find_spec("sigstore") is not None


@dataclass(frozen=True, slots=True)
class KeylessVerifier:
    """Checks signatures under one trusted root."""

    _verifier: "Verifier"

    @classmethod
    def under(cls, trusted_root: bytes, where: str) -> Self:
        """Return a verifier under one trusted root.

        Args:
            trusted_root: Sigstore's trusted root, in JSON: the authorities and logs that count.
            where: Its name in messages.

        Raises:
            UsageError: The library is not installed.
            FormatError: The trusted root is malformed, or lacks authorities or logs.
        """
        if not is_available():
            what = "keyless signatures need a library that is not installed"
            raise UsageError(what, want="sigstore", hint=INSTALL_HINT)
        from sigstore.models import TrustedRoot  # noqa: PLC0415 - optional, and slow to import
        from sigstore.verify import Verifier  # noqa: PLC0415
        from sigstore_models.trustroot.v1 import TrustedRoot as Document  # noqa: PLC0415

        parse_object(trusted_root, where, max_bytes=MAX_TRUSTED_ROOT_BYTES)
        with _refusing(FormatError("not a Sigstore trusted root", subject=where)):
            return cls(Verifier(trusted_root=TrustedRoot(Document.from_json(trusted_root))))

    def check_image(
        self, digest: Digest, identity: Identity, materials: Sequence[SignatureMaterial]
    ) -> SignatureMaterial:
        """Return the first of `materials` that `identity` signed, over the image (or index) `digest`.

        Raises `UnsignedError` if there are none, `SignatureMismatchError` with the reasons if none is valid.
        """
        return first_valid(
            materials, digest, f"one of {identity}", lambda item: self._check(item, digest, identity)
        )

    def _check(self, material: SignatureMaterial, digest: Digest, identity: Identity) -> None:
        if material.kind != "bundle":
            what = "a keyless signature in the form of cosign 2"
            raise UnsignedError(what, subject=digest, want="a Sigstore bundle", hint=_NEWER_HINT)
        envelope = bundle_envelope(material.payload, digest)  # strict: a limit, one signature, no key twice
        with _refusing(SignatureMismatchError("the keyless signature is not valid", subject=digest)):
            payload = _verify_bundle(material.payload, identity, self._verifier)
        if payload != envelope.payload:
            raise TrustError("two readers find different statements", subject=digest)
        check_statement(payload, digest)


def _verify_bundle(raw: bytes, identity: Identity, verifier: "Verifier") -> bytes:
    """Return the payload that `identity` signed. Raises exceptions of the library."""
    from sigstore.models import Bundle  # noqa: PLC0415 - optional, and slow to import
    from sigstore.verify import policy  # noqa: PLC0415

    # `policy.Identity` alone knows only the older of the two fields that have the issuer.
    issuer = policy.AnyOf([policy.OIDCIssuer(identity.issuer), policy.OIDCIssuerV2(identity.issuer)])
    rule = policy.AllOf([policy.Identity(identity=identity.subject), issuer])
    _, payload = verifier.verify_dsse(Bundle.from_json(raw), rule)
    return payload


@contextlib.contextmanager
def _refusing(error: FormatError | TrustError) -> Iterator[None]:
    """Raise `error` for any exception: on hostile input, the library and its parsers raise many kinds."""
    try:
        yield
    except Exception as cause:
        error.got = " ".join(f"{type(cause).__name__}: {cause}".split())[:_MAX_GOT_CHARACTERS]
        raise error from cause
