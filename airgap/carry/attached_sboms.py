"""Finds the SBOMs that come with images in a bundle, by media types; their content is not read.

    referrers           an artifact whose `subject` is the image, or that has one of cosign's tags
    BuildKit            an attestation in the image's index, for the platform `unknown/unknown`

An SBOM is the layer of such a manifest. Its kind is the layer's media type, the artifact type, or the
predicate type of an in-toto statement, as SPDX, CycloneDX, Syft, BuildKit and cosign write them.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from airgap.bundle.files import Files
from airgap.bundle.statement import ImageKind, ImageRecord, Statement
from airgap.errors import DigestMismatchError
from airgap.limits import MAX_JSON_BYTES
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor, ImageManifest, parse_document
from airgap.oci.platform import UNKNOWN
from airgap.oci.referrers import COSIGN_TAG
from airgap.values import dataclass

SBOM_TYPES = frozenset({
    "application/spdx+json", "text/spdx", "text/spdx+json", "text/spdx+xml", "application/spdx+xml",
    "application/vnd.cyclonedx", "application/vnd.cyclonedx+json", "application/vnd.cyclonedx+xml",
    "application/vnd.syft+json", "syft/json",
})  # fmt: skip
_PREDICATES = re.compile(
    r"https://(?:spdx\.dev/Document(?:/v[0-9.]+)?|cyclonedx\.org/bom(?:/v[0-9.]+)?)", re.ASCII
)
_PREDICATE_KEYS = ("in-toto.io/predicate-type", "predicateType")


@dataclass(frozen=True, slots=True)
class AttachedSbom:
    """An SBOM in the bundle."""

    digest: Digest
    kind: str
    """Its media type, or the predicate type of the statement around it."""


def attached_sboms(files: Files, statement: Statement) -> Mapping[str, Sequence[AttachedSbom]]:
    """Return the SBOMs of each image, by the image's offline name. Only manifests are read.

    Raises:
        FormatError: A manifest cannot be read.
        IntegrityError: A manifest is not the one that the statement names.
        NotFoundError: A manifest is missing, for example on a volume that is not here.
    """
    found: defaultdict[str, list[AttachedSbom]] = defaultdict(list)
    for record in statement.images:
        if record.kind is ImageKind.ARTIFACT:
            manifest = _read(files, record.digest)
            for image in _images_of(manifest, record, statement):
                found[str(image.name)] += _sboms_in(manifest)
            continue
        for item in record.platforms:
            if item.platform == str(UNKNOWN) and item.digest != record.digest:
                found[str(record.name)] += _sboms_in(_read(files, item.digest))
    return {name: tuple(dict.fromkeys(sboms)) for name, sboms in found.items()}


def _read(files: Files, digest: Digest) -> ImageManifest | None:
    """Return a manifest; None for an index."""
    raw = files.read(digest.path, MAX_JSON_BYTES)
    if (actual := Digest.of(raw, digest.algorithm)) != digest:
        raise DigestMismatchError("wrong digest", subject=files.where(digest.path), want=digest, got=actual)
    document = parse_document(raw, None, str(digest))
    return document if isinstance(document, ImageManifest) else None


def _images_of(
    manifest: ImageManifest | None, record: ImageRecord, statement: Statement
) -> Iterator[ImageRecord]:
    """Yield the images that an artifact refers to: by its subject, or by a tag of cosign."""
    subject = None
    if manifest is not None and manifest.subject is not None:
        subject = manifest.subject.digest
    elif COSIGN_TAG.fullmatch(record.name.tag or ""):
        subject = Digest.parse(str(record.name.tag).partition(".")[0].replace("-", ":", 1))
    for image in statement.images:
        if image.kind is ImageKind.IMAGE and subject in {image.digest, *(p.digest for p in image.platforms)}:
            yield image


def _sboms_in(manifest: ImageManifest | None) -> Iterator[AttachedSbom]:
    for layer in manifest.layers if manifest is not None else ():
        if (kind := _kind(layer, manifest)) is not None:
            yield AttachedSbom(layer.digest, kind)


def _kind(layer: Descriptor, manifest: ImageManifest | None) -> str | None:
    """Return the kind of SBOM that a layer is, or None."""
    for key in _PREDICATE_KEYS:
        if _PREDICATES.fullmatch(predicate := layer.annotations.get(key, "")):
            return predicate
    kinds = (layer.media_type, manifest.artifact_type if manifest is not None else None)
    return next((kind for kind in kinds if kind in SBOM_TYPES), None)
