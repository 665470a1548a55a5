"""A download that resumes after its connection broke."""

import io
from abc import abstractmethod
from collections.abc import Callable

from airgap.endpoints.registry.errors import TemporaryError
from airgap.endpoints.registry.session import RetryBudget
from airgap.errors import EndpointError, UnavailableError
from airgap.oci.digest import ByteStream

_PROGRESS_BYTES = 64 << 10
"""Bytes since the last failure that count as progress; a link that brings fewer each time is given up."""


class Download(io.RawIOBase):
    """A stream that counts what `_read` returns, and that an error of the endpoint closes."""

    _position: int
    """The position in the blob, in bytes."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        if self.closed:
            raise UnavailableError("the download is closed")
        try:
            count = self._read(memoryview(buffer))
        except EndpointError:
            self.close()
            raise
        self._position += count
        return count

    @abstractmethod
    def _read(self, view: memoryview) -> int:
        """Fill the beginning of `view`, and return the number of bytes; 0 at the end."""


class BlobDownload(Download):
    """A blob's bytes from `offset` up to `size` as a `ByteStream`, over one connection after the other. When
    one breaks, `open_at` gives the next one, which starts where this one ended; also the first one, if
    `first` is None.

    Raises `TemporaryError` if the `budget` of retries is used up, and whatever else `open_at` raises; it is
    closed then. The content is not checked: it ends where HTTP says it ends.
    """

    def __init__(
        self,
        first: ByteStream | None,
        open_at: Callable[[int], ByteStream],
        *,
        offset: int,
        size: int,
        budget: RetryBudget,
    ) -> None:
        super().__init__()
        self._body = first
        self._open_at = open_at
        self._position = self._failed_at = offset
        self._size = size
        self._budget = budget

    def _read(self, view: memoryview) -> int:
        while True:
            try:
                if self._body is None:
                    self._body = self._open_at(self._position)
                return self._body.readinto(view) or 0
            except TemporaryError as error:
                if self._position >= self._size:
                    return 0  # the blob is complete: only the end of the message is missing
                self._drop()
                if self._position - self._failed_at >= _PROGRESS_BYTES:
                    self._budget.progressed()
                self._failed_at = self._position
                self._budget.pause(error)

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
        self._body = None

    def close(self) -> None:
        """Close the stream, and cut the connection if the blob was not read to its end; idempotent."""
        self._drop()
        super().close()
