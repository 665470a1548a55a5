"""Large transfers with a Docker engine: the tar of `load`, its answer, the tar of `save`."""

import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from airgap.errors import EndpointError
from airgap.limits import MAX_ENGINE_MESSAGE_CHARACTERS

_TAIL = 4096
_LATE_ERROR = re.compile(rb'\{"errorDetail":.*\}\s*$', re.DOTALL)


def load_complaint(answer: bytes) -> str | None:
    """Return the first line of the answer that reports a failure, in any form."""
    complaint = None
    for line in filter(bytes.strip, answer.split(b"\n")):
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise EndpointError("unreadable answer", subject="load", got=repr(line[:200])) from error
        complaint = complaint or _complaint(message)
    return None if complaint is None else complaint[:MAX_ENGINE_MESSAGE_CHARACTERS]


def _complaint(message: Any) -> str | None:
    if not isinstance(message, dict):
        return repr(message)[:200]
    detail = message.get("errorDetail")
    if detail or message.get("error"):
        return str((detail.get("message") if isinstance(detail, dict) else None) or message.get("error"))
    text = str(message.get("stream") or "").strip()
    return text if text.lower().startswith("error") or "error unpacking" in text.lower() else None


class LoadStream:
    """Chunks to send, and the error that occurred while they were made."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except Exception as error:
            self.error = error
            raise


class SaveStream(io.RawIOBase):
    """The pieces of an answer as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._ready = memoryview(b"")
        self._tail = b""

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if not self._ready:
            piece = next(self._pieces, b"")
            self._tail = (self._tail + piece[-_TAIL:])[-_TAIL:]
            self._ready = memoryview(piece)
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def late_error(self) -> str | None:
        """Return the error that the engine wrote instead of the rest of the archive: after the beginning it
        can report an error in no other way.
        """
        match = _LATE_ERROR.search(self._tail)
        return None if match is None else match[0].decode("utf-8", "replace").strip()
