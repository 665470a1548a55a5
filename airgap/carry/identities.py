"""The identities that signed the images of a bundle without a key (FORMAT.md §3, `upstream_signature`)."""

from airgap.bundle.statement import Statement
from airgap.bundle.upstream import UpstreamIdentity
from airgap.oci.reference import ImageReference
from airgap.trust import keyless
from airgap.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedIdentity:
    """The identity that signed one image, as the bundle's signers state it."""

    image: ImageReference
    identity: keyless.Identity
    checked: bool
    """Whether this machine can check it, and so has done so in step 9 of the verification."""


def identities_of(statement: Statement) -> list[StatedIdentity]:
    """Return the identities of a bundle that passed step 9."""
    checked = keyless.is_available()
    return [
        StatedIdentity(
            image=image.name,
            identity=keyless.Identity(issuer=claim.issuer, subject=claim.subject),
            checked=checked,
        )
        for image in statement.images
        if isinstance(claim := image.upstream_signature, UpstreamIdentity)
    ]
