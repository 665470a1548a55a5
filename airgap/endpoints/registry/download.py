"""A blob on its way to us, over as many connections as it takes."""

import io
from collections.abc import Callable

from airgap.endpoints.registry.errors import TemporaryError
from airgap.endpoints.registry.session import Patience
from airgap.errors import EndpointError, UnavailableError
from airgap.oci.digest import ByteStream

_PROGRESS = 64 << 10
"""So many bytes since the last failure are progress; a link that brings fewer each time is hopeless."""


class ResumingDownload(io.RawIOBase):
    """A blob's bytes from `offset` on as a `ByteStream`. When the connection breaks, `open_at` gives
    the next one, which starts where this one ended.

    Raises `TemporaryError` when `patience` is at its end, and what else `open_at` raises; it is
    closed then. Nothing is checked: where HTTP says that the content ends, it ends.
    """

    def __init__(
        self,
        first: ByteStream,
        open_at: Callable[[int], ByteStream],
        offset: int,
        size: int,
        patience: Patience,
    ) -> None:
        super().__init__()
        self._body: ByteStream | None = first
        self._open_at = open_at
        self._position = self._failed_at = offset
        self._size = size
        self._patience = patience

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        if self.closed:
            raise UnavailableError("the download is closed")
        try:
            got = self._read(memoryview(buffer))
        except EndpointError:
            self.close()
            raise
        self._position += got
        return got

    def _read(self, view: memoryview) -> int:
        while True:
            try:
                if self._body is None:
                    self._body = self._open_at(self._position)
                return self._body.readinto(view) or 0
            except TemporaryError as error:
                if self._position >= self._size:
                    return 0  # the blob is whole: it is only the end of the message that is missing
                self._drop()
                if self._position - self._failed_at >= _PROGRESS:
                    self._patience.progressed()
                self._failed_at = self._position
                self._patience.pause(error)

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
        self._body = None

    def close(self) -> None:
        """Idempotent. Cuts the connection when the blob was not read to its end."""
        self._drop()
        super().close()
