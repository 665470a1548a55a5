"""The API of one Docker engine, as bounded requests and answers with our own errors.

The SDK only makes the connection: its calls read answers to the end into memory, whatever their size, and an
engine on the network is not trusted.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import requests

from airgap.endpoints.docker.dial import WIRE_ERRORS, EngineSession
from airgap.endpoints.docker.hints import engine_hint, wire_words
from airgap.errors import AccessDeniedError, EndpointError, NotFoundError, UnavailableError
from airgap.hiding import hide
from airgap.limits import (
    MAX_ENGINE_ANSWER_BYTES,
    MAX_ENGINE_ERROR_BYTES,
    MAX_ENGINE_MESSAGE_CHARACTERS,
)
from airgap.oci.digest import CHUNK

log = logging.getLogger(__name__)

_RUNNING = (
    "is the engine still running? its log shows why it stopped; start it and run the same command again"
)

_MAX_QUOTED = 200
_VERSION = "/version"
"""The only path without the API version in it."""
_API_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,4})", re.ASCII)
_REFUSED = (requests.codes.unauthorized, requests.codes.forbidden)


class EngineClient:
    """Sends requests to one engine, in its own version of the API; for several threads.

    Raises `EndpointError` and its children, which begin with `what` was tried, on which `subject`.
    """

    def __init__(self, session: EngineSession, name: str, timeout: int) -> None:
        self._session = session
        self._name = name
        self._timeout = timeout

    @cached_property
    def version(self) -> Any:
        """The engine's description of itself, in JSON of any form; requested once."""
        return self.document(_VERSION, "cannot read the engine's version")

    @cached_property
    def api_version(self) -> tuple[int, int]:
        claimed = self.version.get("ApiVersion") if isinstance(self.version, dict) else None
        numbers = _API_VERSION.fullmatch(claimed) if isinstance(claimed, str) else None
        if numbers is None:
            raise EndpointError(
                "the engine reports no API version", subject=self._name, got=repr(claimed)[:_MAX_QUOTED]
            )
        return int(numbers[1]), int(numbers[2])

    def document(
        self,
        path: str,
        what: str,
        subject: object = "",
        *,
        params: Mapping[str, str] | None = None,
        limit: int = MAX_ENGINE_ANSWER_BYTES,
    ) -> Any:
        """Return the JSON of the answer to a GET, whose form is not checked.

        Args:
            path: The path below the version of the API.
            what: What was tried, as errors begin.
            subject: What it was tried on, for errors.
            params: The query.
            limit: The most bytes of the answer.

        Raises:
            EndpointError: The request failed, or the answer is too long or not JSON.
        """
        with self.stream("GET", path, what, subject, params=params) as answer:
            raw = answer.read(limit)
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            where, got = self._subject(subject), repr(raw[:_MAX_QUOTED])
            raise EndpointError("unreadable answer", subject=where, got=got) from error

    def call(self, method: str, path: str, what: str, subject: object, params: Mapping[str, str]) -> None:
        """Send a request whose answer is not needed. Arguments and errors are as in `document`."""
        with self.stream(method, path, what, subject, params=params) as answer:
            answer.read(MAX_ENGINE_ANSWER_BYTES)  # a connection that was read to the end can be used again

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        what: str,
        subject: object = "",
        *,
        params: Mapping[str, str | list[str]] | None = None,
        data: Iterable[bytes] | None = None,
    ) -> "Iterator[Answer]":
        """Yield the answer, to be read inside the context; the connection is cut if it is not read to its
        end.
        """
        where, url = self._subject(subject), self._url(path)
        log.debug("%s: %s %s", self._name, method, hide(path))
        with _engine_errors(what, where):
            response = self._session.request(
                method, url, params=params, data=data,
                stream=True, allow_redirects=False, timeout=self._timeout,
            )  # fmt: skip
        log.debug("%s: HTTP %s", self._name, response.status_code)
        with response:
            answer = Answer(response, what, where)
            if not requests.codes.ok <= response.status_code < requests.codes.multiple_choices:
                raise answer.failure()
            yield answer

    def _url(self, path: str) -> str:
        version = "" if path == _VERSION else "/v{}.{}".format(*self.api_version)
        return f"{self._session.base_url}{version}{path}"

    def _subject(self, subject: object) -> str:
        return f"{self._name}: {subject}" if subject else self._name


class Answer:
    """One answer, of which only the head has been read. Its body is never decompressed."""

    def __init__(self, response: requests.Response, what: str, subject: str) -> None:
        self._response = response
        self._what = what
        self._subject = subject

    def pieces(self, size: int = CHUNK) -> Iterator[bytes]:
        """Yield the body in pieces of at most `size` bytes.

        Uses `read1`: the other methods accept a chunk with a negative size and then read everything that
        follows, or an endless line between chunks.
        """
        while True:
            with _engine_errors(self._what, self._subject):
                piece = self._response.raw.read1(size)
            if not piece:
                return
            yield piece

    def read(self, limit: int) -> bytes:
        """Return the whole body."""
        raw = self._begin(limit + 1)
        if len(raw) > limit:
            raise EndpointError(
                self._what, subject=self._subject, want=f"at most {limit:,} bytes", got="a longer answer"
            )
        return raw

    def _begin(self, limit: int) -> bytes:
        raw = bytearray()
        for piece in self.pieces():
            raw += piece
            if len(raw) >= limit:
                break
        return bytes(raw[:limit])

    def failure(self) -> EndpointError:
        """Return the error that the answer reports, with the engine's own message."""
        status = self._response.status_code
        kind: type[EndpointError] = EndpointError
        if status == requests.codes.not_found:
            kind = NotFoundError
        elif status in _REFUSED:
            kind = AccessDeniedError
        words = _words(self._begin(MAX_ENGINE_ERROR_BYTES)) or f"HTTP {status}"
        return kind(self._what, subject=self._subject, got=words, hint=engine_hint(words))


def _words(raw: bytes) -> str:
    try:
        text = json.loads(raw)["message"]
    except (ValueError, RecursionError, TypeError, KeyError):
        text = raw.decode("utf-8", "replace")
    return str(text).strip()[:MAX_ENGINE_MESSAGE_CHARACTERS]


@contextmanager
def _engine_errors(what: str, subject: str) -> Iterator[None]:
    """Turn exceptions of the libraries into ours."""
    try:
        yield
    except WIRE_ERRORS as error:
        words = wire_words(error)[:MAX_ENGINE_MESSAGE_CHARACTERS]
        raise UnavailableError(what, subject=subject, got=words, hint=_RUNNING) from error
