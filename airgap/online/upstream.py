"""Checks upstream signatures (`cosign-key:` on an image) before anything is packed."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from airgap.bundle.files import Folder, read_small
from airgap.bundle.statement import ImageKind, UpstreamSignature
from airgap.errors import AirgapError, SignatureMismatchError, UnsignedError
from airgap.limits import MAX_PUBLIC_KEY_BYTES
from airgap.oci.digest import CheckedReader
from airgap.oci.documents import Descriptor
from airgap.online.plan import PlannedImage, TransferPlan
from airgap.trust.cosign import check_image, materials_of
from airgap.trust.keys import PublicKey


def check_upstream(plan: TransferPlan) -> dict[str, UpstreamSignature]:
    """Return the valid signature of each image with a `cosign-key:`, by the image's offline name.

    Raises a `TrustError` for an image that has no attached signature by that key.
    """
    for export in plan.exports:
        for locked in export.images:
            if locked.cosign_key is not None:
                what = "only images from a registry can have upstream signatures"
                raise UnsignedError(what, subject=locked.reference, want="source: registry")
    return {
        str(image.locked.name): _check(image, image.locked.cosign_key, plan.images)
        for image in plan.images
        if image.locked.cosign_key is not None
    }


def _check(image: PlannedImage, path: Path, images: Sequence[PlannedImage]) -> UpstreamSignature:
    with Folder(path.absolute().parent) as folder:
        key = PublicKey.from_pem(folder.read(path.name, MAX_PUBLIC_KEY_BYTES), str(path))
    reasons = []
    for other in images:
        may_sign = other.graph.kind == ImageKind.ARTIFACT and len(other.graph.manifests) == 1
        if other is not image and other.locked.name.name == image.locked.name.name and may_sign:
            try:
                _check_one(image, other, key)
            except AirgapError as error:
                reasons.append(str(error))
                continue
            return UpstreamSignature(key.pem, key.keyid, other.graph.root.digest)
    subject = f"{image.locked.reference} by {path}"
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


def _check_one(image: PlannedImage, other: PlannedImage, key: PublicKey) -> None:
    def read(layer: Descriptor) -> bytes:
        stream = other.source.open_blob(other.locked.reference, layer)
        subject = f"{other.locked.reference}: {layer.digest}"
        with contextlib.closing(CheckedReader(stream, layer.digest, layer.size, subject)) as reader:
            return read_small(reader, subject, layer.size)

    check_image(image.graph.root.digest, key, materials_of(other.graph.manifests[0].manifest, read))
