"""Image archives in a file (`archive:FILE`): from `docker save` or with an OCI image layout inside."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.files import FileSlice, closing_file
from airgap.bundle.ustar import read_entries
from airgap.endpoints.ports import BlobSink, ExportedImage
from airgap.endpoints.save_format import (
    MAX_DOCUMENT,
    DockerImage,
    Listing,
    OciImage,
    SavedImage,
    choose,
    read_images,
)
from airgap.endpoints.save_stream import MAX_ENTRIES, Intake, finish_docker, finish_oci, read_up_to
from airgap.errors import EndpointError, FormatError, NotFoundError
from airgap.oci.digest import Advance, Digest
from airgap.oci.reference import ImageReference

_COMPRESSED = {
    b"\x1f\x8b": "gunzip", b"\x28\xb5\x2f\xfd": "unzstd", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image in an archive, under one of its names, or under none."""

    reference: ImageReference | None
    image_id: Digest


class Archive:
    """An `ExportSource` over a tar file. Only what the wanted images need is read.

    Every call opens the file anew. `index.json` goes before `manifest.json` and then keeps all
    documents and layers byte for byte; an archive that has only the latter is repacked. Raises what
    `save_format` and `ustar` raise, and `EndpointError` when the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return f"archive:{self._path}"

    def names(self) -> list[ImageReference]:
        return [image.reference for image in self.images() if image.reference is not None]

    def images(self) -> list[ListedImage]:
        """Every image under each of its names; one without a name once. To export that one, give
        any reference with its image ID as the digest.
        """
        with self._open() as files:
            found = [
                ListedImage(name, image.image_id)
                for image in read_images(files)
                for name in image.names or (None,)
            ]
        return list(dict.fromkeys(found))

    def identify(self, reference: ImageReference) -> Digest:
        with self._open() as files:
            return self._choose(read_images(files), reference).image_id

    def export(
        self, references: Sequence[ImageReference], sink: BlobSink, advance: Advance
    ) -> list[ExportedImage]:
        with self._open() as files:
            images = read_images(files)
            chosen = [self._choose(images, reference) for reference in references]
            intake = Intake(sink, repack=any(isinstance(image, DockerImage) for image in chosen))
            for name in files.in_order(_needed(chosen)):
                with files.data(name, advance) as data:
                    intake.store(name, files.sizes[name], data)
            return [_finish(*pair, files, intake) for pair in zip(references, chosen, strict=True)]

    def _choose(self, images: Sequence[SavedImage], reference: ImageReference) -> SavedImage:
        try:
            return choose(images, reference)
        except NotFoundError as error:
            names = sorted({str(name) for image in images for name in image.names or (image.image_id,)})
            raise NotFoundError(
                error.what, subject=f"{self._path}: {reference}", hint=f"it has {', '.join(names[:10])}"
            ) from error

    @contextmanager
    def _open(self) -> Iterator["_TarFile"]:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFoundError("no such archive", subject=self._path) from error
        except OSError as error:
            raise EndpointError("cannot read archive", subject=self._path, got=error.strerror) from error
        with closing_file(fd, self._path, "cannot read"):
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise EndpointError("cannot read archive", subject=self._path, got="not a regular file")
            yield _TarFile(fd, self._path)


def _needed(images: Sequence[SavedImage]) -> set[str]:
    """The files to put into the sink: layers, and for the OCI form configs too."""
    names: set[str] = set()
    for image in images:
        if isinstance(image, DockerImage):
            names.update(image.layers)
        else:
            names.update(blob.digest.path for blob in image.blobs)
    return names


def _finish(
    reference: ImageReference, image: OciImage | DockerImage, files: Listing, intake: Intake
) -> ExportedImage:
    if isinstance(image, DockerImage):
        return finish_docker(reference, image, files, intake)
    return finish_oci(reference, image, intake)


class _TarFile(Listing):
    """The listing of a tar in an open file, read once from end to end without its data."""

    def __init__(self, fd: int, path: Path) -> None:
        super().__init__()
        self._fd = fd
        self._path = path
        self._offsets: dict[str, int] = {}
        self._refuse_compressed()
        source = FileSlice(self._fd, path, 0, os.fstat(fd).st_size)
        for entry, _ in read_entries(source, skip=source.skip, max_entries=MAX_ENTRIES):
            self.add(entry)
            self._offsets[entry.name] = entry.offset

    def read(self, name: str) -> bytes:
        name = self.resolve(name)
        size = self.sizes[name]
        if size > MAX_DOCUMENT:
            raise FormatError(
                "too large", subject=name, want=f"at most {MAX_DOCUMENT:,} bytes", got=f"{size:,}"
            )
        return read_up_to(FileSlice(self._fd, self._path, self._offsets[name], size), size)

    def in_order(self, names: set[str]) -> list[str]:
        """The files behind `names` as they follow each other on the disk."""
        return sorted({self.resolve(name) for name in names}, key=self._offsets.__getitem__)

    def data(self, name: str, advance: Advance) -> FileSlice:
        return FileSlice(self._fd, self._path, self._offsets[name], self.sizes[name], advance)

    def _refuse_compressed(self) -> None:
        head = read_up_to(FileSlice(self._fd, self._path, 0, 8), 8)
        for magic, tool in _COMPRESSED.items():
            if head.startswith(magic):
                raise FormatError(
                    "compressed archive", subject=self._path, want="a plain tar",
                    hint=f"unpack it first: {tool} {self._path}",
                )  # fmt: skip
