"""Layers in zstd, unpacked on their way into engines that cannot (the only importer of zstandard)."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, cast

import zstandard

from airgap.errors import FormatError
from airgap.oci.digest import CHUNK, ByteStream, CheckedReader, Digest, copy
from airgap.oci.documents import MAX_SIZE, Descriptor

MAX_WINDOW = 128 << 20
"""Bytes of memory that a frame may ask for; zstd's own tools stop there too."""


def is_zstd(layer: Descriptor) -> bool:
    """Whether a layer's media type says zstd."""
    return layer.media_type.endswith("zstd")


@dataclass(frozen=True, slots=True)
class UnpackedLayer:
    """A zstd layer as the plain tar that its diff_id names."""

    diff_id: Digest
    size: int
    """Bytes of the tar."""
    open_packed: Callable[[], ByteStream]

    @classmethod
    def measure(cls, diff_id: Digest, open_packed: Callable[[], ByteStream]) -> "UnpackedLayer":
        """Unpack once, to check it and to learn the size, which a tar wants to know beforehand."""
        hasher = diff_id.hasher()
        with contextlib.closing(_Unpacking(open_packed(), diff_id)) as stream:
            size = copy(stream, hasher.update)
        found = Digest(diff_id.algorithm, hasher.hexdigest())
        if found != diff_id:
            raise FormatError("the layer is not what the config says", want=f"diff_id {diff_id}", got=found)
        return cls(diff_id, size, open_packed)

    def open(self) -> CheckedReader:
        """The tar's bytes, checked once more."""
        return CheckedReader(_Unpacking(self.open_packed(), self.diff_id), self.diff_id, self.size)


class _Unpacking(io.RawIOBase):
    """The unpacked content of a stream of zstd frames."""

    def __init__(self, packed: ByteStream, subject: object) -> None:
        super().__init__()
        self._packed = packed
        self._subject = subject
        self._left = MAX_SIZE
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        source = cast("IO[bytes]", _Readable(packed))
        self._reader = decompressor.stream_reader(source, read_size=CHUNK, read_across_frames=True)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        try:
            got = self._reader.readinto(buffer)
        except zstandard.ZstdError as error:
            raise FormatError("not a zstd layer", subject=self._subject, got=error) from error
        self._left -= got
        if self._left < 0:
            raise FormatError(
                "the layer unpacks without end", subject=self._subject, want=f"{MAX_SIZE:,} bytes"
            )
        return int(got)

    def close(self) -> None:
        self._packed.close()
        super().close()


class _Readable:
    """A `ByteStream` with the `read` that zstandard asks for."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = memoryview(bytearray(CHUNK))

    def read(self, size: int) -> bytes:
        got = self._stream.readinto(self._buffer[: min(size, CHUNK)]) or 0
        return bytes(self._buffer[:got])
