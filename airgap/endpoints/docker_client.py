"""The API of one Docker engine, as requests and answers: bounded, and told in our own errors.

The SDK makes the connection, and no more: its calls read whatever an engine says to the end, into
memory, and an engine that is asked over a network may be anybody's.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import requests

from airgap.endpoints.docker_dial import WIRE_ERRORS, Session
from airgap.endpoints.docker_hints import engine_hint, wire_words
from airgap.errors import AccessDeniedError, EndpointError, NotFoundError, UnavailableError
from airgap.oci.digest import CHUNK

MAX_DOCUMENT = 4 << 20
MAX_LIST = 32 << 20
"""Of the list of images: most have less than a KiB there, some with many labels have several."""
MAX_WORDS = 2000
"""Characters of what an engine says that go into an error."""

_RUNNING = (
    "is the engine still running? its log shows why it stopped; start it and run the same command again"
)

_MAX_ERROR = 64 << 10
_MAX_QUOTED = 200
_VERSION = "/version"
"""The one path without the version of the API in it."""
_API_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,4})", re.ASCII)
_REFUSED = (requests.codes.unauthorized, requests.codes.forbidden)


class EngineClient:
    """Asks one engine, in its own version of the API; for several threads.

    Raises `EndpointError` and its children, which begin with `what` was tried and on which `subject`.
    """

    def __init__(self, session: Session, name: str, timeout: int) -> None:
        self._session = session
        self._name = name
        self._timeout = timeout

    @cached_property
    def version(self) -> Any:
        """What it says of itself, in JSON of any form; asked once."""
        return self.document(_VERSION, "cannot read the engine's version")

    @cached_property
    def api_version(self) -> tuple[int, int]:
        found = self.version.get("ApiVersion") if isinstance(self.version, dict) else None
        numbers = _API_VERSION.fullmatch(found) if isinstance(found, str) else None
        if numbers is None:
            raise EndpointError(
                "the engine reports no API version", subject=self._name, got=repr(found)[:_MAX_QUOTED]
            )
        return int(numbers[1]), int(numbers[2])

    def document(
        self,
        path: str,
        what: str,
        subject: object = "",
        *,
        params: Mapping[str, str] | None = None,
        limit: int = MAX_DOCUMENT,
    ) -> Any:
        """The JSON that it answers with, of any form, at most `limit` bytes."""
        with self.stream("GET", path, what, subject, params=params) as answer:
            raw = answer.read(limit)
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            where, got = self._subject(subject), repr(raw[:_MAX_QUOTED])
            raise EndpointError("unreadable answer", subject=where, got=got) from error

    def call(self, method: str, path: str, what: str, subject: object, params: Mapping[str, str]) -> None:
        """For requests whose answer says nothing of use."""
        with self.stream(method, path, what, subject, params=params) as answer:
            answer.read(MAX_DOCUMENT)  # a connection that was read to the end can be used again

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
        """The answer, to be read inside; the connection is cut when it is not read to its end."""
        where, url = self._subject(subject), self._url(path)
        with _door(what, where):
            response = self._session.request(
                method, url, params=params, data=data,
                stream=True, allow_redirects=False, timeout=self._timeout,
            )  # fmt: skip
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
    """One answer, of which nothing was read but the head. Its body is never unpacked."""

    def __init__(self, response: requests.Response, what: str, subject: str) -> None:
        self._response = response
        self._what = what
        self._subject = subject

    def pieces(self, size: int = CHUNK) -> Iterator[bytes]:
        """The body, in pieces of at most `size` bytes.

        By `read1`: the other ways of reading believe a chunk that claims a negative size, and take
        all that comes then, or a line between chunks that never ends.
        """
        while True:
            with _door(self._what, self._subject):
                piece = self._response.raw.read1(size)
            if not piece:
                return
            yield piece

    def read(self, limit: int) -> bytes:
        """The whole body."""
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
        """The error that it tells of, with the engine's own words as far as they go."""
        status = self._response.status_code
        kind: type[EndpointError] = EndpointError
        if status == requests.codes.not_found:
            kind = NotFoundError
        elif status in _REFUSED:
            kind = AccessDeniedError
        words = _words(self._begin(_MAX_ERROR)) or f"HTTP {status}"
        return kind(self._what, subject=self._subject, got=words, hint=engine_hint(words))


def _words(raw: bytes) -> str:
    try:
        text = json.loads(raw)["message"]
    except (ValueError, RecursionError, TypeError, KeyError):
        text = raw.decode("utf-8", "replace")
    return str(text).strip()[:MAX_WORDS]


@contextmanager
def _door(what: str, subject: str) -> Iterator[None]:
    """Foreign exceptions leave as ours."""
    try:
        yield
    except WIRE_ERRORS as error:
        words = wire_words(error)[:MAX_WORDS]
        raise UnavailableError(what, subject=subject, got=words, hint=_RUNNING) from error
