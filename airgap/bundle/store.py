"""The blobs of a bundle while it is written: whole or absent, resumable, nothing believed unread."""

import contextlib
import hashlib
import io
import itertools
import os
import stat
import threading
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.files import FileStream, media_errors, sync_folder, write_all
from airgap.errors import (
    EndpointError,
    IntegrityError,
    MissingContentError,
    SizeMismatchError,
    UnavailableError,
)
from airgap.oci.digest import CHUNK, Advance, ByteStream, CheckedReader, Digest, Hasher, copy
from airgap.oci.documents import Descriptor

# O_NONBLOCK: a pipe under the name of a blob must be refused, not waited for
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Opener = Callable[[int], ByteStream]
"""Opens a blob's content at an offset in bytes. Raises `EndpointError` where it cannot seek."""


class BlobStore:
    """`blobs/<algorithm>/<hex>` below a folder. Methods may be called from several threads, each
    with digests of its own.

    `sums` holds, for every blob that this object has read or written to its end, the SHA-256 of
    the bytes and their number: only these count as being there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sums: dict[Digest, tuple[str, int]] = {}
        self.written = 0
        """Blobs that were written, and not only found."""
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or will be."""
        return self.folder / digest.path

    def present(self, digest: Digest) -> bool:
        """Whether an earlier attempt may have left the blob."""
        return self.path(digest).exists()

    def check(self, digest: Digest, size: int, advance: Advance | None = None) -> bool:
        """Whether the blob is there and right, found out by reading all of it."""
        if digest in self.sums:
            return True
        path = self.path(digest)
        try:
            stream = self._open(path)
        except MissingContentError:
            return False
        sha256 = _second_hash(digest)
        try:
            with contextlib.closing(CheckedReader(stream, digest, size)) as reader:
                copy(reader, sha256.update if sha256 else _nowhere, advance)
        except IntegrityError:
            return False
        self._keep(digest, size, sha256.hexdigest() if sha256 else digest.hex)
        return True

    def fetch(
        self,
        blob: Descriptor,
        open_at: Opener,
        *,
        advance: Advance | None = None,
        subject: object = None,
    ) -> None:
        """Write the blob, going on where an earlier attempt stopped.

        What that attempt left is read again first. When the whole then comes out wrong, or the
        source cannot go on in the middle, the same call starts anew from the first byte.
        """
        if blob.digest in self.sums:
            return None
        part = self._part(blob.digest)
        writer = _Writer(part, blob, subject, advance)
        done = _usable(part, blob.size)
        if done:
            try:
                return self._finish(writer, open_at, done)
            except UnavailableError:
                raise
            except (IntegrityError, EndpointError):
                self._remove(part)
        try:
            return self._finish(writer, open_at, 0)
        except IntegrityError:
            self._remove(part)
            raise

    def add(self, stream: ByteStream, digest: Digest, size: int) -> None:
        """`BlobSink.add`: one pass, no resuming; what is there already is checked all the same."""
        if digest in self.sums:
            copy(CheckedReader(stream, digest, size), _nowhere)
            return
        blob = Descriptor("", digest, size)
        self._finish(_Writer(self._part(digest), blob, None, None), lambda _: stream, 0)

    def add_unnamed(self, stream: ByteStream) -> tuple[Digest, int]:
        """`BlobSink.add_unnamed`: the name follows from the content."""
        part = self.folder / "blobs" / "sha256" / f"unnamed-{next(self._numbers)}.part"
        sha256 = hashlib.sha256()
        fd = _create(part, 0)

        def take(data: memoryview) -> None:
            sha256.update(data)
            with media_errors("cannot write", part):
                write_all(fd, data)

        try:
            size = copy(stream, take)
            with media_errors("cannot write", part):
                os.fsync(fd)
        finally:
            os.close(fd)
        digest = Digest("sha256", sha256.hexdigest())
        self._commit(part, digest)
        self._keep(digest, size, digest.hex)
        self.written += 1
        return digest, size

    def read(self, digest: Digest, limit: int) -> bytes:
        """`BlobSink.read`: a small blob that is in `sums`."""
        _, size = self.sums[digest]
        if size > limit:
            raise SizeMismatchError(
                "too large", subject=digest, want=f"at most {limit:,} bytes", got=f"{size:,}"
            )
        out = bytearray()
        with contextlib.closing(CheckedReader(self._open(self.path(digest)), digest, size)) as reader:
            copy(reader, out.extend)
        return bytes(out)

    def prune(self, wanted: AbstractSet[Digest]) -> None:
        """Forget and remove every blob that is not in `wanted`: leftovers and unchosen platforms."""
        for digest in set(self.sums) - wanted:
            del self.sums[digest]
        names = {digest.path for digest in wanted}
        for path in (self.folder / "blobs").glob("*/*"):
            if path.relative_to(self.folder).as_posix() not in names:
                self._remove(path)

    def _remove(self, path: Path) -> None:
        with media_errors("cannot remove", path):
            path.unlink(missing_ok=True)

    def _open(self, path: Path) -> FileStream:
        with media_errors("cannot read", path):
            try:
                return FileStream(os.open(path, _READ), str(path))
            except FileNotFoundError as error:
                raise MissingContentError("missing blob", subject=path) from error

    def _part(self, digest: Digest) -> Path:
        return self.path(digest).with_name(digest.hex + ".part")

    def _finish(self, writer: "_Writer", open_at: Opener, done: int) -> None:
        sha256 = writer.write(open_at, done)
        self._commit(writer.part, writer.blob.digest)
        self._keep(writer.blob.digest, writer.blob.size, sha256)
        self.written += 1

    def _commit(self, part: Path, digest: Digest) -> None:
        path = self.path(digest)
        with media_errors("cannot write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.replace(path)
            sync_folder(path.parent)

    def _keep(self, digest: Digest, size: int, sha256: str) -> None:
        with self._lock:
            self.sums[digest] = (sha256, size)


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes one blob into its `.part` file, which it leaves there complete and durable, or in part."""

    part: Path
    blob: Descriptor
    subject: object
    advance: Advance | None

    def write(self, open_at: Opener, done: int) -> str:
        """Keep `done` bytes, write the rest, check all; the SHA-256 of all in hex."""
        digest = self.blob.digest
        fd = _create(self.part, done)
        try:
            hasher, second = digest.hasher(), _second_hash(digest)
            if done:
                self._reread(fd, done, hasher, second)
            stream = open_at(done) if done < self.blob.size else io.BytesIO()

            def take(data: memoryview) -> None:
                if second:
                    second.update(data)
                with media_errors("cannot write", self.part):
                    write_all(fd, data)

            reader = CheckedReader(stream, digest, self.blob.size, self.subject, prior=hasher, done=done)
            with contextlib.closing(reader):
                copy(reader, take, self.advance)
            with media_errors("cannot write", self.part):
                os.fsync(fd)
        finally:
            os.close(fd)
        return second.hexdigest() if second else digest.hex

    def _reread(self, fd: int, done: int, hasher: Hasher, second: Hasher | None) -> None:
        """Hash the `done` bytes that are there, and stand at their end."""
        buffer = memoryview(bytearray(CHUNK))
        left = done
        while left:
            with media_errors("cannot read", self.part):
                got = os.readv(fd, [buffer[: min(left, CHUNK)]])
            if not got:
                raise SizeMismatchError("the file shrank", subject=self.part)
            hasher.update(buffer[:got])
            if second:
                second.update(buffer[:got])
            left -= got
        if self.advance is not None:
            self.advance(done)


def _usable(part: Path, size: int) -> int:
    """How many bytes of an earlier attempt can be used."""
    with media_errors("cannot read", part):
        try:
            found = part.lstat()
        except FileNotFoundError:
            return 0
    return found.st_size if stat.S_ISREG(found.st_mode) and found.st_size <= size else 0


def _create(part: Path, keep: int) -> int:
    """Open a `.part` file for writing, with all of its content or none of it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if keep else os.O_TRUNC)
    with media_errors("cannot write", part):
        part.parent.mkdir(parents=True, exist_ok=True)
        return os.open(part, flags, 0o644)


def _second_hash(digest: Digest) -> Hasher | None:
    """SHA-256 beside another digest: the statement lists every file by SHA-256."""
    return None if digest.algorithm == "sha256" else hashlib.sha256()


def _nowhere(data: memoryview) -> None:
    """Take bytes that only needed to be read."""
