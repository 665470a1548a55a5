"""Downloads of large blobs over several connections. One connection to a far registry is slow, however fast
the line is.

The pieces are received side by side into memory, and passed on strictly in order: there is one writer, and a
download that is interrupted resumes as any other does. To a registry that is near and fast, one connection is
enough, and costs less of both processors.
"""

import contextlib
import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from airgap.endpoints.registry.blob_download import BlobDownload, Download
from airgap.endpoints.registry.config import RegistryOptions
from airgap.endpoints.registry.errors import TemporaryError
from airgap.endpoints.registry.ranged_blob import RangedBlob, may_be_about_ranges
from airgap.errors import EndpointError, UnavailableError
from airgap.oci.digest import ByteStream

log = logging.getLogger(__name__)

_MIN_PIECES = 4
"""A blob of fewer pieces comes over one connection."""
_STRETCH_PIECES = 20
"""A connection that is fast is asked for so many pieces at a time, which is 60 MiB."""


class PieceConnections:
    """Divides the connections for pieces evenly between the large blobs of one registry; for several threads.

    A piece has a connection and a buffer from its request until its bytes are passed on. There are at most
    `total` of them, including the connections of blobs that are not in pieces, and for a moment one more for
    each blob that begins while all are used: no blob waits for another one.
    """

    def __init__(self, total: int, piece_size: int) -> None:
        self._piece_size = piece_size
        self._lock = threading.Lock()
        self._total = total
        self._downloads = 0
        self._used = 0
        self._free: list[memoryview] = []
        """Buffers to use again, as memory that is returned by many threads is not returned to the system."""

    def join(self, size: int) -> bool:
        """Return whether `size` bytes of a blob should come in pieces; then call `leave` at the end."""
        with self._lock:
            joined = size >= _MIN_PIECES * self._piece_size and 2 * (self._downloads + 1) <= self._total
            self._downloads += joined
            return joined

    def leave(self) -> None:
        """End the part of one blob."""
        with self._lock:
            self._downloads -= 1
            if not self._downloads:
                self._free.clear()

    def stop(self) -> None:
        """Let no other blob join: the registry does not support ranges, or not so many connections."""
        with self._lock:
            self._total = 0

    def take(self, own: int) -> memoryview | None:
        """Return a buffer for another piece of a blob with `own` connections; None if it has its share."""
        with self._lock:
            more = own < self._total // max(self._downloads, 1) and self._used < self._total
            if own and not more:
                return None
            self._used += 1
            return self._free.pop() if self._free else memoryview(bytearray(self._piece_size))

    def give_back(self, buffer: memoryview) -> None:
        """Return a buffer from `take`, to which nothing will be written any more."""
        with self._lock:
            self._used -= 1
            if self._downloads and len(self._free) + self._used < self._total:
                self._free.append(buffer)


class PieceDownload(Download):
    """A blob's bytes from `offset` on as a `ByteStream`, by ranges.

    It comes over one connection, a stretch after the other, as long as that one is fast: further connections
    would only cost the registry and this machine work. As soon as a stretch is slow, the rest comes in pieces
    over several connections. Each stretch and each piece resumes after temporary failures by itself. If the
    registry answers with anything else than the requested range, or keeps refusing it, the rest comes over
    one connection, without a range's end. Raises as `BlobDownload`. The content is not checked.
    """

    def __init__(
        self, first: ByteStream, blob: RangedBlob, connections: PieceConnections, offset: int, stop: int
    ) -> None:
        """`first` is the open first stretch, which ends before `stop`; `connections` was joined."""
        super().__init__()
        self._blob = blob
        self._connections = connections
        self._position = self._next = offset
        self._stretch: _Stretch | None = self._make_stretch(first, stop)
        self._slow = math.isinf(blob.options.fast_rate)
        self._pieces: deque[_Piece] = deque()
        self._rest: ByteStream | None = None
        self._dropped = False

    def _read(self, view: memoryview) -> int:
        if self._position == self._blob.size or not view:
            return 0
        if self._rest is None:
            try:
                return self._read_range(view)
            except EndpointError as error:
                self._rest = self._open_rest(error)
        return self._rest.readinto(view) or 0

    def _read_range(self, view: memoryview) -> int:
        if self._slow:
            self._begin_pieces()
        if self._stretch is None:
            return self._read_piece(view)
        count = self._stretch.readinto(view)
        if self._stretch.is_slow and not self._slow:
            log.info("%s: one connection is slow, so several are used", self._blob.subject)
            self._slow = True
        if not self._stretch.left:
            self._stretch.close()
            stop = min(self._next + _STRETCH_PIECES * self._blob.options.piece_size, self._blob.size)
            self._stretch = None if self._slow else self._make_stretch(None, stop)
        return count

    def _make_stretch(self, first: ByteStream | None, stop: int) -> "_Stretch":
        return _Stretch(self._make_range(first, stop), self._blob.options)

    def _make_range(self, first: ByteStream | None, stop: int) -> "_Range":
        """Return the bytes up to `stop` that follow what was requested before."""
        start, self._next = self._next, stop
        opener = partial(self._open_range, stop=stop)
        budget = self._blob.retry_budget()
        stream = BlobDownload(first, opener, offset=start, size=stop, budget=budget)
        return _Range(stream, stop - start, self._blob.subject)

    def _begin_pieces(self) -> None:
        while self._next < self._blob.size:
            buffer = self._connections.take(len(self._pieces) + (self._stretch is not None))
            if buffer is None:
                return
            size = min(len(buffer), self._blob.size - self._next)
            give_back = partial(self._connections.give_back, buffer)
            self._pieces.append(_Piece(self._make_range(None, self._next + size), buffer[:size], give_back))

    def _open_range(self, position: int, stop: int) -> ByteStream:
        if self._dropped:  # while its thread waited before it tried again
            raise UnavailableError("the piece is not needed any more", subject=self._blob.subject)
        return self._blob.open(position, stop)

    def _read_piece(self, view: memoryview) -> int:
        piece = self._pieces[0]
        count = piece.read(view)
        if piece.is_empty:
            self._pieces.popleft().abandon()
        return count

    def _open_rest(self, error: EndpointError) -> ByteStream:
        # a registry may refuse further connections, but time that was lost on silence is enough
        refused = isinstance(error, TemporaryError) and not error.timed_out
        if not refused and not may_be_about_ranges(error):
            raise error
        log.info("%s: the rest comes over one connection: %s", self._blob.subject, error)
        self._connections.stop()
        self._drop()
        return self._blob.open_rest(self._position)

    def _drop(self) -> None:
        self._dropped = True
        if self._stretch is not None:
            self._stretch.close()
        while self._pieces:
            self._pieces.popleft().abandon()

    def close(self) -> None:
        """Close the stream. Connections that are receiving are cut at their next bytes; idempotent."""
        if not self.closed:
            self._drop()
            self._connections.leave()
            if self._rest is not None:
                self._rest.close()
        super().close()


class _Range:
    """A range of a blob as a `ByteStream`. Raises `EndpointError` if fewer or more bytes arrive."""

    def __init__(self, stream: ByteStream, size: int, subject: str) -> None:
        self._stream = stream
        self._subject = subject
        self.left = size
        """The number of bytes that were not read yet."""

    def readinto(self, view: memoryview, /) -> int:
        count = self._stream.readinto(view[: self.left]) or 0
        if not count:
            raise self._wrong_size_error(f"{self.left:,} bytes missing")
        self.left -= count
        if not self.left and self._stream.readinto(memoryview(bytearray(1))):
            raise self._wrong_size_error("more bytes than were requested")
        return count

    def _wrong_size_error(self, got: str) -> EndpointError:
        return EndpointError("wrong range", subject=self._subject, got=got)

    def close(self) -> None:
        self._stream.close()


class _Stretch:
    """A range that is read directly. The time that its reader waits for bytes is measured, once for as many
    as a piece has: if the reader is busy with other work, further connections would not help it.
    """

    def __init__(self, bytes_of_range: _Range, options: RegistryOptions) -> None:
        self._range = bytes_of_range
        self._options = options
        self._begun = False
        self._waited = 0.0
        self._measured = 0
        self.is_slow = False

    @property
    def left(self) -> int:
        """The number of bytes that were not read yet."""
        return self._range.left

    def readinto(self, view: memoryview) -> int:
        """Read the next bytes."""
        start = self._options.clock()
        count = self._range.readinto(view)
        if self._begun:  # the first bytes have to wait for the answer to the request
            self._waited += self._options.clock() - start
            self._measured += count
            if self._measured >= self._options.piece_size or not self.left:
                self.is_slow = self._waited >= self._measured / self._options.fast_rate
        self._begun = True
        return count

    def close(self) -> None:
        """Close it; idempotent."""
        self._range.close()


class _Piece:
    """A piece, which a thread of its own receives into `buffer`. The thread is a daemon, as in `workers`."""

    def __init__(self, stream: _Range, buffer: memoryview, give_back: Callable[[], object]) -> None:
        self._stream = stream
        self._left = buffer
        self._give_back = give_back
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._received = threading.Event()
        self._abandoned = False
        threading.Thread(target=self._run, args=(buffer,), daemon=True).start()

    @property
    def is_empty(self) -> bool:
        """Whether all bytes were read."""
        return not self._left

    def read(self, view: memoryview) -> int:
        """Wait for the whole piece, and return its next bytes. Raises what its download raised."""
        self._received.wait()
        if self._error is not None:
            raise self._error
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def abandon(self) -> None:
        """Give the buffer back, as soon as nothing more is received into it."""
        with self._lock:
            self._abandoned = True
            if not self._received.is_set():
                return
        self._give_back()

    def _run(self, buffer: memoryview) -> None:
        try:
            with contextlib.closing(self._stream):
                self._receive(buffer)
        except BaseException as error:  # noqa: BLE001 - raised by `read`
            self._error = error
        with self._lock:
            self._received.set()
            if not self._abandoned:
                return
        self._give_back()

    def _receive(self, buffer: memoryview) -> None:
        left = buffer
        while left:
            count = self._stream.readinto(left)
            if self._abandoned:
                return
            left = left[count:]
