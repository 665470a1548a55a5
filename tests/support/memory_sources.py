"""Sources in memory: one that serves content by digest, and one that hands out whole images."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airgap.endpoints.listing import ListedImage, ListingSource, merged
from airgap.endpoints.ports import BlobSink, ContentSource, ExportedImage, ExportSource, Source
from airgap.errors import EndpointError, NotFoundError
from airgap.oci.digest import Advance, ByteStream, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from tests.support.images import Image
from tests.support.streams import BrokenStream, Bytes


@dataclass
class MemorySource(ContentSource, ListingSource):
    """A source that serves content by digest, and can list its images."""

    images: dict[str, Image]
    name: str = "memory"
    swaps: dict[Digest, bytes] = field(default_factory=dict)
    """What it hands out in place of the true content."""
    breaks: dict[Digest, int] = field(default_factory=dict)
    """Blobs that break off, once, after so many bytes from where they were opened."""
    seekable: bool = True
    opened: list[tuple[Digest, int]] = field(default_factory=list)
    """Which blobs were asked for, from which byte on."""

    def list_images(self) -> list[ListedImage]:
        return merged(
            ListedImage(d := image.descriptor.digest, (ImageReference.parse(name),), ids=frozenset({d}))
            for name, image in self.images.items()
        )

    def resolve(self, reference: ImageReference) -> Descriptor:
        for name, image in self.images.items():
            known = (image.descriptor.digest,) if reference.digest else (ImageReference.parse(name),)
            if (reference.digest or reference) in known:
                return image.descriptor
        raise NotFoundError("not found", subject=reference)

    def _read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        return self._content(descriptor.digest)

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        self.opened.append((descriptor.digest, offset))
        if offset and not self.seekable:
            raise EndpointError("cannot go on in the middle", subject=descriptor.digest)
        raw = self._content(descriptor.digest)[offset:]
        if (cut := self.breaks.pop(descriptor.digest, None)) is not None:
            return BrokenStream(raw[:cut], EndpointError("broke off", subject=descriptor.digest))
        return Bytes(raw)

    def _content(self, digest: Digest) -> bytes:
        if digest in self.swaps:
            return self.swaps[digest]
        for image in self.images.values():
            if digest in image.contents:
                return image.contents[digest]
        raise NotFoundError("not found", subject=digest)


@dataclass
class MemoryEngine(ExportSource):
    """An engine: with `repacked` as a graph driver, whose ID of an image is its config's digest."""

    images: dict[str, Image]
    repacked: bool = False
    name: str = "docker"
    left_out: set[Digest] = field(default_factory=set)
    exports: int = 0
    fails: bool = False

    def _image(self, reference: ImageReference) -> Image:
        for name, image in self.images.items():
            if ImageReference.parse(name) == reference:
                return image
        raise NotFoundError("not found", subject=reference)

    def identify(self, reference: ImageReference) -> Digest:
        image = self._image(reference)
        return image.config if self.repacked and image.config else image.descriptor.digest

    def export(
        self, references: Sequence[ImageReference], sink: BlobSink, advance: Advance
    ) -> list[ExportedImage]:
        self.exports += 1
        found = []
        for reference in references:
            image = self._image(reference)
            for digest, raw in image.contents.items():
                if digest not in self.left_out:
                    sink.add(io.BytesIO(raw), digest, len(raw))
                    advance(len(raw))
            if self.fails:
                raise EndpointError("the engine went away", subject=self.name)
            image_id = self.identify(reference)
            found.append(ExportedImage(reference, image.descriptor, image_id, repacked=self.repacked))
        return found


@dataclass
class Opener:
    """An `OpenSource` over sources by kind."""

    sources: dict[str, Source]
    asked: list[tuple[str, ImageReference | None, Path | None]] = field(default_factory=list)

    def __call__(self, kind: str, reference: ImageReference | None, path: Path | None) -> Source:
        self.asked.append((kind, reference, path))
        return self.sources[kind]
