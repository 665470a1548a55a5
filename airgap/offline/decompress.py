"""Decompress layers for engines: zstd for engines that cannot, gzip for engines that are slow at it.

A layer's digest is checked before it is decompressed, and again during that.
"""

import io
from collections.abc import Callable
from contextlib import closing

from airgap.bundle.compression import Unpacked
from airgap.bundle.files import SeekableStream
from airgap.errors import FormatError, IncompleteError
from airgap.oci.digest import ByteStream, CheckedReader, Digest, copy
from airgap.oci.documents import Descriptor
from airgap.values import dataclass

_LEAST_RATIO = 0.9
"""The smallest credible ratio of plain to compressed size: gzip keeps only 32 bits of the plain size."""


def form_of(layer: Descriptor) -> str:
    """Return `zstd`, `gzip`, or an empty string for a plain layer, from the media type."""
    for form in ("zstd", "gzip"):
        if layer.media_type.endswith(form):
            return form
    return ""


class SizeClaimError(FormatError):
    """A gzip layer does not have the size that its last bytes claim."""

    def __init__(self, layer: Digest, want: int, got: str) -> None:
        super().__init__(
            "the gzip trailer claims a wrong size", subject=layer, want=f"{want:,} bytes", got=got
        )
        self.layer = layer


@dataclass(frozen=True, slots=True)
class UnpackedLayer:
    """A layer as a plain tar, with the digest `diff_id`."""

    diff_id: Digest
    size: int
    """The size of the tar in bytes."""
    open: Callable[[], ByteStream]
    """Opens the tar; reading raises before the last byte if there are not exactly `size` bytes."""


def measure_zstd(diff_id: Digest, open_packed: Callable[[], ByteStream]) -> UnpackedLayer:
    """Decompress the layer once, to check it and to find its size, which a tar header needs. The compressed
    bytes are checked before that, so that the decoder reads only signed content.
    """
    with closing(open_packed()) as packed:
        copy(packed, lambda _: None)
    hasher = diff_id.hasher()
    with closing(Unpacked(open_packed(), "zstd", diff_id)) as stream:
        size = copy(stream, hasher.update)
    actual = Digest(diff_id.algorithm, hasher.hexdigest())
    if actual != diff_id:
        raise FormatError(
            "the layer does not have the digest in the config", want=f"diff_id {diff_id}", got=actual
        )

    def open_plain() -> ByteStream:
        return CheckedReader(Unpacked(open_packed(), "zstd", diff_id), diff_id, size)

    return UnpackedLayer(diff_id, size, open_plain)


def claim_gzip(
    diff_id: Digest, layer: Descriptor, open_packed: Callable[[], ByteStream], raw: SeekableStream
) -> UnpackedLayer | None:
    """Return the plain layer with the size that the gzip trailer claims; None if that is not credible.

    Only the size is checked while the layer is read, because engines check the diff_id themselves.
    """
    with closing(raw):
        raw.seek(max(layer.size - 4, 0))
        tail = memoryview(bytearray(4))
        if (raw.readinto(tail) or 0) < 4:
            raise IncompleteError("truncated layer", subject=layer.digest)
    size = int.from_bytes(tail, "little")
    if size < layer.size * _LEAST_RATIO:
        return None
    with closing(open_packed()) as stream:
        copy(stream, lambda _: None)

    def open_plain() -> ByteStream:
        return _Sized(Unpacked(open_packed(), "gzip", diff_id), layer.digest, size)

    return UnpackedLayer(diff_id, size, open_plain)


class _Sized(io.RawIOBase):
    """Exactly `size` bytes of a stream, or an error before the last of them."""

    def __init__(self, stream: Unpacked, layer: Digest, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._layer = layer
        self._size = self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if not self._left:
            return 0
        got = self._stream.readinto(buffer)
        self._left -= got
        if not got:
            raise SizeClaimError(self._layer, self._size, f"{self._size - self._left:,} bytes")
        if self._left < 0 or (not self._left and self._stream.readinto(memoryview(bytearray(1)))):
            raise SizeClaimError(self._layer, self._size, "more")
        return got

    def close(self) -> None:
        self._stream.close()
        super().close()
