"""Reads image archives in one pass: the stream of `docker save`, into a sink.

Layers come before the documents that name them. So they go into the sink as they come, recognised by their
first bytes; documents are kept in memory and checked at the end. No other files are written.
"""

import io
from collections.abc import Sequence
from enum import Enum, auto

from airgap.bundle.compression import GunzipWitness, GzipReader
from airgap.bundle.tar_entries import read_entries
from airgap.endpoints.naming import Lookup
from airgap.endpoints.ports import BlobSink, ExportedImage
from airgap.endpoints.save_format import (
    DockerImage,
    Listing,
    SavedImage,
    choose_image,
    read_images,
)
from airgap.errors import DigestMismatchError, FormatError, MissingContentError
from airgap.limits import MAX_IMAGE_ARCHIVE_FILES, MAX_JSON_BYTES, MAX_KEPT_DOCUMENTS_BYTES
from airgap.oci.digest import Advance, ByteStream, Digest, read_up_to
from airgap.oci.documents import (
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    OCI_LAYER_TAR,
    OCI_MANIFEST,
    SCHEMA_VERSION,
    Descriptor,
)
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import dump
from airgap.values import dataclass

_PEEK = 512


class ContentKind(Enum):
    """What the first bytes of a file show."""

    DOCUMENT = auto()
    TAR = auto()
    GZIP = auto()
    ZSTD = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer in the sink, and the digest of its plain tar."""

    diff_id: Digest
    descriptor: Descriptor


class Intake:
    """Puts files of an archive into a sink, and records the results.

    With `repack`, plain layers are compressed and the diff ID of every layer is computed; without, only files
    named `blobs/<algorithm>/<hex>` are kept, unchanged.
    """

    def __init__(self, sink: BlobSink, *, repack: bool) -> None:
        self.sink = sink
        self.repack = repack
        self.layers: dict[str, PackedLayer] = {}
        self.blobs: dict[str, Digest] = {}
        self.sizes: dict[str, int] = {}

    def store(self, name: str, size: int, stream: ByteStream) -> None:
        """Store a blob or layer of `size` bytes; a file that can be neither is not read."""
        digest = blob_digest(name)
        if not self.repack:
            if digest is not None:
                self._add(name, size, stream, digest)
            return
        head = read_up_to(stream, _PEEK)
        whole = Prefixed(head, stream)
        kind = classify(head)
        if kind is ContentKind.TAR:
            self._compress(name, whole, digest)
        elif kind is ContentKind.GZIP:
            self._witness(name, size, whole, digest)
        elif digest is not None:
            self._add(name, size, whole, digest)

    def _add(self, name: str, size: int, stream: ByteStream, digest: Digest) -> None:
        self.sink.add(stream, digest, size)
        self.blobs[name] = digest
        self.sizes[name] = size

    def _compress(self, name: str, plain: ByteStream, digest: Digest | None) -> None:
        packing = GzipReader(plain)
        packed, size = self.sink.add_unnamed(packing)
        if digest is not None and digest.algorithm == "sha256" and packing.diff_id != digest:
            raise DigestMismatchError("wrong digest", subject=name, want=digest, got=packing.diff_id)
        self.layers[name] = PackedLayer(packing.diff_id, Descriptor(OCI_LAYER_GZIP, packed, size))

    def _witness(self, name: str, size: int, packed: ByteStream, digest: Digest | None) -> None:
        witness = GunzipWitness(packed, name)
        if digest is None:
            digest, size = self.sink.add_unnamed(witness)
        else:
            self.sink.add(witness, digest, size)
        self.layers[name] = PackedLayer(witness.diff_id, Descriptor(OCI_LAYER_GZIP, digest, size))


class _Received(Listing):
    """The files of a stream: documents in memory, up to a limit; the rest in the sink."""

    def __init__(self, intake: Intake) -> None:
        super().__init__()
        self._intake = intake
        self._documents: dict[str, bytes] = {}
        self._memory_left = MAX_KEPT_DOCUMENTS_BYTES

    def take(self, name: str, size: int, data: ByteStream) -> None:
        head = read_up_to(data, _PEEK)
        whole = Prefixed(head, data)
        if classify(head) is ContentKind.DOCUMENT and size <= min(MAX_JSON_BYTES, self._memory_left):
            self._documents[name] = read_up_to(whole, size)
            self._memory_left -= size
        else:
            self._intake.store(name, size, whole)

    def read(self, name: str) -> bytes:
        name = self.resolve(name)
        if name in self._documents:
            return self._documents[name]
        if name in self._intake.blobs:
            return self._intake.sink.read(self._intake.blobs[name], MAX_JSON_BYTES)
        raise FormatError("not a document", subject=name, want=f"JSON of at most {MAX_JSON_BYTES:,} bytes")

    def unsaved_blob(self, digest: Digest) -> bytes | None:
        return self._documents.get(digest.path)


def export_archive(
    stream: ByteStream,
    sink: BlobSink,
    wanted: Sequence[ImageReference],
    advance: Advance,
    *,
    repack: bool,
) -> list[ExportedImage]:
    """Read all of an archive into `sink`, and return the `wanted` images in order.

    `repack` takes the images from `manifest.json` and makes new image manifests; without it, they come from
    `index.json` unchanged. A reference's digest, if it has one, is an image ID. Raises `FormatError`,
    `IntegrityError` and `NotFoundError`; what `stream` and `sink` raise is passed on. Layers that belong to
    none of the wanted images stay in the sink: the archive should not contain any.
    """
    intake = Intake(sink, repack=repack)
    files = _Received(intake)
    for entry, data in read_entries(_Counting(stream, advance), max_entries=MAX_IMAGE_ARCHIVE_FILES):
        files.add(entry)
        if entry.kind == "file":
            files.take(entry.name, entry.size, data)
    images = Lookup(read_images(files, docker=repack))
    return [finish_image(reference, choose_image(images, reference), files, intake) for reference in wanted]


def finish_image(
    reference: ImageReference, image: SavedImage, files: Listing, intake: Intake
) -> ExportedImage:
    """Put the documents of an image into the sink, which already has its blobs.

    Args:
        reference: The name that was asked for.
        image: The image in the archive.
        files: The files of the archive.
        intake: What is in the sink.
    """
    if isinstance(image, DockerImage):
        return _finish_docker(reference, image, files, intake)
    for blob in image.blobs:
        if (raw := files.unsaved_blob(blob.digest)) is not None:
            intake.sink.add(io.BytesIO(raw), blob.digest, blob.size)
    for descriptor, raw in image.documents:
        intake.sink.add(io.BytesIO(raw), descriptor.digest, descriptor.size)
    return ExportedImage(reference, image.descriptor, image.image_id, repacked=False)


def _finish_docker(
    reference: ImageReference, image: DockerImage, files: Listing, intake: Intake
) -> ExportedImage:
    """Make the image manifest of an image whose layers are in the sink.

    The same config and layers give the same bytes. Raises `IntegrityError` if a layer is not the one that the
    config names.
    """
    layers = [_layer(files.resolve(name), intake) for name in image.layers]
    for name, layer, want in zip(image.layers, layers, image.config.diff_ids, strict=True):
        if layer.diff_id != want:
            raise DigestMismatchError("wrong layer", subject=repr(name), want=want, got=layer.diff_id)
    config = Descriptor(OCI_CONFIG, image.image_id, len(image.config.raw))
    raw = dump(
        {
            "schemaVersion": SCHEMA_VERSION,
            "mediaType": OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.descriptor.to_json() for layer in layers],
        }
    )
    descriptor = Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw), platform=image.config.platform)
    intake.sink.add(io.BytesIO(image.config.raw), config.digest, config.size)
    intake.sink.add(io.BytesIO(raw), descriptor.digest, descriptor.size)
    return ExportedImage(reference, descriptor, image.image_id, repacked=True)


def _layer(name: str, intake: Intake) -> PackedLayer:
    """Return a layer in the sink. One that was stored unchanged counts as a plain tar: its digest is its diff
    ID.
    """
    if name in intake.layers:
        return intake.layers[name]
    if name in intake.blobs:
        digest = intake.blobs[name]
        return PackedLayer(digest, Descriptor(OCI_LAYER_TAR, digest, intake.sizes[name]))
    raise MissingContentError("not a layer in tar or gzip form", subject=repr(name))


def classify(head: bytes) -> ContentKind:
    """Return the kind of a file's content, by its first 512 bytes."""
    if head[257:262] == b"ustar" or (len(head) == _PEEK and not any(head)):
        return ContentKind.TAR
    if head.startswith(b"\x1f\x8b"):
        return ContentKind.GZIP
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return ContentKind.ZSTD
    return ContentKind.DOCUMENT if head.lstrip()[:1] in (b"{", b"[") else ContentKind.OTHER


def blob_digest(name: str) -> Digest | None:
    """Return the digest in `blobs/<algorithm>/<hex>`, or None for any other name."""
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != "blobs":
        return None
    try:
        return Digest.parse(f"{parts[1]}:{parts[2]}")
    except FormatError:
        return None


class Prefixed(io.RawIOBase):
    """`head`, then the rest of `stream`."""

    def __init__(self, head: bytes, stream: ByteStream) -> None:
        super().__init__()
        self._head = memoryview(head)
        self._stream = stream

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if not self._head:
            return self._stream.readinto(buffer) or 0
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._head))
        view[:size] = self._head[:size]
        self._head = self._head[size:]
        return size


class _Counting(io.RawIOBase):
    """Reports every byte that is read."""

    def __init__(self, stream: ByteStream, advance: Advance) -> None:
        super().__init__()
        self._stream = stream
        self._advance = advance

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        got = self._stream.readinto(buffer) or 0
        self._advance(got)
        return got
