"""The tags of an image's referrers in registries without the referrers API."""

import re

from airgap.limits import MAX_TAG_CHARACTERS
from airgap.oci.digest import Digest

COSIGN_SUFFIXES = ("sig", "att", "sbom")
COSIGN_TAG = re.compile(rf"sha256-[0-9a-f]{{64}}\.(?:{'|'.join(COSIGN_SUFFIXES)})", re.ASCII)
"""The form of the tags in `cosign_tags`."""
_FALLBACK = re.compile("sha(?:256|512)-[0-9a-f]{64}", re.ASCII)


def fallback_tag(digest: Digest) -> str:
    """Return the tag of the index of all referrers of `digest` (OCI distribution-spec 1.1, "Referrers Tag
    Schema": at most 32 characters of the algorithm and 64 of the rest).
    """
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def is_fallback_tag(tag: str | None) -> bool:
    """Return whether `tag` has the form of a fallback tag."""
    return tag is not None and _FALLBACK.fullmatch(tag) is not None


def cosign_tags(digest: Digest) -> tuple[str, ...]:
    """Return the tags of the signatures, attestations and SBOMs of `digest` that cosign uses (by default up
    to version 2). There are none for SHA-512, whose tags would be too long (cosign's SIGNATURE_SPEC.md).
    """
    tags = tuple(f"{digest.algorithm}-{digest.hex}.{suffix}" for suffix in COSIGN_SUFFIXES)
    return tags if all(len(tag) <= MAX_TAG_CHARACTERS for tag in tags) else ()
