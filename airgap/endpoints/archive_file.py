"""`archive:FILE` as a target: the images of a bundle as one file that every engine and tool loads."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from airgap.bundle.files import media_errors, sync_folder, write_all


class ArchiveFile:
    """A file in the hybrid form: OCI layout and `docker save` in one tar."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return f"archive:{self._path}"

    def write(self, tar: Iterable[bytes]) -> None:
        part = self._path.with_name(self._path.name + ".part")
        with media_errors("cannot write", self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            for chunk in tar:
                with media_errors("cannot write", part):
                    write_all(fd, chunk)
            with media_errors("cannot write", part):
                os.fsync(fd)
                part.replace(self._path)
                sync_folder(self._path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        finally:
            os.close(fd)
