"""Digests, and the reader that checks them (OCI image-spec, descriptor.md#digests)."""

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

from airgap.errors import DigestMismatchError, FormatError, SizeMismatchError

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_GRAMMAR = re.compile(r"(sha256|sha512):([0-9a-f]+)", re.ASCII)

CHUNK = 1 << 20
"""Bytes moved at a time wherever content is streamed."""

_SMALL = 1 << 14
"""The first bytes that are moved: clearing a whole chunk takes longer than reading a small blob."""

Advance = Callable[[int], None]
"""Called with the number of bytes just processed; may be called from several threads."""


class Hasher(Protocol):
    """A hash object of `hashlib`."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


class ByteStream(Protocol):
    """A readable stream of bytes: `readinto` returns 0 only at the end."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """`sha256:` or `sha512:` and lower-case hex; other algorithms are not supported."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str, where: str = "digest") -> Self:
        """Raise `FormatError` unless `text` is exactly one supported digest."""
        match = _GRAMMAR.fullmatch(text) if isinstance(text, str) else None
        if match is None or len(match[2]) != _HEX_LENGTH[match[1]]:
            raise FormatError(
                "not a digest", subject=where, want="sha256:<64 lower-case hex digits>", got=repr(text)
            )
        return cls(match[1], match[2])

    @classmethod
    def of(cls, raw: bytes, algorithm: str = "sha256") -> Self:
        """Return the digest of `raw`."""
        return cls(algorithm, hashlib.new(algorithm, raw).hexdigest())

    @property
    def path(self) -> str:
        """The path of the content in an OCI image layout: `blobs/<algorithm>/<hex>`."""
        return f"blobs/{self.algorithm}/{self.hex}"

    def hasher(self) -> Hasher:
        """Return a new hash object of this algorithm."""
        return hashlib.new(self.algorithm)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


class CheckedReader(io.RawIOBase):
    """Reads `stream`, and raises before it returns the last byte unless size and digest are correct.

    `prior` is a hash over the `done` bytes that were already read (of a resumed download). A reader that is
    not read to its end has not checked anything.
    """

    def __init__(
        self,
        stream: ByteStream,
        digest: Digest,
        size: int,
        subject: object = None,
        *,
        prior: Hasher | None = None,
        done: int = 0,
    ) -> None:
        super().__init__()
        self._stream = stream
        self._digest = digest
        self._size = size
        self._subject = subject if subject is not None else digest
        self._hasher = prior if prior is not None else digest.hasher()
        self._done = done
        self._checked = False
        if done == size:
            self._check()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        if self._checked:
            return 0
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        count = self._stream.readinto(view) or 0
        self._done += count
        if count == 0 or self._done > self._size:
            found = f"{self._done:,} bytes" if count == 0 else "more"
            raise SizeMismatchError(
                "wrong size", subject=self._subject, want=f"{self._size:,} bytes", got=found
            )
        self._hasher.update(view[:count])
        if self._done == self._size:
            self._check()
        return count

    def _check(self) -> None:
        actual = self._hasher.hexdigest()
        if actual != self._digest.hex:
            raise DigestMismatchError(
                "wrong digest",
                subject=self._subject,
                want=self._digest,
                got=f"{self._digest.algorithm}:{actual}",
            )
        if self._stream.readinto(memoryview(bytearray(1))):
            raise SizeMismatchError(
                "wrong size", subject=self._subject, want=f"{self._size:,} bytes", got="more"
            )
        self._checked = True

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def copy(stream: ByteStream, write: Callable[[memoryview], object], advance: Advance | None = None) -> int:
    """Move all of `stream` through one buffer into `write`; return the number of bytes."""
    buffer = memoryview(bytearray(_SMALL))
    total = 0
    while count := stream.readinto(buffer):
        write(buffer[:count])
        total += count
        if advance is not None:
            advance(count)
        if count == len(buffer) == _SMALL:
            buffer = memoryview(bytearray(CHUNK))
    return total


def fill(stream: ByteStream, view: memoryview) -> int:
    """Read until `view` is full or the stream has ended; return the number of bytes."""
    done = 0
    while done < len(view) and (got := stream.readinto(view[done:])):
        done += got
    return done


def read_up_to(stream: ByteStream, size: int) -> bytes:
    """Read `size` bytes, or fewer at the end of the stream."""
    buffer = memoryview(bytearray(size))
    return bytes(buffer[: fill(stream, buffer)])
