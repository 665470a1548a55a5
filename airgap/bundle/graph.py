"""The graph of an image: its manifests, their configs and layers (FORMAT.md §4).

Both sides walk it: the online side in a source, where it selects platforms, and the offline side in a bundle,
where it uses what was carried.
"""

from collections.abc import Callable, Iterable
from dataclasses import field, replace

from airgap.bundle.contents import DockerView
from airgap.bundle.statement import ImageKind, PlatformRecord
from airgap.errors import AmbiguousError, FormatError
from airgap.limits import MAX_IMAGE_DOCUMENTS, MAX_INDEX_DEPTH, MAX_JSON_BYTES
from airgap.oci.digest import Digest
from airgap.oci.documents import (
    DOCUMENT_TYPES,
    Descriptor,
    ImageConfig,
    ImageIndex,
    ImageManifest,
    check_size_and_digest,
    parse_document,
    runnable_config,
)
from airgap.oci.files_artifact import CarriedFile, files_of
from airgap.oci.platform import UNKNOWN, Platform
from airgap.oci.reference import ImageReference
from airgap.values import dataclass

PREFERRED = Platform("linux", "amd64")

Read = Callable[[Descriptor], bytes]
"""Returns the bytes of a document or config; they are checked here."""

Select = Callable[[ImageIndex], Iterable[Descriptor]]
"""Selects the entries of an index that are carried, in the order of the index."""


@dataclass(frozen=True, slots=True)
class CarriedManifest:
    """One image manifest that is carried, and the platform that it is for."""

    descriptor: Descriptor
    manifest: ImageManifest
    platform: Platform
    config: ImageConfig | None
    """The parsed config; None for artifacts."""
    files: tuple[CarriedFile, ...] = ()
    """The files that it carries, if it is an artifact of files."""


@dataclass(frozen=True, slots=True)
class ImageGraph:
    """Everything that is carried of one image."""

    root: Descriptor
    documents: dict[Digest, tuple[Descriptor, bytes]] = field(hash=False)
    """Image manifests and indexes, children before parents."""
    manifests: tuple[CarriedManifest, ...]
    """In the order of the index."""

    @property
    def blobs(self) -> dict[Digest, Descriptor]:
        """Configs and layers, each once."""
        return {blob.digest: blob for item in self.manifests for blob in item.manifest.blobs}

    @property
    def layers(self) -> dict[Digest, Descriptor]:
        """Layers that are not also configs, each once; a reader needs them last. An artifact's config that is
        too large for a document counts as a layer, because it is not read as a config.
        """
        all_configs = [item.manifest.config for item in self.manifests]
        configs = {config.digest for config in all_configs if config.size <= MAX_JSON_BYTES}
        return {digest: blob for digest, blob in self.blobs.items() if digest not in configs}

    @property
    def foreign(self) -> dict[Digest, Descriptor]:
        """Layers with `urls`: some tools request these addresses even if the layer is present."""
        return {d: layer for d, layer in self.layers.items() if layer.urls}

    @property
    def is_hollow(self) -> bool:
        """Whether it is an index of which no image is carried, not counting attestations."""
        nothing_runs = all(item.platform == UNKNOWN for item in self.manifests)
        return not self.manifests or (nothing_runs and self.is_sparse)

    @property
    def is_sparse(self) -> bool:
        """Whether it has an index of which some manifests are not carried."""
        for descriptor, raw in self.documents.values():
            document = parse_document(raw, descriptor.media_type, str(descriptor.digest))
            entries = document.manifests if isinstance(document, ImageIndex) else ()
            if any(entry.digest not in self.documents for entry in entries):
                return True
        return False

    @property
    def contents(self) -> dict[Digest, Descriptor]:
        """Blobs and documents, each once."""
        return self.blobs | {digest: descriptor for digest, (descriptor, _) in self.documents.items()}

    @property
    def kind(self) -> ImageKind:
        """`IMAGE` if an engine could run any of its manifests, `FILES` if it is an artifact of files."""
        if any(item.config for item in self.manifests):
            return ImageKind.IMAGE
        return ImageKind.FILES if self.files else ImageKind.ARTIFACT

    @property
    def files(self) -> tuple[CarriedFile, ...]:
        """The files, if it is an artifact of files itself, and not an index of them."""
        own = (item for item in self.manifests if item.descriptor.digest == self.root.digest)
        return next((item.files for item in own), ())

    @property
    def records(self) -> tuple[PlatformRecord, ...]:
        """The manifests as the statement lists them."""
        return tuple(
            PlatformRecord(str(item.platform), item.descriptor.digest, item.manifest.config.digest)
            for item in self.manifests
        )

    @property
    def lone_manifest(self) -> CarriedManifest | None:
        """The runnable manifest of an index of which only one is carried; None for any other image."""
        runnable = [item for item in self.manifests if item.config]
        is_index = bool(runnable) and runnable[0].descriptor.digest != self.root.digest
        return runnable[0] if is_index and len(runnable) == 1 else None

    def is_nested(self, item: CarriedManifest) -> bool:
        """Return whether a manifest is in an index inside another index."""
        top = parse_document(self.documents[self.root.digest][1], self.root.media_type, str(self.root.digest))
        entries = top.manifests if isinstance(top, ImageIndex) else (self.root,)
        return all(entry.digest != item.descriptor.digest for entry in entries)

    def for_platform(self, platform: Platform) -> CarriedManifest | None:
        """Return the first runnable manifest for `platform`; None if there is none."""
        return next((item for item in self.manifests if item.config and item.platform == platform), None)

    def docker_view(self, name: ImageReference) -> DockerView | None:
        """Return the entry of the image in `manifest.json` (FORMAT.md §2.2); None for artifacts."""
        runnable = [item for item in self.manifests if item.config]
        chosen = self.for_platform(PREFERRED) or (runnable[0] if runnable else None)
        return DockerView.of(name, chosen.manifest) if chosen else None


def walk_image(root: Descriptor, read: Read, select: Select, where: str) -> ImageGraph:
    """Follow `root` down to its configs; layers are named but not read.

    The platform of a lone image manifest is the one in its config, whatever `root` says, because the
    index.json of a bundle has none. Raises `FormatError` or `IntegrityError` for any document that does not
    match its descriptor.
    """
    root = replace(root, platform=None)
    documents: dict[Digest, tuple[Descriptor, bytes]] = {}
    manifests: list[CarriedManifest] = []
    sizes: dict[Digest, int] = {}

    def visit(descriptor: Descriptor, depth: int) -> None:
        _one_size(sizes, descriptor, where)
        if descriptor.digest in documents:
            return
        subject = f"{where}: {descriptor.digest}"
        raw = read_checked(descriptor, read, subject)
        document = parse_document(raw, descriptor.media_type, subject)
        if isinstance(document, ImageManifest):
            for blob in (document.config, *document.layers):
                _one_size(sizes, blob, subject)
            manifests.append(_carried(descriptor, document, read, subject))
        elif depth == MAX_INDEX_DEPTH:
            raise FormatError(
                "image indexes are nested too deeply", subject=where, want=f"at most {MAX_INDEX_DEPTH}"
            )
        else:
            for child in select(document):
                if child.media_type not in DOCUMENT_TYPES:
                    raise FormatError("not an image manifest", subject=subject, got=child.media_type)
                visit(child, depth + 1)
        documents[descriptor.digest] = (descriptor, raw)
        if len(documents) > MAX_IMAGE_DOCUMENTS:
            raise FormatError(
                "too many image manifests", subject=where, want=f"at most {MAX_IMAGE_DOCUMENTS:,}"
            )

    visit(root, 0)
    return ImageGraph(root, documents, tuple(manifests))


def _one_size(sizes: dict[Digest, int], descriptor: Descriptor, where: str) -> None:
    """Raise `AmbiguousError` if the digest was listed with another size before."""
    known = sizes.setdefault(descriptor.digest, descriptor.size)
    if known != descriptor.size:
        raise AmbiguousError(
            "a digest is listed with two sizes",
            subject=f"{where}: {descriptor.digest}",
            want=known,
            got=descriptor.size,
        )


def read_checked(descriptor: Descriptor, read: Read, subject: str) -> bytes:
    """Read a document or config of at most 4 MiB, and check it against `descriptor`. Raises `FormatError`
    before anything larger is read.
    """
    if descriptor.size > MAX_JSON_BYTES:
        want = f"at most {MAX_JSON_BYTES:,} bytes"
        raise FormatError("too large", subject=subject, want=want, got=f"{descriptor.size:,}")
    return check_size_and_digest(read(descriptor), descriptor, subject)


def _carried(descriptor: Descriptor, manifest: ImageManifest, read: Read, subject: str) -> CarriedManifest:
    files = files_of(manifest, subject)
    if not manifest.is_image or descriptor.platform == UNKNOWN:
        return CarriedManifest(descriptor, manifest, descriptor.platform or UNKNOWN, None, files)
    where = f"{subject}: config"
    raw = read_checked(manifest.config, read, where)
    config = runnable_config(raw, where)
    if config is None:
        return CarriedManifest(descriptor, manifest, descriptor.platform or UNKNOWN, None)
    if len(config.diff_ids) != len(manifest.layers):
        raise AmbiguousError(
            "layers and diff_ids differ in number",
            subject=subject,
            want=len(manifest.layers),
            got=len(config.diff_ids),
        )
    return CarriedManifest(descriptor, manifest, descriptor.platform or config.platform, config)
