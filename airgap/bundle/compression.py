"""Compresses and decompresses layers as streams. No other module imports isal and zstandard.

ISA-L handles gzip: it is several times faster than zlib, and its wheels contain the library, so the same
version gives the same bytes everywhere.
"""

import hashlib
import io
import os
import struct
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, cast

import zstandard
from isal import isal_zlib

from airgap.errors import FormatError, IntegrityError
from airgap.limits import MAX_BLOB_BYTES, MAX_ZSTD_WINDOW_BYTES
from airgap.oci.digest import CHUNK, ByteStream, Digest, fill

_IsalError: type[Exception] = cast("type[Exception]", isal_zlib.error)
_GZIP = 16 + isal_zlib.MAX_WBITS
_RAW = -isal_zlib.MAX_WBITS
_LEVEL = 1
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Deflate, no flags, no name, no time, unknown system (RFC 1952)."""


class Unpacked(io.RawIOBase):
    """The plain content of a compressed stream; `gzip` may have several members, `zstd` several frames.

    Raises `FormatError` for malformed data, for truncated gzip, and for content over 1 TiB. Truncated zstd
    just ends early: it then has another digest, which is not checked here.
    """

    def __init__(self, packed: ByteStream, form: str, subject: object) -> None:
        super().__init__()
        self._packed = packed
        self._form = form
        self._subject = subject
        self._left = MAX_BLOB_BYTES
        self._read: Callable[[memoryview], int]
        if form == "zstd":
            decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_BYTES)
            source = cast("IO[bytes]", _Readable(packed))
            self._read = decompressor.stream_reader(source, read_size=CHUNK, read_across_frames=True).readinto
        else:
            self._read = _Gunzip(packed).readinto

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        try:
            count = int(self._read(view))
        except (zstandard.ZstdError, _IsalError, EOFError) as error:
            raise FormatError(f"not a {self._form} layer", subject=self._subject, got=error) from error
        self._left -= count
        if self._left < 0:
            want = f"at most {MAX_BLOB_BYTES:,} bytes"
            raise FormatError("the layer is too large when decompressed", subject=self._subject, want=want)
        return count

    def close(self) -> None:
        self._packed.close()
        super().close()


class _Gunzip:
    """Reads through all members of a gzip stream."""

    def __init__(self, packed: ByteStream) -> None:
        self._packed = packed
        self._buffer = memoryview(bytearray(CHUNK))
        self._input = b""
        self._member: Any = isal_zlib.decompressobj(_GZIP)

    def readinto(self, view: memoryview) -> int:
        while True:
            ended = not self._input and not self._refill()
            if self._member.eof:
                if ended:
                    return 0
                self._member = isal_zlib.decompressobj(_GZIP)
            plain = self._member.decompress(
                self._input, len(view)
            )  # without input, it returns what it held back
            self._input = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if plain:
                view[: len(plain)] = plain
                return len(plain)
            if ended and not self._member.eof:
                raise EOFError("truncated gzip")

    def _refill(self) -> int:
        count = self._packed.readinto(self._buffer) or 0
        self._input = bytes(self._buffer[:count])
        return count


class _Readable:
    """A `ByteStream` with the `read` method that zstandard needs."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = memoryview(bytearray(CHUNK))

    def read(self, size: int) -> bytes:
        count = self._stream.readinto(self._buffer[: min(size, CHUNK)]) or 0
        return bytes(self._buffer[:count])


class GzipReader(io.RawIOBase):
    """The gzip form of `plain`, compressed on all cores in independent blocks of 1 MiB, as pigz does.

    The result does not depend on the number of cores, and contains neither a name nor a time. It depends on
    the compressor's version, so the same layer may get another digest elsewhere; its diff ID stays the same.
    """

    def __init__(self, plain: ByteStream) -> None:
        super().__init__()
        self._plain = plain
        self._sha256 = hashlib.sha256()
        self._cores = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._cores)
        self._blocks: deque[Future[bytes]] = deque()
        self._ready = memoryview(_HEADER)
        self._crc = 0
        self._size = 0
        self._ended = False
        self._finished = False

    @property
    def diff_id(self) -> Digest:
        """The digest of what has been read from `plain` so far."""
        return Digest("sha256", self._sha256.hexdigest())

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        while not self._ready and not self._finished:
            self._next()
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _next(self) -> None:
        while not self._ended and len(self._blocks) <= self._cores:
            self._submit()
        if self._blocks:
            self._ready = memoryview(self._blocks.popleft().result())
        else:
            end = b"\x03\x00" + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)
            self._ready, self._finished = memoryview(end), True

    def _submit(self) -> None:
        view = memoryview(bytearray(CHUNK))
        filled = fill(self._plain, view)
        self._ended = filled < CHUNK
        if filled:
            data = view[:filled]
            self._sha256.update(data)
            self._crc = isal_zlib.crc32(data, self._crc)
            self._size += filled
            self._blocks.append(self._pool.submit(_deflate, data))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        super().close()


def _deflate(data: memoryview) -> bytes:
    """Compress one block so that it ends on a byte boundary and does not refer to earlier blocks.

    It is decompressed again, because nothing else compares the two: the digest is that of the compressed
    bytes, and the diff ID that of the plain ones. A difference would be found only where the layer is loaded.
    """
    packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW)
    packed = bytes(packer.compress(data)) + bytes(packer.flush(isal_zlib.Z_FULL_FLUSH))
    unpacker = isal_zlib.decompressobj(_RAW)
    try:
        is_right = unpacker.decompress(packed) == data and not unpacker.eof
    except _IsalError:
        is_right = False
    if not is_right:
        raise IntegrityError(
            "a layer was compressed wrongly", got="other bytes when decompressed",
            hint="run the command again; if this happens again, test the memory of this machine",
        )  # fmt: skip
    return packed


class Inflating:
    """Decompresses the gzip stream that `update` receives, and passes the plain bytes to `witness`."""

    def __init__(self, witness: Callable[[bytes], object]) -> None:
        self._witness = witness
        self._member: Any = isal_zlib.decompressobj(_GZIP)

    @property
    def whole(self) -> bool:
        """Whether the bytes so far end with a complete member."""
        return bool(self._member.eof)

    def update(self, data: bytes) -> None:
        """Add the next bytes. Raises `FormatError` if they are not gzip."""
        try:
            while data:
                if self._member.eof:
                    self._member = isal_zlib.decompressobj(_GZIP)
                self._witness(self._member.decompress(data, CHUNK))
                data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            while not self._member.eof and (held := self._member.decompress(b"", CHUNK)):
                self._witness(held)
        except _IsalError as error:
            raise FormatError("not gzip", got=error) from error


class GunzipWitness(io.RawIOBase):
    """Passes a gzip layer on unchanged, and hashes its plain content.

    Raises `FormatError` while reading data that is not gzip, and in `diff_id` if the data was truncated.
    """

    def __init__(self, packed: ByteStream, subject: str) -> None:
        super().__init__()
        self._packed = packed
        self._subject = subject
        self._sha256 = hashlib.sha256()
        self._inside = Inflating(self._take)
        self._size = 0

    @property
    def diff_id(self) -> Digest:
        """The digest of the plain layer, once all of it was read."""
        if not self._inside.whole:
            raise FormatError("truncated gzip", subject=self._subject)
        return Digest("sha256", self._sha256.hexdigest())

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        got = self._packed.readinto(view) or 0
        try:
            self._inside.update(bytes(view[:got]))
        except FormatError as error:
            raise FormatError(error.what, subject=self._subject, want=error.want, got=error.got) from error
        return got

    def _take(self, plain: bytes) -> None:
        self._sha256.update(plain)
        self._size += len(plain)
        if self._size > MAX_BLOB_BYTES:
            raise FormatError("the layer is too large", want=f"at most {MAX_BLOB_BYTES:,} bytes")
