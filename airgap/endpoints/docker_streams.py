"""Bulk through the connection to a Docker engine: the tar of `load`, its answer, the tar of `save`."""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import requests

from airgap.errors import EndpointError
from airgap.oci.digest import CHUNK

_MAX_LINE = 1 << 20
_TAIL = 4096
_LATE_ERROR = re.compile(rb'\{"errorDetail":.*\}\s*$', re.DOTALL)


def load_complaint(response: requests.Response) -> str | None:
    """Read the answer to its end; the first line in it that tells of a failure, in whatever form."""
    complaint = None
    for line in _lines(response):
        try:
            message = json.loads(line)
        except ValueError as error:
            raise EndpointError("unreadable answer", subject="load", got=repr(line[:200])) from error
        complaint = complaint or _complaint(message)
    return complaint


def _complaint(message: Any) -> str | None:
    if not isinstance(message, dict):
        return repr(message)[:200]
    detail = message.get("errorDetail")
    if detail or message.get("error"):
        return str((detail.get("message") if isinstance(detail, dict) else None) or message.get("error"))
    text = str(message.get("stream") or "").strip()
    return text if text.lower().startswith("error") or "error unpacking" in text.lower() else None


def _lines(response: requests.Response) -> Iterator[bytes]:
    rest = b""
    for chunk in response.iter_content(_TAIL):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _MAX_LINE:
            raise EndpointError("unreadable answer", subject="load", got="an endless line")
        yield from filter(bytes.strip, lines)
    if rest.strip():
        yield rest


class Upload:
    """Chunks to send, and what went wrong while they were made."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except Exception as error:
            self.error = error
            raise


class Download(io.RawIOBase):
    """The body of a response as a stream."""

    def __init__(self, response: requests.Response, door: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__()
        self._chunks = response.iter_content(CHUNK)
        self._door = door
        self._ready = memoryview(b"")
        self._tail = b""

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if not self._ready:
            with self._door():
                chunk = next(self._chunks, b"")
            self._tail = (self._tail + chunk[-_TAIL:])[-_TAIL:]
            self._ready = memoryview(chunk)
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def late_error(self) -> str | None:
        """What the engine wrote instead of the archive's rest: it can say so in no other way once
        it has begun.
        """
        match = _LATE_ERROR.search(self._tail)
        return None if match is None else match[0].decode("utf-8", "replace").strip()
