"""Layers between their plain and their gzip form, while they stream past.

A graph-driver engine exports plain layers. Their gzip form depends on the compressor's version, so the same
layer may get another digest elsewhere; the digest of its content (the diff ID) does not change.
"""

import hashlib
import io

from airgap.bundle.compression import GzipReader, Inflating
from airgap.errors import FormatError
from airgap.limits import MAX_BLOB_BYTES
from airgap.oci.digest import ByteStream, Digest


class Repacked(GzipReader):
    """The gzip form of `plain`, with no name and no time inside."""

    def __init__(self, plain: ByteStream) -> None:
        self._sha256 = hashlib.sha256()
        super().__init__(plain, self._sha256.update)

    @property
    def diff_id(self) -> Digest:
        """Return the digest of what was read from `plain` so far."""
        return Digest("sha256", self._sha256.hexdigest())


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
        """Return the digest of the plain layer after all of it was read."""
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
            raise FormatError("layer too large", want=f"at most {MAX_BLOB_BYTES:,} bytes")
