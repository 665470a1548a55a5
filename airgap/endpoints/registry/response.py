"""The answers of a registry, and their bodies. Their headers and documents are not trusted."""

import contextlib
import io
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Self

import urllib3
from urllib3.exceptions import HTTPError

from airgap.endpoints.registry.errors import TemporaryError, status_error
from airgap.endpoints.registry.masking import SecretMask
from airgap.endpoints.registry.request import RegistryRequest
from airgap.endpoints.wire import EndlessAnswerError
from airgap.errors import DigestMismatchError, EndpointError, FormatError, describe_cause
from airgap.limits import MAX_ERROR_BODY_BYTES, MAX_JSON_BYTES
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor

NO_HEAD = (405, 501)
"""The statuses of a registry that does not support HEAD."""
_ENOUGH_BYTES = 1 << 18
"""The size to wait for before bytes are passed on: TLS delivers pieces of 16 KiB."""
_SHORT_BYTES = 8 << 10
"""A remainder of up to this size is read instead of cutting the connection."""


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
            count = self._fill(view[: self._left])
        except EndlessAnswerError as error:
            self.close()
            raise endless_answer(error, self._subject) from error
        except (OSError, HTTPException, HTTPError, ValueError) as error:
            self.close()
            failed = self._cut(describe_cause(error))
            failed.timed_out = isinstance(error, TimeoutError)
            raise failed from error
        self._consume(count)
        return count

    def _fill(self, view: memoryview) -> int:
        """Read like http.client's `readinto`, which however loses the bytes received before a failure."""
        if self._file is None:
            piece = self._raw.read1(len(view))
            view[: len(piece)] = piece
            return len(piece)
        if self._broken is not None:
            raise self._broken
        count, enough = 0, min(len(view), _ENOUGH_BYTES)
        try:
            while count < enough and (step := self._file.readinto1(view[count:])):
                count += step
        except OSError as error:
            if not count:
                raise
            self._broken = error
        return count

    def _consume(self, count: int) -> None:
        if self._left is None:
            self._left = 0 if count == 0 else None
        elif count == 0:
            self.close()
            raise self._cut(f"{self._left:,} bytes missing")
        else:
            self._left -= count
        if self._left == 0:
            self._release()

    def _release(self) -> None:
        self._raw.close()  # of the answer only: the connection stays open
        self._response.release_conn()

    def _cut(self, reason: str) -> TemporaryError:
        return TemporaryError("the connection broke", subject=self._subject, got=reason)

    def close(self) -> None:
        """Close the body, and cut the connection if it was not read to its end; idempotent."""
        if not self.closed:
            if self._left != 0:
                self._response.close()
            self._release()
        super().close()


def endless_answer(error: EndlessAnswerError, subject: str) -> EndpointError:
    """Return the error for an endless answer; the request is not tried again."""
    hint = "the server may not be a registry: check the address, and the proxy if there is one"
    return EndpointError("the answer does not end", subject=subject, got=str(error), hint=hint)


class RegistryResponse:
    """An answer whose body has not been read. Close it, or read its body to the end."""

    def __init__(self, response: urllib3.BaseHTTPResponse, request: RegistryRequest) -> None:
        self._response = response
        self._body: ResponseBody | None = None
        self.subject = request.subject
        self.url = request.url
        """The URL that gave the answer."""
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def length(self) -> int | None:
        """The content's length in bytes from the header, also for HEAD."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    @property
    def media_type(self) -> str:
        """The media type in lower case, without parameters; empty if the header is missing."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def stream(self, size: int | None = None) -> ResponseBody:
        """Return the body. `size` is its expected length in bytes, for answers that do not state it."""
        if self._body is None:
            self._body = ResponseBody(self._response, size, self.subject)
        return self._body

    def read(self, limit: int = MAX_JSON_BYTES) -> bytes:
        """Return the whole body; raises `EndpointError` if it is longer than `limit` bytes."""
        raw = self.read_some(limit + 1)
        if len(raw) > limit:
            raise EndpointError("answer too large", subject=self.subject, want=f"at most {limit:,} bytes")
        return raw

    def read_some(self, limit: int) -> bytes:
        """Return the first `limit` bytes of the body."""
        with self.stream() as stream:
            raw = bytearray()
            while len(raw) < limit and (chunk := stream.read(min(limit - len(raw), 1 << 16))):
                raw += chunk
        return bytes(raw)

    def describe_by_headers(self, wanted: Digest | None) -> Descriptor | None:
        """Return the descriptor in the headers of an answer to HEAD, or None if a part of it is missing."""
        with self:
            digest, size = self._reported_digest(), self.length
            if self.status in NO_HEAD or digest is None or size is None:
                return None
            if wanted is not None and digest.algorithm != wanted.algorithm:
                return None
            self._check_digest(digest, wanted)
            return Descriptor(self.media_type, digest, size)

    def describe_by_body(self, wanted: Digest | None) -> Descriptor:
        """Return the descriptor of the document in the answer."""
        reported, raw = self._reported_digest(), self.read()
        if reported is not None:
            self._check_digest(Digest.of(raw, reported.algorithm), reported)
        digest = Digest.of(raw, wanted.algorithm if wanted else "sha256")
        self._check_digest(digest, wanted)
        return Descriptor(self.media_type, digest, len(raw))

    def is_rest(self, offset: int, size: int) -> bool:
        """Return whether it is the bytes from `offset` to the end of `size` (RFC 9110 §14.4)."""
        wanted = f"bytes {offset}-{size - 1}"
        content_range = self.headers.get("Content-Range", "")
        return self.status == 206 and content_range in (f"{wanted}/{size}", f"{wanted}/*")

    def is_piece(self, start: int, stop: int, size: int) -> bool:
        """Return whether it is the bytes from `start` up to `stop`, exclusive, of `size`, as they are."""
        wanted = f"bytes {start}-{stop - 1}"
        return (
            self.status == 206
            and self.headers.get("Content-Range", "") in (f"{wanted}/{size}", f"{wanted}/*")
            and self.length in (None, stop - start)
            and self.headers.get("Content-Encoding", "identity").strip().lower() == "identity"
        )

    def not_rest_error(self, offset: int, size: int) -> EndpointError:
        """Return the error for an answer that is not the rest of `size` bytes from `offset` on."""
        answer = self.headers.get("Content-Range", "")[:80] or f"HTTP {self.status}"
        return EndpointError(
            "cannot resume the download",
            subject=self.subject,
            want=f"bytes {offset}-{size - 1}/{size}",
            got=answer,
        )

    def not_piece_error(self, start: int, stop: int, size: int) -> EndpointError:
        """Return the error for an answer that is not the piece from `start` up to `stop` of `size` bytes."""
        error = self.not_rest_error(start, size)
        error.what, error.want = "wrong range", f"bytes {start}-{stop - 1}/{size}"
        return error

    def status_error(self, host: str, mask: SecretMask, *, writes: bool = False) -> EndpointError:
        """Return the error for an answer with an unexpected status; see `errors.status_error`."""
        body = mask.mask(self.read_some(MAX_ERROR_BODY_BYTES).decode("utf-8", "replace")).encode()
        return mask.mask_error(
            status_error(self.status, self.headers, body, self.subject, host, writes=writes)
        )

    def check_stored(self, digest: Digest) -> None:
        """Raise `DigestMismatchError` if the registry reports another digest for what it has stored."""
        with self:
            reported = self._reported_digest()
        if reported is not None and reported.algorithm == digest.algorithm:
            self._check_digest(reported, digest)

    def _reported_digest(self) -> Digest | None:
        text = self.headers.get("Docker-Content-Digest")
        if text is None:
            return None
        try:
            return Digest.parse(text)
        except FormatError as error:
            raise EndpointError(
                "the registry sent an invalid digest", subject=self.subject, got=repr(text[:80])
            ) from error

    def _check_digest(self, digest: Digest, wanted: Digest | None) -> None:
        if wanted is not None and digest != wanted:
            raise DigestMismatchError(
                "the registry reports a different digest", subject=self.subject, want=wanted, got=digest
            )

    def close(self) -> None:
        """Close the answer; idempotent. If the rest of the body is long, the connection is cut."""
        stream = self.stream()
        if not stream.closed and self.length is not None and self.length <= _SHORT_BYTES:
            with contextlib.suppress(TemporaryError):
                stream.readall()
        stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Send = Callable[[RegistryRequest], RegistryResponse]
"""One step of a request's way; see `session`."""
