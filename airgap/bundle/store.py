"""The blobs of a bundle while it is written: whole or absent, resumable, nothing believed unread."""

import contextlib
import hashlib
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path

from airgap.bundle.files import FileStream, media_errors, sync_folder, write_all
from airgap.errors import (
    EndpointError,
    IntegrityError,
    MissingContentError,
    SizeMismatchError,
    UnavailableError,
)
from airgap.oci.digest import CHUNK, Advance, ByteStream, CheckedReader, Digest, copy

Opener = Callable[[int], ByteStream]
"""Opens a blob's content at an offset in bytes. Raises `EndpointError` where it cannot seek."""


class BlobStore:
    """`blobs/<algorithm>/<hex>` below a folder. Methods may be called from several threads, each
    with digests of its own.

    `sums` holds, for every blob that this object has read or written to its end, the SHA-256 of
    the bytes and their number: only these count as being there.
    """

    def __init__(self, folder: Path, advance: Advance | None = None) -> None:
        self.folder = folder
        self.sums: dict[Digest, tuple[str, int]] = {}
        self._advance = advance
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or will be."""
        return self.folder / digest.path

    def check(self, digest: Digest, size: int) -> bool:
        """Whether the blob is there and right, found out by reading all of it. A wrong one is removed."""
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
                copy(reader, sha256.update if sha256 else _nowhere, self._advance)
        except IntegrityError:
            self._remove(path)
            return False
        self._keep(digest, size, sha256.hexdigest() if sha256 else digest.hex)
        return True

    def fetch(self, digest: Digest, size: int, open_at: Opener) -> None:
        """Write the blob, going on where an earlier attempt stopped.

        What that attempt left is read again first. When the whole then comes out wrong, or the
        source cannot go on in the middle, the same call starts anew from the first byte.
        """
        if digest in self.sums:
            return None
        part = self.path(digest).with_name(digest.hex + ".part")
        done = self._partial(part, size)
        if done:
            try:
                return self._write(part, digest, size, open_at, done)
            except UnavailableError:
                raise
            except (IntegrityError, EndpointError):
                self._remove(part)
        try:
            return self._write(part, digest, size, open_at, 0)
        except IntegrityError:
            self._remove(part)
            raise

    def add(self, stream: ByteStream, digest: Digest, size: int) -> None:
        """`BlobSink.add`: one pass, no resuming; what is there already is checked all the same."""
        if digest in self.sums:
            copy(CheckedReader(stream, digest, size), _nowhere)
            return
        part = self.path(digest).with_name(digest.hex + ".part")
        self._write(part, digest, size, lambda _: stream, 0)

    def add_unnamed(self, stream: ByteStream) -> tuple[Digest, int]:
        """`BlobSink.add_unnamed`: the name follows from the content."""
        part = self.folder / "blobs" / "sha256" / f"unnamed-{next(self._numbers)}.part"
        sha256 = hashlib.sha256()
        fd = self._create(part, 0)

        def take(data: memoryview) -> None:
            sha256.update(data)
            with media_errors("cannot write", part):
                write_all(fd, data)

        try:
            size = copy(stream, take, self._advance)
            with media_errors("cannot write", part):
                os.fsync(fd)
        finally:
            os.close(fd)
        digest = Digest("sha256", sha256.hexdigest())
        self._commit(part, digest)
        self._keep(digest, size, digest.hex)
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

    def prune(self) -> list[str]:
        """Remove from `blobs/` whatever is not in `sums`: leftovers of other attempts. Return their names."""
        wanted = {digest.path for digest in self.sums}
        gone = []
        for path in sorted((self.folder / "blobs").glob("*/*")):
            name = path.relative_to(self.folder).as_posix()
            if name not in wanted:
                self._remove(path)
                gone.append(name)
        return gone

    def _remove(self, path: Path) -> None:
        with media_errors("cannot remove", path):
            path.unlink(missing_ok=True)

    def _open(self, path: Path) -> FileStream:
        with media_errors("cannot read", path):
            try:
                return FileStream(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), str(path))
            except FileNotFoundError as error:
                raise MissingContentError("missing blob", subject=path) from error

    def _partial(self, part: Path, size: int) -> int:
        """How many bytes of an earlier attempt can be used."""
        try:
            found = part.lstat().st_size
        except FileNotFoundError:
            return 0
        return found if 0 < found <= size and not part.is_symlink() else 0

    def _create(self, part: Path, keep: int) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if keep else os.O_TRUNC)
        with media_errors("cannot write", part):
            part.parent.mkdir(parents=True, exist_ok=True)
            return os.open(part, flags, 0o644)

    def _write(self, part: Path, digest: Digest, size: int, open_at: Opener, done: int) -> None:
        fd = self._create(part, done)
        try:
            hasher, sha256 = digest.hasher(), _second_hash(digest)
            if done:
                self._reread(fd, part, done, hasher.update, sha256.update if sha256 else _nowhere)
            stream = open_at(done) if done < size else _Empty()

            def take(data: memoryview) -> None:
                if sha256:
                    sha256.update(data)
                with media_errors("cannot write", part):
                    write_all(fd, data)

            reader = CheckedReader(stream, digest, size, prior=hasher, done=done)
            with contextlib.closing(reader):
                copy(reader, take, self._advance)
            with media_errors("cannot write", part):
                os.fsync(fd)
        finally:
            os.close(fd)
        self._commit(part, digest)
        self._keep(digest, size, sha256.hexdigest() if sha256 else digest.hex)

    def _reread(self, fd: int, part: Path, done: int, *updates: Callable[[memoryview], object]) -> None:
        """Hash the `done` bytes that are there, and stand at their end."""
        buffer = memoryview(bytearray(CHUNK))
        left = done
        while left:
            with media_errors("cannot read", part):
                got = os.readv(fd, [buffer[: min(left, CHUNK)]])
            for update in updates:
                update(buffer[:got])
            left -= got
            if self._advance is not None:
                self._advance(got)

    def _commit(self, part: Path, digest: Digest) -> None:
        path = self.path(digest)
        with media_errors("cannot write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.replace(path)
            sync_folder(path.parent)

    def _keep(self, digest: Digest, size: int, sha256: str) -> None:
        with self._lock:
            self.sums[digest] = (sha256, size)


class _Empty:
    def readinto(self, buffer: memoryview, /) -> int:  # noqa: ARG002
        return 0

    def close(self) -> None:
        pass


def _second_hash(digest: Digest) -> "hashlib._Hash | None":
    """SHA-256 beside another digest: the statement lists every file by SHA-256."""
    return None if digest.algorithm == "sha256" else hashlib.sha256()


def _nowhere(data: memoryview) -> None:
    """Take bytes that only needed to be read."""
