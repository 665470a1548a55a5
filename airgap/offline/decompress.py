"""Layers unpacked on their way into engines: zstd for those that cannot, gzip for those that are slow.

The layer's digest is checked before it is unpacked, and again while it is.
"""

import io
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from airgap.bundle.compression import Unpacked
from airgap.bundle.files import SeekableStream
from airgap.errors import FormatError, IncompleteError
from airgap.oci.digest import ByteStream, CheckedReader, Digest, copy
from airgap.oci.documents import Descriptor

_LEAST_RATIO = 0.9
"""A plain size under this share of the packed one is no size: gzip keeps only 32 bits of it."""


def form_of(layer: Descriptor) -> str:
    """`zstd`, `gzip`, or empty for a plain layer, as the media type says."""
    for form in ("zstd", "gzip"):
        if layer.media_type.endswith(form):
            return form
    return ""


class SizeClaimError(FormatError):
    """A gzip'd layer is not of the size that its last bytes claim."""

    def __init__(self, layer: Digest, want: int, got: str) -> None:
        super().__init__("gzip trailer claims another size", subject=layer, want=f"{want:,} bytes", got=got)
        self.layer = layer


@dataclass(frozen=True, slots=True)
class UnpackedLayer:
    """A layer as the plain tar that its diff_id names."""

    diff_id: Digest
    size: int
    """Bytes of the tar."""
    open: Callable[[], ByteStream]
    """The tar's bytes; raises before the last one when they are not as many as `size`."""


def measure_zstd(diff_id: Digest, open_packed: Callable[[], ByteStream]) -> UnpackedLayer:
    """Unpack once, to check it and to learn the size, which a tar wants to know beforehand. Before that the
    packed bytes are checked: nothing is given to a decoder that nobody signed.
    """
    with closing(open_packed()) as packed:
        copy(packed, lambda _: None)
    hasher = diff_id.hasher()
    with closing(Unpacked(open_packed(), "zstd", diff_id)) as stream:
        size = copy(stream, hasher.update)
    found = Digest(diff_id.algorithm, hasher.hexdigest())
    if found != diff_id:
        raise FormatError("the layer is not what the config says", want=f"diff_id {diff_id}", got=found)

    def open_plain() -> ByteStream:
        return CheckedReader(Unpacked(open_packed(), "zstd", diff_id), diff_id, size)

    return UnpackedLayer(diff_id, size, open_plain)


def claim_gzip(
    diff_id: Digest, layer: Descriptor, open_packed: Callable[[], ByteStream], raw: SeekableStream
) -> UnpackedLayer | None:
    """The plain layer, of the size that the end of the gzip stream claims; None when that cannot be it.

    Only the size is checked while it is read, as an engine checks the diff_id itself.
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
