"""`archive:FILE` as a target: the images of a bundle as one file that every engine and tool can load."""

from collections.abc import Iterable
from pathlib import Path

from airgap.bundle.contents import INDEX_FILE, read_index
from airgap.bundle.files import write_stream
from airgap.bundle.tar_reader import TarFolder
from airgap.limits import MAX_INDEX_BYTES
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference


class ArchiveFile:
    """A file in the hybrid form: OCI layout and `docker save` in one tar."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return f"archive:{self._path}"

    def write(self, tar: Iterable[bytes]) -> None:
        write_stream(self._path, tar)

    def names(self) -> dict[ImageReference, Digest]:
        """See `ListedFile`."""
        with TarFolder(self._path) as files:
            index = read_index(files.read(INDEX_FILE, MAX_INDEX_BYTES))
        return {name: entry.digest for name, entry in index.items()}
