"""Reads charts from repositories over HTTP and from registries, with their provenance; all of it hostile."""

import contextlib

from airgap.bundle.files import read_small
from airgap.endpoints.ports import ContentSource
from airgap.endpoints.web import WebSource
from airgap.errors import (
    DigestMismatchError,
    EndpointError,
    FormatError,
    NotFoundError,
    SizeMismatchError,
    UnsignedError,
)
from airgap.limits import MAX_CHART_BYTES, MAX_CHART_INDEX_BYTES, MAX_JSON_BYTES, MAX_PROVENANCE_BYTES
from airgap.manifest import ImageEntry, LockedFile, LockedImage
from airgap.manifest.chart_entries import ChartEntry, chart_tag
from airgap.oci.digest import CheckedReader, Digest
from airgap.oci.documents import Descriptor, ImageManifest, parse_document
from airgap.oci.files_artifact import CarriedFile, FileMode
from airgap.oci.helm_chart import CHART_CONFIG, CHART_LAYER, PROVENANCE_LAYER, chart_config
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import Fields, parse_object
from airgap.online.chart_files import find_in_index, read_metadata
from airgap.online.plan import OpenSource
from airgap.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadChart:
    """A chart that was read."""

    name: str
    version: str
    archive: bytes
    provenance: bytes | None
    """Its provenance file; None if it was not requested."""
    where: str
    """Its address, for errors."""

    @property
    def file_name(self) -> str:
        """The name of the archive as Helm writes it."""
        return f"{self.name}-{self.version}.tgz"

    def locked(self, entry: ChartEntry) -> LockedImage:
        """Return the artifact of a chart that was read from a repository over HTTP."""
        metadata = read_metadata(self.archive, self.where, self.name, self.version)
        carried = CarriedFile(
            name=self.file_name,
            mode=FileMode.DATA,
            digest=Digest.of(self.archive),
            size=len(self.archive),
        )
        return LockedImage.of_chart(
            entry.artifact_of(self.version),
            LockedFile(carried=carried, path=None, url=self.where),
            chart_config(metadata).decode(),
        )


def read_from_repository(entry: ChartEntry, open_source: OpenSource) -> ReadChart:
    """Return a chart from a repository over HTTP: the newest version that fits the entry.

    Raises:
        DigestMismatchError: The archive is another one than the index states.
        EndpointError: The web server does not have a part of it.
        FormatError: The index cannot be read.
        UnsignedError: A provenance file is needed, and there is none.
    """
    index = _open(f"{entry.repo}index.yaml", open_source)
    found = find_in_index(index.read(MAX_CHART_INDEX_BYTES), index.name, entry.chart, entry.version)
    url = index.follow(found.location)
    archive = _open(url, open_source).read(MAX_CHART_BYTES)
    digest = Digest.of(archive)
    if found.digest not in (None, digest):
        what = "the chart is not the one in the repository's index"
        raise DigestMismatchError(what, subject=url, want=found.digest, got=digest)
    provenance = None
    if entry.options.keyring is not None:
        try:
            provenance = _open(f"{url}.prov", open_source).read(MAX_PROVENANCE_BYTES)
        except NotFoundError as error:
            raise _unsigned(url, f"{url}.prov") from error
    return ReadChart(
        name=entry.chart, version=found.version, archive=archive, provenance=provenance, where=url
    )


def read_from_registry(entry: ImageEntry, digest: Digest | None, open_source: OpenSource) -> ReadChart:
    """Return a chart from a registry.

    Args:
        entry: The item of the manifest; its reference has the tag of the version.
        digest: The digest that is locked already; None for the current one.
        open_source: Opens the registry.

    Raises:
        EndpointError: The registry does not have a part of it.
        FormatError: It is not a chart, or one of another version.
        IntegrityError: A blob is damaged.
        UnsignedError: A provenance file is needed, and there is none.
    """
    if entry.reference is None:
        raise AssertionError("a chart has a reference")
    reference = entry.reference if digest is None else entry.reference.with_digest(digest)
    source = open_source(entry.source, reference, None)
    if not isinstance(source, ContentSource):
        raise EndpointError("not a registry", subject=source.name)
    descriptor = source.resolve(reference)
    raw = source.read_document(reference, descriptor)
    document = parse_document(raw, descriptor.media_type, str(reference))
    if not isinstance(document, ImageManifest) or document.config.media_type != CHART_CONFIG:
        raise FormatError("not a chart", subject=reference, want=f"a config of type {CHART_CONFIG}")
    config = _read_blob(source, reference, document.config, MAX_JSON_BYTES)
    fields = Fields(parse_object(config, str(reference)), str(reference))
    name, version = fields.text("name"), fields.text("version")
    if chart_tag(version) != reference.tag:
        raise FormatError("another version of the chart", subject=reference, want=reference.tag, got=version)
    archive = _read_blob(source, reference, _layer(document, CHART_LAYER, reference), MAX_CHART_BYTES)
    read_metadata(archive, str(reference), name, version)
    provenance = None
    if entry.chart is not None and entry.chart.keyring is not None:
        layer = _layer(document, PROVENANCE_LAYER, reference)
        provenance = _read_blob(source, reference, layer, MAX_PROVENANCE_BYTES)
    return ReadChart(name=name, version=version, archive=archive, provenance=provenance, where=str(reference))


def _layer(manifest: ImageManifest, media_type: str, reference: ImageReference) -> Descriptor:
    layers = [layer for layer in manifest.layers if layer.media_type == media_type]
    if not layers and media_type == PROVENANCE_LAYER:
        raise _unsigned(str(reference), f"a layer of type {media_type}")
    if len(layers) != 1:
        raise FormatError(
            "not a chart", subject=reference, want=f"one layer of type {media_type}", got=len(layers)
        )
    return layers[0]


def _read_blob(
    source: ContentSource, reference: ImageReference, descriptor: Descriptor, max_bytes: int
) -> bytes:
    subject = f"{reference}: {descriptor.digest}"
    if descriptor.size > max_bytes:
        want = f"at most {max_bytes:,} bytes"
        raise SizeMismatchError("too large", subject=subject, want=want, got=f"{descriptor.size:,}")
    stream = source.open_blob(reference, descriptor)
    with contextlib.closing(CheckedReader(stream, descriptor.digest, descriptor.size, subject)) as reader:
        return read_small(reader, subject, descriptor.size)


def _unsigned(chart: str, want: str) -> UnsignedError:
    hint = "ask its publisher for a signed chart, or remove `keyring:`"
    return UnsignedError("the chart has no provenance file", subject=chart, want=want, hint=hint)


def _open(url: str, open_source: OpenSource) -> WebSource:
    source = open_source(url, None, None)
    if not isinstance(source, WebSource):
        raise EndpointError("not a web server", subject=url)
    return source
