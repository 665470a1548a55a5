"""Write images of a verified bundle as the tar stream that engines load.

No header or table of another archive is passed on: every name and table is made here from verified documents,
every blob is checked while it is sent, and the tables come last, so that an engine does not register an image
before all of its content is proved.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, field

from airgap.bundle.contents import (
    INDEX_FILE,
    MANIFEST_FILE,
    OCI_LAYOUT,
    OCI_LAYOUT_FILE,
    DockerView,
    index_json,
    manifest_json,
)
from airgap.bundle.graph import CarriedManifest
from airgap.bundle.tar_entries import END_OF_ARCHIVE, header, padding
from airgap.carry.verify import VerifiedBundle
from airgap.carry.verify_small_files import VerifiedImage
from airgap.oci.digest import CHUNK, Advance, ByteStream, Digest
from airgap.oci.documents import Descriptor
from airgap.offline.decompress import UnpackedLayer, claim_gzip, form_of, measure_zstd
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class _Member:
    """One file in the stream."""

    size: int
    open: Callable[[], ByteStream]


@dataclass(slots=True)
class ImageTar:
    """Collects images, then yields the stream. Content that images share is sent once."""

    bundle: VerifiedBundle
    _: KW_ONLY
    unpack: frozenset[str] = frozenset()
    """Send layers of these forms (`zstd`, `gzip`) as plain tars."""
    keep_packed: frozenset[Digest] = frozenset()
    """Layers that are always sent compressed."""
    leave_out: frozenset[Digest] = frozenset()
    """Layers that the engine is proved to have."""
    members: dict[str, _Member] = field(default_factory=dict)
    images: list[VerifiedImage] = field(default_factory=list)
    views: list[DockerView] = field(default_factory=list)

    def add_whole(self, image: VerifiedImage, view: CarriedManifest | None) -> None:
        """Add all content of the image that is carried; `view` is the manifest to list in `manifest.json`."""
        for blob in image.graph.blobs.values():
            self._add_blob(blob)
        for descriptor, raw in image.graph.documents.values():  # a reduced index is not in the bundle
            self.members.setdefault(descriptor.digest.path, _small(raw))
        self.images.append(image)
        if view is not None:
            self.views.append(DockerView.of(image.name, view.manifest))

    def add_runnable(self, image: VerifiedImage, item: CarriedManifest) -> None:
        """Add the config and layers of one manifest: engines with graph drivers keep no more of an image."""
        self._add_blob(item.manifest.config)
        diff_ids = item.config.diff_ids if item.config else ()
        layers = []
        for layer, diff_id in zip(item.manifest.layers, diff_ids, strict=True):
            layers.append(self._add_layer(layer, diff_id))
        self.views.append(DockerView(image.name, item.manifest.config.digest.path, tuple(layers)))

    def _add_layer(self, layer: Descriptor, diff_id: Digest) -> str:
        """Add a layer and return its name in the stream."""
        unpacked = None
        if layer.digest not in self.leave_out | self.keep_packed and form_of(layer) in self.unpack:
            unpacked = self._unpacked(layer, diff_id)
        if unpacked is None:
            self._add_blob(layer)
            return layer.digest.path
        self.members.setdefault(diff_id.path, _Member(unpacked.size, unpacked.open))
        return diff_id.path

    def _unpacked(self, layer: Descriptor, diff_id: Digest) -> UnpackedLayer | None:
        def open_packed() -> ByteStream:
            return self.bundle.open_blob(layer)

        if form_of(layer) == "zstd":
            return measure_zstd(diff_id, open_packed)
        return claim_gzip(diff_id, layer, open_packed, self.bundle.open_unchecked(layer.digest))

    def _add_blob(self, blob: Descriptor) -> None:
        if blob.digest not in self.leave_out:
            member = _Member(blob.size, lambda: self.bundle.open_blob(blob))
            self.members.setdefault(blob.digest.path, member)

    @property
    def total(self) -> int:
        """The size of all content in bytes."""
        return sum(member.size for member in self.members.values())

    def chunks(self, advance: Advance) -> Iterator[bytes]:
        """Yield the tar. Content that differs from what was signed raises in the middle of it."""
        for name, member in self.members.items():
            yield from _file(name, member, advance)
        yield from _file(OCI_LAYOUT_FILE, _small(OCI_LAYOUT), None) if self.images else ()
        if self.images:
            index = index_json((image.name, image.graph.root) for image in self.images)
            yield from _file(INDEX_FILE, _small(index), None)
        yield from _file(MANIFEST_FILE, _small(manifest_json(self.views)), None)
        yield END_OF_ARCHIVE


def _small(raw: bytes) -> _Member:
    return _Member(len(raw), lambda: io.BytesIO(raw))


def _file(name: str, member: _Member, advance: Advance | None) -> Iterator[bytes]:
    yield header(name, member.size)
    buffer = memoryview(bytearray(min(CHUNK, member.size) or 1))
    with contextlib.closing(member.open()) as stream:
        while got := stream.readinto(buffer):
            yield bytes(buffer[:got])
            if advance is not None:
                advance(got)
    yield padding(member.size)
