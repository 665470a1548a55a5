"""Checks upstream signatures (`cosign-key:`, `cosign-identity:`) before anything is packed."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from pathlib import Path

from airgap.bundle.files import Folder, read_small
from airgap.bundle.statement import ImageKind
from airgap.bundle.upstream import Upstream, UpstreamIdentity, UpstreamSignature
from airgap.errors import AirgapError, SignatureMismatchError, UnsignedError
from airgap.limits import MAX_PUBLIC_KEY_BYTES, MAX_TRUSTED_ROOT_BYTES
from airgap.manifest.cosign_identity import CosignIdentity
from airgap.oci.digest import CheckedReader, Digest
from airgap.oci.documents import Descriptor
from airgap.online.plan import PlannedImage, TransferPlan
from airgap.trust.cosign import SignatureMaterial, check_image, materials_of
from airgap.trust.keyless import Identity, KeylessVerifier
from airgap.trust.keys import PublicKey
from airgap.values import dataclass

_Check = Callable[[Sequence[SignatureMaterial]], object]
"""Raises an error unless one of the materials is a signature that counts."""


@dataclass(frozen=True, slots=True)
class UpstreamChecks:
    """The upstream signatures that are valid."""

    signatures: dict[str, Upstream] = field(hash=False)
    """By the image's offline name."""
    trusted_roots: dict[str, bytes] = field(hash=False)
    """The Sigstore trusted roots of keyless signatures, by their SHA-256 in hex."""

    def roots_of(self, upstreams: Iterable[Upstream | None]) -> list[bytes]:
        """Return the trusted roots that some of the signatures need."""
        needed = {item.trusted_root for item in upstreams if isinstance(item, UpstreamIdentity)}
        return [self.trusted_roots[sha256] for sha256 in sorted(needed)]


def check_upstream(plan: TransferPlan) -> UpstreamChecks:
    """Return the valid signature of each image with a `cosign-key:` or a `cosign-identity:`.

    Raises a `TrustError` for an image that has no attached signature by that key or identity.
    """
    for export in plan.exports:
        for locked in export.images:
            if locked.cosign_key is not None or locked.cosign_identity is not None:
                what = "only images from a registry can have upstream signatures"
                raise UnsignedError(what, subject=locked.reference, want="source: registry")
    checks = UpstreamChecks({}, {})
    for image in plan.images:
        if (signature := _check(image, plan.images, checks.trusted_roots)) is not None:
            checks.signatures[str(image.locked.name)] = signature
    return checks


def _check(image: PlannedImage, images: Sequence[PlannedImage], roots: dict[str, bytes]) -> Upstream | None:
    """Return the signature that one image needs, if any, and add its trusted root to `roots`."""
    digest, locked = image.graph.root.digest, image.locked
    if locked.cosign_identity is not None:
        return _check_identity(image, locked.cosign_identity, images, roots)
    if (path := locked.cosign_key) is None:
        return None
    key = PublicKey.from_pem(_read(path, MAX_PUBLIC_KEY_BYTES), str(path))
    signed_in = _find(image, images, str(path), lambda materials: check_image(digest, key, materials))
    return UpstreamSignature(key.pem, key.keyid, signed_in)


def _check_identity(
    image: PlannedImage, wanted: CosignIdentity, images: Sequence[PlannedImage], roots: dict[str, bytes]
) -> UpstreamIdentity:
    identity = Identity(issuer=wanted.issuer, subject=wanted.subject)
    raw = _read(wanted.trusted_root, MAX_TRUSTED_ROOT_BYTES)
    verifier, digest = KeylessVerifier.under(raw, str(wanted.trusted_root)), image.graph.root.digest
    signed_in = _find(
        image, images, str(identity), lambda materials: verifier.check_image(digest, identity, materials)
    )
    sha256 = Digest.of(raw).hex
    roots[sha256] = raw
    return UpstreamIdentity(
        issuer=identity.issuer, subject=identity.subject, trusted_root=sha256, manifest=signed_in
    )


def _read(path: Path, limit: int) -> bytes:
    with Folder(path.absolute().parent) as folder:
        return folder.read(path.name, limit)


def _find(image: PlannedImage, images: Sequence[PlannedImage], who: str, check: _Check) -> Digest:
    """Return the manifest with a signature of `image` that counts. Raises a `TrustError` if there is none."""
    reasons = []
    for other in _attached(image, images):
        try:
            check(_materials(other))
        except AirgapError as error:
            reasons.append(str(error))
            continue
        return other.graph.root.digest
    subject = f"{image.locked.reference} by {who}"
    unknown = image.locked.attachments_unknown
    hint = f"not all attachments are known: {unknown}" if unknown else None
    if reasons:
        raise SignatureMismatchError(
            "no upstream signature is valid", subject=subject, got="; ".join(reasons[:3]), hint=hint
        )
    raise UnsignedError(
        "no upstream signature",
        subject=subject,
        hint=hint or "sign the image with `cosign sign`, or name another key in the manifest",
    )


def _attached(image: PlannedImage, images: Sequence[PlannedImage]) -> Iterator[PlannedImage]:
    for other in images:
        may_sign = other.graph.kind == ImageKind.ARTIFACT and len(other.graph.manifests) == 1
        if other is not image and other.locked.name.name == image.locked.name.name and may_sign:
            yield other


def _materials(other: PlannedImage) -> list[SignatureMaterial]:
    def read(layer: Descriptor) -> bytes:
        stream = other.source.open_blob(other.locked.reference, layer)
        subject = f"{other.locked.reference}: {layer.digest}"
        with contextlib.closing(CheckedReader(stream, layer.digest, layer.size, subject)) as reader:
            return read_small(reader, subject, layer.size)

    return materials_of(other.graph.manifests[0].manifest, read)
