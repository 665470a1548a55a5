"""The content of the server: repositories, their tags, and all content that can be reached from them.

Built once, when the server starts. Files that are not in the catalogue are not served.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import field, replace

from airgap.endpoints.ports import ContentSource, NamedSource
from airgap.errors import NotFoundError
from airgap.oci.digest import Digest
from airgap.oci.documents import (
    DOCUMENT_TYPES,
    Descriptor,
    ImageManifest,
    parse_document,
)
from airgap.oci.graph import Document, walk_documents
from airgap.oci.reference import ImageReference, normal_host
from airgap.oci.strict_json import Fields, parse_object
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class ServedContent:
    """A document or blob, and the source that has it."""

    source: ContentSource
    reference: ImageReference
    descriptor: Descriptor

    def read_document(self) -> bytes:
        """Read and check a document; raises `IntegrityError` if it is not the expected one."""
        return self.source.read_document(self.reference, self.descriptor)


@dataclass(slots=True)
class Repository:
    """The content that is served under one name."""

    tags: dict[str, Digest] = field(default_factory=dict)
    documents: dict[Digest, ServedContent] = field(default_factory=dict)
    blobs: dict[Digest, ServedContent] = field(default_factory=dict)
    referrers: dict[Digest, dict[Digest, Descriptor]] = field(default_factory=lambda: defaultdict(dict))
    """Per subject: the image manifests that name it, with artifact type and annotations."""
    withheld: set[Digest] = field(default_factory=set)
    """Image manifests with foreign layers: clients would fetch these from other addresses."""

    def add(self, source: ContentSource, reference: ImageReference, root: Descriptor) -> None:
        """Walk one image. A document below an index that the source lacks is left out: a sparse index."""

        def read(descriptor: Descriptor) -> Document | None:
            if descriptor.digest in self.documents:
                return None
            subject = f"{reference} {descriptor.digest}"
            try:
                raw = ServedContent(source, reference, descriptor).read_document()
            except NotFoundError:
                if descriptor is root:
                    raise
                return None
            return parse_document(raw, descriptor.media_type, subject)

        for descriptor, document in walk_documents(root, read):
            self._add(ServedContent(source, reference, descriptor), document)
        if reference.tag is not None and root.digest not in self.withheld:
            self.tags[reference.tag] = root.digest

    def _add(self, content: ServedContent, document: Document) -> None:
        if isinstance(document, ImageManifest) and any(layer.urls for layer in document.layers):
            self.withheld.add(content.descriptor.digest)
            return
        self.documents[content.descriptor.digest] = content
        if isinstance(document, ImageManifest):
            self._add_blobs(content, document.blobs)
            self._add_referrer(content.descriptor, document)
        else:
            children = document.manifests
            self._add_blobs(content, [child for child in children if child.media_type not in DOCUMENT_TYPES])

    def _add_blobs(self, content: ServedContent, blobs: Iterable[Descriptor]) -> None:
        for blob in blobs:
            self.blobs.setdefault(blob.digest, replace(content, descriptor=blob))

    def _add_referrer(self, descriptor: Descriptor, manifest: ImageManifest) -> None:
        if manifest.subject is None:
            return
        subject = f"image manifest {descriptor.digest}"
        self.referrers[manifest.subject.digest][descriptor.digest] = Descriptor(
            descriptor.media_type,
            descriptor.digest,
            descriptor.size,
            annotations=Fields(parse_object(manifest.raw, subject), subject).string_map("annotations"),
            artifact_type=manifest.artifact_type or manifest.config.media_type,
        )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All repositories under the names by which they are served, and notes for the operator."""

    repositories: dict[str, Repository]
    notes: tuple[str, ...]
    registries: tuple[str, ...] = ()
    """The registries that the images are named after."""

    def repository(self, name: str, namespace: str | None) -> Repository | None:
        """Return the repository that a client means by `name`. containerd adds the registry as `ns` when it
        asks a mirror; then only that registry's images are meant. A registry without images here is treated
        as another name of this server.
        """
        registry = normal_host(namespace or "")
        return self.repositories.get(f"{registry}/{name}" if registry in self.registries else name)


def build_catalogue(sources: Sequence[NamedSource]) -> Catalogue:
    """Walk all images of all `sources`.

    `ghcr.io/acme/api` is served under its full name and under `acme/api`, unless the short name could also
    mean another registry's image: then only under the full one. Of two images of the same name the first
    source's is served. Both cases are noted. Raises what the sources raise, and `IntegrityError` and
    `FormatError` for their content.
    """
    full: dict[str, Repository] = defaultdict(Repository)
    short: dict[str, set[str]] = defaultdict(set)
    notes: list[str] = []
    registries: set[str] = set()
    for source in sources:
        for reference in source.names():
            descriptor = source.resolve(reference)
            normal = reference.normal
            repository = full[normal.name]
            registries.add(normal.registry)
            short[normal.repository].add(normal.name)
            taken = repository.tags.get(reference.tag or "")
            if taken is not None and taken != descriptor.digest:
                notes.append(f"{reference} of {source.name} is not served: an earlier source has {taken}")
                continue
            repository.add(source, reference, descriptor)
            why = "is not served: clients would fetch its foreign layers from other addresses"
            notes += [f"{reference}: {digest} {why}" for digest in sorted(repository.withheld)]
            repository.withheld.clear()
    served = dict(full)
    for name, owners in sorted(short.items()):
        claims = owners | ({name} & full.keys())
        if len(claims) == 1:
            served[name] = full[next(iter(claims))]
        else:
            notes.append(f"{name} is not served under this short name: {', '.join(sorted(claims))} share it")
    return Catalogue(served, tuple(notes), tuple(sorted(registries)))
