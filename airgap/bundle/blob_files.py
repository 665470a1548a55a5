"""The files of a blob: one, or several if a medium cannot hold the blob in one file (FORMAT.md §2.5)."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

from airgap.bundle.files import make_folder, media_errors, not_plain, write_all
from airgap.bundle.mounts import has_one_name
from airgap.bundle.write_turns import WriteTurns
from airgap.durable import WriteBack, exists
from airgap.errors import SizeMismatchError
from airgap.oci.digest import ByteStream, Digest
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """A file that holds a blob, or a part of one."""

    path: Path
    size: int
    """The size in bytes."""
    sha256: str | None = None
    """The SHA-256 in hex from an earlier `volume.json`; it is not verified."""

    @property
    def part(self) -> Path:
        """The path of the file while it is written."""
        return self.path.with_name(self.path.name + ".part")


class Sums:
    """Computes the SHA-256 of a blob, whatever the algorithm of its own digest, and of each of its files if
    it is cut: the statement lists whole blobs by SHA-256, and a volume's table lists the parts.
    """

    def __init__(self, digest: Digest, segments: tuple[Segment, ...]) -> None:
        self.digest = digest
        self.segments = segments
        self.parts: dict[Path, str] = {}
        self._whole = None if digest.algorithm == "sha256" else hashlib.sha256()
        self._waiting = list(segments) if len(segments) > 1 else []
        self._part = hashlib.sha256()
        self._left = segments[0].size

    @property
    def sha256(self) -> str:
        """The SHA-256 of the blob, once `update` has had all bytes."""
        return self._whole.hexdigest() if self._whole else self.digest.hex

    def update(self, data: memoryview) -> None:
        """Add the next bytes."""
        if self._whole:
            self._whole.update(data)
        while self._waiting and data:
            piece, data = data[: self._left], data[self._left :]
            self._part.update(piece)
            self._left -= len(piece)
            if not self._left:
                self.parts[self._waiting.pop(0).path] = self._part.hexdigest()
                self._part = hashlib.sha256()
                self._left = self._waiting[0].size if self._waiting else 0


class Joined:
    """Several streams as one. Each is opened when it is needed."""

    def __init__(self, openers: Iterable[Callable[[], ByteStream]]) -> None:
        self._openers = iter(openers)
        self._stream: ByteStream | None = None

    def readinto(self, buffer: memoryview, /) -> int:
        while True:
            if self._stream is None:
                opener = next(self._openers, None)
                if opener is None:
                    return 0
                self._stream = opener()
            if count := self._stream.readinto(buffer):
                return count
            self.close()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class Beginning:
    """The first `size` bytes of a stream."""

    def __init__(self, stream: ByteStream, size: int) -> None:
        self._stream = stream
        self._left = size

    def readinto(self, buffer: memoryview, /) -> int:
        count = (self._stream.readinto(buffer[: self._left]) or 0) if self._left else 0
        self._left -= count
        return count

    def close(self) -> None:
        self._stream.close()


class Output:
    """Writes the files of one blob, one after the other. If bytes of an earlier attempt are kept, they are
    read first, and writing continues after them.

    It waits for its turn on the medium before the first byte of each file, and keeps it until the file is
    durable.
    """

    def __init__(self, segments: tuple[Segment, ...], keep: int, turns: WriteTurns) -> None:
        self._waiting = list(segments)
        self._keep = keep
        self._turns = turns
        self._turn = ExitStack()
        self._fd = -1
        self._left = 0
        self._segment = segments[0]
        self._write_back: WriteBack | None = None
        self._next()

    def _next(self) -> None:
        """Continue with the next file, after making the current one durable."""
        self.sync()
        self.close()
        self._segment = self._waiting.pop(0)
        self._left = self._segment.size
        kept = min(self._keep, self._left)
        self._keep -= kept
        whole = kept == self._left and not exists(self._segment.part)
        path = self._segment.path if whole and kept else self._segment.part
        self._fd = create(path, kept)
        self._write_back = None

    def read(self, buffer: memoryview) -> int:
        """Read the next kept bytes, at least one."""
        while not self._left:
            self._next()
        self._begin()
        with media_errors("cannot read", self._segment.part):
            count = os.readv(self._fd, [buffer[: self._left]])
        if not count:
            raise SizeMismatchError("the file shrank", subject=self._segment.part)
        self._left -= count
        return count

    def write(self, data: memoryview) -> None:
        """Write the next bytes."""
        while data:
            if not self._left and self._waiting:
                self._next()
            write_back = self._begin()
            size = min(len(data), self._left) if self._waiting else len(data)
            with media_errors("cannot write", self._segment.part):
                write_all(self._fd, data[:size])
            write_back.add(size)
            self._left -= size
            data = data[size:]

    def _begin(self) -> WriteBack:
        """Wait for the turn, unless this file has it already."""
        if self._write_back is None:
            self._turn.enter_context(self._turns.of(self._segment.part))
            self._write_back = WriteBack(self._fd, self._segment.size - self._left)
        return self._write_back

    def sync(self) -> None:
        """Make what was written durable."""
        if self._fd < 0:
            return
        with media_errors("cannot write", self._segment.part):
            try:
                os.fsync(self._fd)
            except OSError:
                # the kernel marks pages as clean that it could not write, and would report success next time
                self._segment.part.unlink(missing_ok=True)
                raise

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        with self._turn:
            if fd >= 0:
                with media_errors("cannot write", self._segment.part):
                    os.close(fd)


def usable_bytes(segments: tuple[Segment, ...]) -> int:
    """Return how many bytes of an earlier attempt can be used. Finished files count only if an unfinished one
    follows. If all are finished, none count, because the blob was found to be wrong.
    """
    done = 0
    for segment in segments:
        part = size_of(segment.part)
        if part is None and segment is not segments[-1] and size_of(segment.path) == segment.size:
            part = segment.size
        if part is None or part > segment.size:
            break
        done += part
        if part < segment.size:
            break
    return done


def size_of(path: Path) -> int | None:
    """Return the size of a regular file in bytes; None if there is none."""
    with media_errors("cannot read", path):
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def create(part: Path, keep: int) -> int:
    """Open a `.part` file for writing: the existing one if bytes are kept, else a new one. Raises
    `UnlistedContentError` for a pipe, a device or a file with several names.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with media_errors("cannot write", part):
        if not keep:
            make_folder(part.parent)
            part.unlink(missing_ok=True)
            return os.open(part, flags | os.O_CREAT | os.O_EXCL, 0o644)
        fd = os.open(part, flags)
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and has_one_name(status):
            return fd
        os.close(fd)
        raise not_plain(part)
