"""The bodies of answers and uploads, transferred without copies."""

import io
from collections.abc import Iterator
from http.client import HTTPException

import urllib3
from urllib3.exceptions import HTTPError

from airgap.endpoints.registry.errors import TemporaryError
from airgap.endpoints.wire import EndlessAnswerError
from airgap.errors import EndpointError, SizeMismatchError, describe_cause
from airgap.oci.digest import CHUNK, ByteStream

_ENOUGH_BYTES = 1 << 18
"""The size to wait for before bytes are passed on: TLS delivers pieces of 16 KiB."""


class ResponseBody(io.RawIOBase):
    """The body of an answer as a `ByteStream`; returns the connection to the pool at its end.

    An end before `size` bytes, or before the end that HTTP announced, is a `TemporaryError`: it never looks
    like the end of the content. With `size` None and no announced length it cannot be detected. Nothing else
    is checked.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse, size: int | None, subject: str) -> None:
        super().__init__()
        self._response = response
        # urllib3's own readers copy each chunk twice, which costs 60 % more time than http.client's.
        self._raw = getattr(response, "_original_response", None) or response
        chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
        length: int | None = getattr(response, "length_remaining", None)
        self._left = length if length is not None or chunked else size
        self._file = None if chunked or self._left is None else getattr(self._raw, "fp", None)
        self._broken: Exception | None = None
        self._subject = subject

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        view = memoryview(buffer)
        if self._left == 0 or not view:
            return 0
        try:
            got = self._fill(view[: self._left])
        except EndlessAnswerError as error:
            self.close()
            raise endless_answer(error, self._subject) from error
        except (OSError, HTTPException, HTTPError, ValueError) as error:
            self.close()
            raise self._cut(describe_cause(error)) from error
        self._count(got)
        return got

    def _fill(self, view: memoryview) -> int:
        """Read like http.client's `readinto`, which however loses the bytes received before a failure."""
        if self._file is None:
            piece = self._raw.read1(len(view))
            view[: len(piece)] = piece
            return len(piece)
        if self._broken is not None:
            raise self._broken
        got, enough = 0, min(len(view), _ENOUGH_BYTES)
        try:
            while got < enough and (step := self._file.readinto1(view[got:])):
                got += step
        except OSError as error:
            if not got:
                raise
            self._broken = error
        return got

    def _count(self, got: int) -> None:
        if self._left is None:
            self._left = 0 if got == 0 else None
        elif got == 0:
            self.close()
            raise self._cut(f"{self._left:,} bytes missing")
        else:
            self._left -= got
        if self._left == 0:
            self._release()

    def _release(self) -> None:
        self._raw.close()  # of the answer only: the connection stays open
        self._response.release_conn()

    def _cut(self, got: str) -> TemporaryError:
        return TemporaryError("the connection broke", subject=self._subject, got=got)

    def close(self) -> None:
        """Idempotent. Cuts the connection if the body was not read to its end."""
        if not self.closed:
            if self._left != 0:
                self._response.close()
            self._release()
        super().close()


def endless_answer(error: EndlessAnswerError, subject: str) -> EndpointError:
    """Return the error for an endless answer; the request is not tried again."""
    hint = "the server may not be a registry: check the address, and the proxy if there is one"
    return EndpointError("the answer does not end", subject=subject, got=str(error), hint=hint)


class UploadStopped(Exception):  # noqa: N818 - carries an error through urllib3, is none itself
    """The stream of an upload raised `error`; urllib3 would wrap or swallow some kinds of it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class UploadBody:
    """Feeds `stream` to a request in chunks, `size` bytes in all; the stream's end when it is `last`.

    Raises `UploadStopped` with what `stream` raised, or with a `SizeMismatchError` before the last
    chunk of a stream of another length.
    """

    def __init__(self, stream: ByteStream, size: int, subject: str, *, last: bool = True) -> None:
        self._stream = stream
        self.size = size
        self._subject = subject
        self._last = last
        self.started = False

    def __iter__(self) -> Iterator[memoryview]:
        self.started = True
        try:
            yield from self._chunks(memoryview(bytearray(CHUNK)))
        except Exception as error:
            raise UploadStopped(error) from error

    def _chunks(self, buffer: memoryview) -> Iterator[memoryview]:
        done = 0
        while self._last or done < self.size:
            got = self._stream.readinto(buffer if self._last else buffer[: self.size - done])
            if not got:
                break
            done += got
            if done > self.size:
                raise self._wrong("more")
            yield buffer[:got]
        if done != self.size:
            raise self._wrong(f"{done:,} bytes")

    def _wrong(self, got: str) -> SizeMismatchError:
        return SizeMismatchError("wrong size", subject=self._subject, want=f"{self.size:,} bytes", got=got)


Body = bytes | UploadBody
