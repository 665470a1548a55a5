"""A bundle's tar while it is written. The offset of every file is known from the start (FORMAT.md §2.4)."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from airgap.bundle.files import FileSlice, closing_file, make_folder, media_errors
from airgap.bundle.locks import lock
from airgap.bundle.read_back import Written
from airgap.bundle.store import BlobOpener
from airgap.bundle.tar_entries import END_OF_ARCHIVE, header, padding
from airgap.bundle.write_turns import WriteTurns
from airgap.durable import WriteBack, exists, sync_folder
from airgap.errors import IntegrityError
from airgap.oci.digest import Advance, CheckedReader, Digest, copy
from airgap.oci.documents import Descriptor


class TarStore:
    """The blobs of a tar at `path`, which is named `path` + `.part` until it is complete.

    Digests and sizes are known before the content, and so is every offset: blobs may be written in any order
    and by several threads, and those of an earlier attempt are checked in place.
    """

    def __init__(self, path: Path, small: Mapping[str, bytes], blobs: Mapping[Digest, int]) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.sums: dict[Digest, tuple[str, int]] = {}
        self.written = 0
        self._offsets: dict[str, int] = {}
        self._head = bytearray()
        self._frames: list[tuple[int, bytes]] = []
        end = 0
        for name, raw in small.items():
            self._head += header(name, len(raw)) + raw + padding(len(raw))
        end = len(self._head)
        for digest in sorted(blobs):
            size = blobs[digest]
            self._offsets[digest.path] = end + len(header(digest.path, size))
            after = self._offsets[digest.path] + size
            self._frames.append((end, header(digest.path, size)))
            self._frames.append((after, padding(size)))
            end = after + len(padding(size))
        self._frames.append((end, END_OF_ARCHIVE))
        self.total = end + len(END_OF_ARCHIVE)
        self.resumed = False
        self._fd = -1
        self._turns = WriteTurns()

    def open(self) -> None:
        """Open the unfinished or finished tar of an earlier attempt, or begin a new one.

        The head is durable afterwards, because it records the serial of this tar: once the site has recorded
        the serial, a power failure must not leave a tar without it.
        """
        with media_errors("cannot write", self.part):
            make_folder(self.part.parent)
            if exists(self.path):
                self.path.replace(self.part)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._fd = os.open(self.part, flags, 0o644)
            lock(self._fd, self.part)
            self.resumed = os.fstat(self._fd).st_size == self.total
            if not self.resumed:
                os.ftruncate(self._fd, 0)
                os.ftruncate(self._fd, self.total)
            for offset, raw in [(0, bytes(self._head)), *self._frames]:
                _write_at(self._fd, offset, memoryview(raw))
            self._sync()
            sync_folder(self.part.parent)

    def present(self, digest: Digest) -> bool:
        """Return whether an earlier attempt may have left the blob."""
        return self.resumed and digest.path in self._offsets

    def check(self, digest: Digest, size: int, advance: Advance | None = None) -> bool:
        """Read all of the blob, and return whether it is present and correct."""
        source = FileSlice(self._fd, self.part, self._offsets[digest.path], size, advance)
        try:
            copy(CheckedReader(source, digest, size), lambda _: None)
        except IntegrityError:
            return False
        self.sums[digest] = (digest.hex, size)
        return True

    def fetch(
        self, blob: Descriptor, open_at: BlobOpener, *, advance: Advance | None = None, subject: object = None
    ) -> None:
        """Write the blob at its offset."""
        position = self._offsets[blob.digest.path]
        fd = os.dup(self._fd)  # a copy, because Ctrl-C closes the other one while this thread may still write
        write_back, turn = WriteBack(fd, position), contextlib.ExitStack()

        def take(data: memoryview) -> None:
            nonlocal position
            if position == self._offsets[blob.digest.path]:
                turn.enter_context(self._turns.of(self.part))
            with media_errors("cannot write", self.part):
                _write_at(fd, position, data)
            position += len(data)
            write_back.add(len(data))

        with closing_file(fd, self.part), turn:
            reader = CheckedReader(open_at(0), blob.digest, blob.size, subject)
            with contextlib.closing(reader):
                copy(reader, take, advance)
        self.sums[blob.digest] = (blob.digest.hex, blob.size)
        self.written += 1

    def commit(self) -> None:
        """Give the tar its name durably. Every blob must have been written."""
        with media_errors("cannot write", self.part):
            self._sync()
            self.part.replace(self.path)
            sync_folder(self.path.parent)

    def _sync(self) -> None:
        """Make the content durable. Raises `OSError`."""
        try:
            os.fsync(self._fd)
        except OSError:
            # The cache is no longer reliable, so the blobs are dropped; the head is kept, because it
            # records the serial, and is written again by the next run.
            os.ftruncate(self._fd, len(self._head))
            raise

    def written_files(self) -> list[Written]:
        """Return the content of the tar: its head, then the blobs, then the headers and padding."""
        head = bytes(self._head)
        written = [Written(self.path, Digest.of(head).hex, len(head), 0)]
        for digest, (sha256, size) in self.sums.items():
            written.append(Written(self.path, sha256, size, self._offsets[digest.path]))
        frames = [Written(self.path, Digest.of(raw).hex, len(raw), at) for at, raw in self._frames if raw]
        return written + frames

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with media_errors("cannot write", self.part):
                os.close(fd)


def _write_at(fd: int, offset: int, data: memoryview) -> None:
    while data:
        done = os.pwrite(fd, data, offset)
        offset, data = offset + done, data[done:]
