"""Writes what a bundle contains as CycloneDX 1.6 in JSON. The library is optional: `airgap[sbom]`.

The same bundle gives the same bytes: the serial number is made from the SHA-256 of the statement, and the
time is that of the bundle.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import assert_never

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from airgap import __version__
from airgap.bundle.statement import ImageKind, ImageRecord, Statement
from airgap.carry.attached_sboms import AttachedSbom
from airgap.oci.digest import Digest
from airgap.oci.files_artifact import CarriedFile

_NAMESPACE = uuid.UUID("5d5f3b0e-6f1c-5a53-8d0b-3a5c1f0a9e11")
"""The namespace of the serial numbers: random, and never changed."""
_ALGORITHMS = {"sha256": HashAlgorithm.SHA_256, "sha512": HashAlgorithm.SHA_512}


def sbom_of(statement: Statement, sha256: str, attached: Mapping[str, Sequence[AttachedSbom]]) -> bytes:
    """Return the SBOM of a bundle.

    Args:
        statement: The bundle's statement.
        sha256: The statement's SHA-256, in hex.
        attached: The SBOMs that come with images, by the image's offline name; they are referred to by their
            paths in the bundle.
    """
    root = Component(
        name=statement.stream, version=f"{statement.serial:04d}", type=ComponentType.DATA,
        bom_ref=statement.title, hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
        description="airgap bundle; the hash is that of its statement.json",
    )  # fmt: skip
    components = [_component(image, attached.get(str(image.name), ())) for image in statement.images]
    tool = Component(name="airgap", version=__version__, type=ComponentType.APPLICATION, bom_ref="airgap")
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, sha256), components=components,
        metadata=BomMetaData(
            component=root, timestamp=statement.created, tools=ToolRepository(components=[tool])
        ),
        dependencies=[Dependency(root.bom_ref, [Dependency(item.bom_ref) for item in components])],
    )  # fmt: skip
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    return f"{text}\n".encode()


def _component(image: ImageRecord, sboms: Sequence[AttachedSbom]) -> Component:
    values = [("source", image.source), ("source-reference", str(image.reference))]
    values += [("platform", record.platform) for record in image.platforms]
    return Component(
        name=image.name.name, version=image.name.tag or str(image.digest), type=_type(image.kind),
        bom_ref=str(image.name), purl=None if image.files else _purl(image), hashes=[_hash(image.digest)],
        properties=[Property(name=f"airgap:{key}", value=value) for key, value in values],
        external_references=[_reference(sbom) for sbom in sboms],
        components=[_file(item, image) for item in image.files],
    )  # fmt: skip


def _file(item: CarriedFile, image: ImageRecord) -> Component:
    return Component(
        name=item.name,
        type=ComponentType.FILE,
        bom_ref=f"{image.name}#{item.name}",
        hashes=[_hash(item.digest)],
    )


def _type(kind: ImageKind) -> ComponentType:
    match kind:
        case ImageKind.IMAGE:
            return ComponentType.CONTAINER
        case ImageKind.ARTIFACT | ImageKind.FILES:
            return ComponentType.DATA
        case _:
            assert_never(kind)


def _purl(image: ImageRecord) -> PackageURL:
    """Return the package URL of type `oci`: name and tag at the source, and the digest as version."""
    source = image.reference
    qualifiers = {"repository_url": source.name} | ({"tag": source.tag} if source.tag else {})
    name = source.repository.rpartition("/")[2]
    return PackageURL(type="oci", name=name, version=str(image.digest), qualifiers=qualifiers)


def _reference(sbom: AttachedSbom) -> ExternalReference:
    return ExternalReference(
        type=ExternalReferenceType.BOM, url=XsUri(sbom.digest.path), comment=sbom.kind,
        hashes=[_hash(sbom.digest)],
    )  # fmt: skip


def _hash(digest: Digest) -> HashType:
    return HashType(alg=_ALGORITHMS[digest.algorithm], content=digest.hex)
