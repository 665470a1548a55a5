"""The blobs of a bundle while it is written. Each is whole or absent, can be resumed, and is always read
before it is trusted.
"""

import contextlib
import hashlib
import io
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

from airgap.bundle.blob_files import Beginning, Joined, Output, Segment, Sums, create, size_of, usable_bytes
from airgap.bundle.files import FileStream, closing_file, media_errors, write_all
from airgap.bundle.write_turns import WriteTurns
from airgap.durable import exists, sync_folder
from airgap.errors import (
    AirgapError,
    EndpointError,
    IncompleteError,
    IntegrityError,
    MediaError,
    MissingContentError,
    SizeMismatchError,
    UnavailableError,
)
from airgap.oci.digest import CHUNK, Advance, ByteStream, CheckedReader, Digest, Hasher, copy
from airgap.oci.documents import Descriptor
from airgap.values import dataclass
from airgap.workers import run_all, run_each

# O_NONBLOCK: opening must not wait if the path is a pipe
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

BlobOpener = Callable[[int], ByteStream]
"""Opens a blob's content at an offset in bytes. Raises `EndpointError` if the source cannot seek."""

Phase = Callable[[str, int], AbstractContextManager[Advance]]
"""Shows a phase of work over a number of bytes, like `Progress.phase`."""


class Store(Protocol):
    """A store for blobs of known digests: a bundle's folder, its volumes, or its tar."""

    sums: dict[Digest, tuple[str, int]]
    """The SHA-256 in hex and the size of each blob that is present and checked."""

    def present(self, digest: Digest) -> bool:
        """Return whether an earlier attempt may have left the blob."""

    def check(self, digest: Digest, size: int, advance: Advance | None = None) -> bool:
        """Read all of the blob, and return whether it is present and correct."""

    def fetch(
        self, blob: Descriptor, open_at: BlobOpener, *, advance: Advance | None = None, subject: object = None
    ) -> None:
        """Write the blob, and check it."""


class BlobStore:
    """The files `blobs/<algorithm>/<hex>` in a folder. Several threads may call the methods, each with its
    own digests.

    `cut` has the files, in order, of blobs that are stored under other names or in the folders `others`.
    Those folders may also have copies of the blobs that are not cut. `sums` has the SHA-256 and the size of
    each blob that this object has read or written to its end; only these blobs count as present. `part_sums`
    has the SHA-256 of each file of a blob that is cut.
    """

    def __init__(
        self, folder: Path, others: Sequence[Path] = (), cut: Mapping[Digest, tuple[Segment, ...]] = {}
    ) -> None:
        self.folder = folder
        self.others = others
        self.cut = cut
        self.sums: dict[Digest, tuple[str, int]] = {}
        self.part_sums: dict[Path, str] = {}
        self.written = 0
        """The number of blobs that were written; blobs that were only found are not counted."""
        self._numbers = itertools.count()
        self._turns = WriteTurns()
        self._lock = threading.Lock()

    def path(self, digest: Digest) -> Path:
        """Return the path of the blob, which may not exist yet."""
        return self.folder / digest.path

    def segments(self, digest: Digest, size: int) -> tuple[Segment, ...]:
        """Return the files of the blob in order, which may not exist yet."""
        return self.cut.get(digest) or (Segment(self.path(digest), size),)

    def present(self, digest: Digest) -> bool:
        """Return whether an earlier attempt may have left the blob."""
        return all(exists(segment.path) for segment in self.segments(digest, 0))

    def check(self, digest: Digest, size: int, advance: Advance | None = None) -> bool:
        """Read all of the blob, and return whether it is present and correct."""
        if digest in self.sums:
            return True
        sums = Sums(digest, self.segments(digest, size))
        try:
            stream = self._open(sums.segments)
            reader = CheckedReader(stream, digest, size)
            with contextlib.closing(reader), self._turns.of(sums.segments[0].path):
                copy(reader, sums.update, advance)
        except IntegrityError:
            return False
        self._keep(size, sums)
        return True

    def fetch(
        self, blob: Descriptor, open_at: BlobOpener, *, advance: Advance | None = None, subject: object = None
    ) -> None:
        """Write the blob, and resume where an earlier attempt stopped.

        The bytes of that attempt are read again first. If the blob is wrong at the end, or the source cannot
        resume in the middle, the same call starts again from the first byte. If a blob in parts is damaged,
        only the wrong parts are written.
        """
        segments = self.segments(blob.digest, blob.size)
        if blob.digest in self.sums or self._repair_parts(segments, blob, open_at, subject, advance):
            return None
        writer = _Writer(segments, blob, subject, advance, self._turns)
        done, first = usable_bytes(segments), None
        if done:
            try:
                return self._finish(writer, open_at, done)
            except UnavailableError:
                raise
            except (IntegrityError, EndpointError) as error:
                self._remove(*(segment.part for segment in segments))
                first = error
        try:
            return self._finish(writer, open_at, 0)
        except IntegrityError:
            self._remove(*(segment.part for segment in segments))
            raise
        except IncompleteError:  # the beginning was removed above; report the first error
            if first is None:
                raise
            raise first from None

    def _repair_parts(
        self,
        segments: tuple[Segment, ...],
        blob: Descriptor,
        open_at: BlobOpener,
        subject: object,
        advance: Advance | None,
    ) -> bool:
        """Write the parts of a blob that differ from an earlier table; return whether it is then correct.
        The table is not signed: it only saves writing, and the whole blob is read again at the end.
        """
        if len(segments) < 2 or not all(part.sha256 for part in segments):
            return False
        wrong = [(start, part) for start, part in _starts(segments) if not _holds(part)]
        if not wrong or len(wrong) == len(segments):
            return False
        if advance is not None:
            advance(blob.size - sum(part.size for _, part in wrong))
        try:
            for start, part in wrong:
                wanted = Descriptor("", Digest("sha256", str(part.sha256)), part.size)
                open_part = partial(_beginning, open_at, start, part.size)
                self._remove(part.path)
                _Writer((part,), wanted, subject, advance, self._turns).write(open_part, 0)
                self._name(part)
        except UnavailableError:
            raise
        except IntegrityError:
            # the table or the source is wrong: check the source before correct parts are lost
            self._remove(*(part.part for part in segments))
            with contextlib.closing(CheckedReader(open_at(0), blob.digest, blob.size, subject)) as reader:
                copy(reader, lambda _: None)
            return False
        except EndpointError:
            self._remove(*(part.part for part in segments))
            return False
        if not self.check(blob.digest, blob.size):
            return False
        self.written += 1
        return True

    def add(self, stream: ByteStream, digest: Digest, size: int) -> None:
        """`BlobSink.add`: writes in one pass, without resuming; `stream` is always checked."""
        if digest in self.sums:
            copy(CheckedReader(stream, digest, size), lambda _: None)
            return
        blob = Descriptor("", digest, size)
        writer = _Writer(self.segments(digest, size), blob, None, None, self._turns)
        self._finish(writer, lambda _: stream, 0)

    def add_unnamed(self, stream: ByteStream) -> tuple[Digest, int]:
        """`BlobSink.add_unnamed`: the name follows from the content."""
        part = self.folder / "blobs" / "sha256" / f"unnamed-{next(self._numbers)}.part"
        sha256 = hashlib.sha256()
        with closing_file(create(part, 0), part) as fd:

            def take(data: memoryview) -> None:
                sha256.update(data)
                with media_errors("cannot write", part):
                    write_all(fd, data)

            size = copy(stream, take)
            with media_errors("cannot write", part):
                os.fsync(fd)
        digest = Digest("sha256", sha256.hexdigest())
        with media_errors("cannot write", part):
            part.replace(self.path(digest))
            sync_folder(part.parent)
        self._keep(size, Sums(digest, self.segments(digest, size)))
        self.written += 1
        return digest, size

    def read(self, digest: Digest, limit: int) -> bytes:
        """`BlobSink.read`: returns a small blob that is in `sums`."""
        _, size = self.sums[digest]
        if size > limit:
            raise SizeMismatchError(
                "too large", subject=digest, want=f"at most {limit:,} bytes", got=f"{size:,}"
            )
        out = bytearray()
        stream = self._open(self.segments(digest, size))
        with contextlib.closing(CheckedReader(stream, digest, size)) as reader:
            copy(reader, out.extend)
        return bytes(out)

    def prune(self, wanted: AbstractSet[Digest]) -> None:
        """Remove every blob that is not in `wanted`, such as those of earlier runs and of other platforms."""
        for digest in set(self.sums) - wanted:
            del self.sums[digest]
        kept = {segment.path for digest in wanted for segment in self.segments(digest, 0)}
        for folder in (self.folder, *self.others):
            kept |= {folder / digest.path for digest in wanted if digest not in self.cut}
            for path in (folder / "blobs").glob("*/*"):
                if path not in kept:
                    self._remove(path)

    def _remove(self, *paths: Path) -> None:
        for path in paths:
            with media_errors("cannot remove", path):
                path.unlink(missing_ok=True)

    def _open(self, segments: tuple[Segment, ...]) -> ByteStream:
        """Open all of a blob. Raises `MissingContentError`, including for a part of the wrong size."""
        if len(segments) == 1:
            return _open_file(segments[0].path)
        for segment in segments:
            if size_of(segment.path) != segment.size:
                raise MissingContentError("missing part", subject=segment.path)
        return Joined([partial(_open_file, segment.path) for segment in segments])

    def _finish(self, writer: "_Writer", open_at: BlobOpener, done: int) -> None:
        start = 0
        for segment in writer.segments:
            start += segment.size
            if start > done:  # a full medium has no space for both the wrong file and the right one
                self._remove(segment.path)
        sums = writer.write(open_at, done)
        self._name(*writer.segments)
        self._keep(writer.blob.size, sums)
        self.written += 1

    def _name(self, *segments: Segment) -> None:
        """Give complete files their names, durably."""
        for segment in segments:
            with media_errors("cannot write", segment.path):
                if exists(segment.part):  # a crash may have happened between two of them
                    segment.part.replace(segment.path)
        for folder in {segment.path.parent for segment in segments}:
            with media_errors("cannot write", folder):
                sync_folder(folder)

    def _keep(self, size: int, sums: "Sums") -> None:
        with self._lock:
            self.sums[sums.digest] = (sums.sha256, size)
            self.part_sums |= sums.parts


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes one blob into its `.part` files. Unless it raises, they are then complete and durable."""

    segments: tuple[Segment, ...]
    blob: Descriptor
    subject: object
    advance: Advance | None
    turns: WriteTurns

    def write(self, open_at: BlobOpener, done: int) -> Sums:
        """Keep `done` bytes, write the rest, and check the whole blob."""
        hasher, sums = self.blob.digest.hasher(), Sums(self.blob.digest, self.segments)
        with contextlib.closing(Output(self.segments, done, self.turns)) as output:
            if done:
                self._reread(output, done, hasher, sums)
            stream = open_at(done) if done < self.blob.size else io.BytesIO()

            def take(data: memoryview) -> None:
                sums.update(data)
                output.write(data)

            reader = CheckedReader(
                stream, self.blob.digest, self.blob.size, self.subject, prior=hasher, done=done
            )
            with contextlib.closing(reader):
                copy(reader, take, self.advance)
            output.sync()
        return sums

    def _reread(self, output: "Output", done: int, hasher: Hasher, sums: Sums) -> None:
        """Hash the `done` existing bytes; the output is then at their end."""
        buffer = memoryview(bytearray(CHUNK))
        left = done
        while left:
            count = output.read(buffer[: min(left, CHUNK)])
            hasher.update(buffer[:count])
            sums.update(buffer[:count])
            left -= count
        if self.advance is not None:
            self.advance(done)


def _starts(segments: tuple[Segment, ...]) -> list[tuple[int, Segment]]:
    """Return the parts of a blob, each with the offset of its first byte in the blob."""
    ends = itertools.accumulate(segment.size for segment in segments)
    return [(end - segment.size, segment) for end, segment in zip(ends, segments, strict=True)]


def _beginning(open_at: BlobOpener, start: int, size: int, _: int) -> ByteStream:
    """Open the bytes of a part, from the whole blob."""
    return Beginning(open_at(start), size)


def _holds(part: Segment) -> bool:
    """Return whether a part is present with the SHA-256 of an earlier table."""
    if part.sha256 is None or size_of(part.path) != part.size:
        return False
    try:
        digest = Digest("sha256", part.sha256)
        with contextlib.closing(CheckedReader(_open_file(part.path), digest, part.size)) as reader:
            copy(reader, lambda _: None)
    except IntegrityError:
        return False
    return True


def _open_file(path: Path) -> FileStream:
    with media_errors("cannot read", path):
        try:
            return FileStream(os.open(path, _READ), str(path))
        except FileNotFoundError as error:
            raise MissingContentError("missing blob", subject=path) from error


def fill(
    store: Store,
    blobs: Iterable[Descriptor],
    fetch: Callable[[Descriptor, Advance], object],
    *,
    title: str,
    jobs: int,
    phase: Phase,
    before_change: Callable[[], object],
) -> list[tuple[Descriptor, AirgapError]]:
    """Write missing and wrong blobs into the store with `fetch`, the largest first; return those that failed.

    `before_change` is called before the first byte, if any blob must be written. A `MediaError` is raised,
    because it affects all blobs.
    """
    ordered = sorted(blobs, key=lambda blob: -blob.size)
    present = [blob for blob in ordered if blob.digest not in store.sums and store.present(blob.digest)]
    if present:
        with phase("checking existing blobs", _bytes(present)) as advance:
            run_each(lambda blob: store.check(blob.digest, blob.size, advance), present, jobs)
    missing = [blob for blob in ordered if blob.digest not in store.sums]
    if not missing:
        return []
    before_change()
    with phase(title, _bytes(missing)) as advance:
        errors = run_all(lambda blob: fetch(blob, advance), missing, jobs)
    for error in errors:
        if isinstance(error, MediaError):
            raise error
    return [(blob, error) for blob, error in zip(missing, errors, strict=True) if error is not None]


def _bytes(blobs: Sequence[Descriptor]) -> int:
    return sum(blob.size for blob in blobs)
