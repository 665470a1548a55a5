"""A bundle as one tar, read in place without unpacking: every file is a slice (FORMAT.md §2.4).

Unsafe names and unsupported entries are refused by `tar_entries` and `tar_header`.
"""

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType

from airgap.bundle.files import Closing, FileSlice, FoundFile, media_errors, read_small
from airgap.bundle.tar_entries import TarEntry, read_entries
from airgap.bundle.tar_header import BLOCK
from airgap.errors import FormatError, IncompleteError, MissingContentError, UnlistedContentError
from airgap.limits import MAX_BUNDLE_TAR_ENTRIES

_CUT, _AGAIN = "not the whole tar of a bundle", "copy it again"


class TarFolder(Closing):
    """The files of a tar, with the interface of `Folder`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with media_errors("cannot open", path):
            self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._members = self._list()
            self._cut = self._ends_with_an_entry()
        except BaseException:
            self.close()
            raise

    def _list(self) -> dict[str, TarEntry]:
        with media_errors("cannot read", self.path):
            status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            raise UnlistedContentError("not a regular file", subject=self.path)
        source = FileSlice(self._fd, self.path, 0, status.st_size)
        try:
            entries = read_entries(source, skip=source.skip, max_entries=MAX_BUNDLE_TAR_ENTRIES)
            return {entry.name: entry for entry, _ in entries}
        except FormatError as error:
            raise IncompleteError(_CUT, subject=self.path, got=error, hint=_AGAIN) from error

    def _ends_with_an_entry(self) -> bool:
        """Return whether the tar ends with its last entry, without the two blocks of zeros that follow it."""
        with media_errors("cannot read", self.path):
            size = os.fstat(self._fd).st_size
        ends = (entry.offset + entry.size for entry in self._members.values() if entry.kind == "file")
        return size < max(ends, default=0) + BLOCK

    def where(self, name: str) -> str:
        return f"{self.path}/{name}"

    def open(self, name: str) -> FileSlice:
        entry = self._members.get(name)
        if entry is None:
            raise MissingContentError("missing file", subject=f"{self.path}/{name}")
        if entry.kind != "file":
            raise UnlistedContentError("not a regular file", subject=f"{self.path}/{name}")
        return FileSlice(self._fd, f"{self.path}/{name}", entry.offset, entry.size)

    def read(self, name: str, limit: int) -> bytes:
        return read_small(self.open(name), f"{self.path}/{name}", limit)

    def has(self, name: str) -> bool:
        return name in self._members

    def files(self, folders: Collection[str]) -> Iterator[FoundFile]:
        for name, entry in self._members.items():
            parent = PurePosixPath(name).parent.as_posix()
            if entry.kind == "file" and parent in (".", *folders):
                yield FoundFile(name, entry.size)
            elif entry.kind != "directory" or name not in folders:
                raise UnlistedContentError("not a file of a bundle", subject=f"{self.path}/{name}")

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with media_errors("cannot read", self.path):
                os.close(fd)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the tar. If it was cut off between two entries, a missing file means an incomplete tar."""
        self.close()
        if self._cut and isinstance(error, MissingContentError):
            raise IncompleteError(_CUT, subject=self.path, got=error, hint=_AGAIN) from error
