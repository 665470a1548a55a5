"""Progress reports of long work. Use cases report; `cli` shows the reports."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import Protocol, Self

from airgap.limits import WAIT_NOTE_SECONDS
from airgap.oci.digest import Advance, ByteStream


class Progress(Protocol):
    """Receives progress reports; its methods may be called from several threads."""

    def phase(self, title: str, total: int) -> AbstractContextManager[Advance]:
        """Begin a phase of work on `total` bytes; the caller reports the bytes as they are processed."""

    def note(self, text: str) -> None:
        """Report one line of information."""


class Silent:
    """Ignores all reports."""

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Advance]:  # noqa: ARG002
        """Ignore it."""
        yield lambda _: None

    def note(self, text: str) -> None:
        """Ignore it."""


class _NotCompleteError(Exception):
    """Ends a phase without an error of its own."""


@contextmanager
def phase_unless(
    progress: Progress, title: str, total: int, failed: Callable[[], object]
) -> Iterator[Advance]:
    """Report a phase, which is not reported as done if `failed` returns a true value at its end: some of the
    work failed, and its errors are reported later.
    """
    with suppress(_NotCompleteError), progress.phase(title, total) as advance:
        yield advance
        if failed():
            raise _NotCompleteError


class Wait:
    """Notes what the other side still does with content that was sent, if that takes more than some seconds.

    Use it as a context manager around the call, and read the content through `then_wait`.
    """

    def __init__(self, progress: Progress, text: str, seconds: float = WAIT_NOTE_SECONDS) -> None:
        self._timer = threading.Timer(seconds, progress.note, [text])
        self._timer.daemon = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def then_wait(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the chunks, and count the time from the end of the last one."""
        yield from chunks
        self.start()

    def after(self, stream: ByteStream, size: int) -> ByteStream:
        """Return a stream of `size` bytes, after whose last byte the time is counted."""
        return _Watched(stream, size, self.start)

    def start(self) -> None:
        """Count the time from now on. It may be called again, as content that is sent again ends again."""
        if not self._timer.is_alive() and not self._timer.finished.is_set():
            self._timer.start()


class _Watched:
    """A stream that reports its end."""

    def __init__(self, stream: ByteStream, size: int, at_end: Callable[[], None]) -> None:
        self._stream, self._left, self._at_end = stream, size, at_end

    def readinto(self, buffer: memoryview, /) -> int | None:
        count = self._stream.readinto(buffer)
        self._left -= count or 0
        if self._left <= 0:
            self._at_end()
        return count

    def close(self) -> None:
        self._stream.close()
