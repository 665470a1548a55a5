"""Layers between their plain and their gzip form, while they stream past.

A graph-driver engine hands out plain layers. Their gzip form depends on the version of zlib, so the
same layer may come out with another digest on another machine; what is inside (the diff ID) cannot.
"""

import hashlib
import io
import zlib

from airgap.errors import FormatError
from airgap.oci.digest import CHUNK, ByteStream, Digest

LEVEL = 1
"""Three times as fast as the customary 6, for layers about a tenth larger."""

_GZIP = 16 + zlib.MAX_WBITS
_MAX_CONTENT = 1 << 40


class GzipReader(io.RawIOBase):
    """The gzip form of `plain`, with no name and no time inside."""

    def __init__(self, plain: ByteStream) -> None:
        super().__init__()
        self._plain = plain
        self._sha256 = hashlib.sha256()
        self._gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
        self._buffer = memoryview(bytearray(CHUNK))
        self._ready = memoryview(b"")
        self._ended = False

    @property
    def diff_id(self) -> Digest:
        """The digest of what was read from `plain` so far."""
        return Digest("sha256", self._sha256.hexdigest())

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        while not self._ready and not self._ended:
            self._fill()
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _fill(self) -> None:
        got = self._plain.readinto(self._buffer) or 0
        self._sha256.update(self._buffer[:got])
        self._ended = not got
        self._ready = memoryview(self._gzip.compress(self._buffer[:got]) if got else self._gzip.flush())


class GunzipWitness(io.RawIOBase):
    """Passes a gzip'd layer on as it is, and hashes what is inside.

    Raises `FormatError` while reading for anything that is no gzip, and in `diff_id` when it was
    not all there.
    """

    def __init__(self, packed: ByteStream, subject: str) -> None:
        super().__init__()
        self._packed = packed
        self._subject = subject
        self._sha256 = hashlib.sha256()
        self._inflate = zlib.decompressobj(_GZIP)
        self._size = 0

    @property
    def diff_id(self) -> Digest:
        """The digest of the plain layer, once all was read."""
        if not self._inflate.eof:
            raise FormatError("truncated gzip", subject=self._subject)
        return Digest("sha256", self._sha256.hexdigest())

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        got = self._packed.readinto(view) or 0
        try:
            self._look_into(bytes(view[:got]))
        except zlib.error as error:
            raise FormatError("not gzip", subject=self._subject, got=error) from error
        return got

    def _look_into(self, data: bytes) -> None:
        while data:
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(_GZIP)
            plain = self._inflate.decompress(data, CHUNK)
            self._sha256.update(plain)
            self._size += len(plain)
            if self._size > _MAX_CONTENT:
                raise FormatError(
                    "layer too large", subject=self._subject, want=f"at most {_MAX_CONTENT:,} bytes"
                )
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
