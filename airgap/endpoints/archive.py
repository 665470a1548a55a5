"""Image archives in a file (`archive:FILE`): from `docker save` or with an OCI image layout inside."""

import os
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from airgap.bundle.bundle_tar import TarFolder
from airgap.bundle.contents import INDEX_FILE, read_index
from airgap.bundle.files import closing_file, write_stream
from airgap.endpoints.archive_tar import EMPTY_HINT, TarFile, TarIndex
from airgap.endpoints.listing import ListedImage, ListingSource, merged
from airgap.endpoints.naming import Lookup
from airgap.endpoints.ports import BlobSink, ExportedImage, ExportSource, FileTarget, PresentImage
from airgap.endpoints.save_format import DockerImage, OciImage, SavedImage, choose_image, read_images
from airgap.endpoints.save_stream import Intake, finish_image
from airgap.errors import EndpointError, FormatError, IntegrityError, NotFoundError
from airgap.limits import MAX_INDEX_BYTES
from airgap.oci.digest import Advance, Digest
from airgap.oci.reference import ImageReference

_CUT = "the archive is cut off: copy or download it again"


class Archive(ExportSource, ListingSource):
    """Images from a tar file, plain or compressed with gzip or zstd. It stores only the requested
    images.

    The file is listed once, and again if it has changed; `export` then reads it a second time. A compressed
    one is read completely both times. `index.json` takes precedence over `manifest.json` and keeps all
    documents and layers byte for byte; an archive that has only the latter is repacked. Raises what
    `save_format` and `tar_entries` raise, with the file's name, and `EndpointError` if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: tuple[tuple[int, ...], TarIndex, Lookup[SavedImage]] | None = None

    @property
    def name(self) -> str:
        return f"archive:{self._path}"

    def list_images(self) -> list[ListedImage]:
        with self._open() as (_, images):
            return merged(map(_listed, images.images))

    def identify(self, reference: ImageReference) -> Digest:
        with self._open() as (_, images):
            return self._choose(images, reference).image_id

    def export(
        self, references: Sequence[ImageReference], sink: BlobSink, advance: Advance
    ) -> list[ExportedImage]:
        with self._open() as (files, images):
            chosen = [self._choose(images, reference) for reference in references]
            intake = Intake(sink, repack=not any(isinstance(image, OciImage) for image in images.images))
            for name, data in files.iter_files(_needed(chosen), advance):
                intake.store(name, files.sizes[name], data)
            return [finish_image(*pair, files, intake) for pair in zip(references, chosen, strict=True)]

    def _choose(self, images: Lookup[SavedImage], reference: ImageReference) -> SavedImage:
        try:
            return choose_image(images, reference)
        except NotFoundError as error:
            names = sorted(
                {str(name) for image in images.images for name in image.names or (image.image_id,)}
            )
            raise NotFoundError(
                error.what, subject=f"{self._path}: {reference}", hint=f"it contains {', '.join(names[:10])}"
            ) from error

    @contextmanager
    def _open(self) -> Iterator[tuple[TarFile, Lookup[SavedImage]]]:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFoundError("no such archive", subject=self._path) from error
        except OSError as error:
            raise EndpointError("cannot read archive", subject=self._path, got=error.strerror) from error
        with closing_file(fd, self._path, "cannot read"), self._named():
            state = os.fstat(fd)
            if not stat.S_ISREG(state.st_mode):
                raise EndpointError("cannot read archive", subject=self._path, got="not a regular file")
            yield self._listed(fd, state)

    def _listed(self, fd: int, state: os.stat_result) -> tuple[TarFile, Lookup[SavedImage]]:
        """Return the file and its images; read again only if the file has changed."""
        identity = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        with self._lock:
            if self._known is not None and self._known[0] == identity:
                return TarFile(fd, self._path, self._known[1]), self._known[2]
            files = TarFile(fd, self._path)
            images = Lookup(self._read(files))
            self._known = (identity, files.index, images)
            return files, images

    def _read(self, files: TarFile) -> list[SavedImage]:
        if not files.sizes:  # truncated zstd may yield no file at all
            what = "truncated or empty archive" if files.index.form == "zstd" else "empty tar"
            raise FormatError(what, subject=self._path, want="images", hint=EMPTY_HINT)
        try:
            return read_images(files)
        except (FormatError, IntegrityError) as error:
            if files.index.ended:
                raise
            raise FormatError(
                "truncated archive", subject=self._path, got=f"no end mark, and: {error}", hint=_CUT
            ) from error

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Add the file's name to errors about its content."""
        try:
            yield
        except (FormatError, IntegrityError) as error:
            if error.subject is None:
                error.subject = self._path
            elif str(self._path) not in str(error.subject):
                error.subject = f"{error.subject} in {self._path}"
            if error.what == "truncated archive":
                error.hint = error.hint or _CUT
            raise


def _listed(image: SavedImage) -> ListedImage:
    named = (image.names, image.tag, image.problem)
    if isinstance(image, DockerImage):
        return ListedImage(image.image_id, *named, image.ids, image.ids, image.subject)
    configs = image.configs if len(image.configs) == 1 else frozenset()
    contents = frozenset(node.digest for node, _ in image.documents)
    return ListedImage(image.image_id, *named, image.ids | configs, contents, image.subject)


def _needed(images: Sequence[SavedImage]) -> set[str]:
    """Return the files to put into the sink: layers, and for the OCI form also configs."""
    names: set[str] = set()
    for image in images:
        if isinstance(image, DockerImage):
            names.update(image.layers)
        else:
            names.update(blob.digest.path for blob in image.blobs)
    return names


class ArchiveFile(FileTarget):
    """A file in the hybrid form: OCI layout and `docker save` in one tar."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return f"archive:{self._path}"

    def write(self, tar: Iterable[bytes]) -> None:
        write_stream(self._path, tar)

    def present(self) -> Iterator[PresentImage]:
        for name, digest in self.names().items():
            yield PresentImage(name, str(name), digest)

    def names(self) -> dict[ImageReference, Digest]:
        with TarFolder(self._path) as files:
            index = read_index(files.read(INDEX_FILE, MAX_INDEX_BYTES))
        return {name: entry.digest for name, entry in index.items()}
