"""`archive:FILE` as a target: the images of a bundle as one file that every engine and tool loads."""

from collections.abc import Iterable
from pathlib import Path

from airgap.bundle.files import write_stream


class ArchiveFile:
    """A file in the hybrid form: OCI layout and `docker save` in one tar."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return f"archive:{self._path}"

    def write(self, tar: Iterable[bytes]) -> None:
        write_stream(self._path, tar)
