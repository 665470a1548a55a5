"""Requests to one registry: logins, redirects and retries."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from airgap.endpoints.registry.address import base_url, follow, follow_upload, origin
from airgap.endpoints.registry.auth import Authorizer
from airgap.endpoints.registry.body import Body, Upload
from airgap.endpoints.registry.config import RegistryOptions, with_docker_certificates
from airgap.endpoints.registry.errors import (
    MAX_ERROR_BODY,
    LinkRefusedError,
    TemporaryError,
    backoff,
    failure,
)
from airgap.endpoints.registry.rate_limit import RateLimit
from airgap.endpoints.registry.transport import Response, Transport
from airgap.errors import EndpointError, UnavailableError

T = TypeVar("T")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_MAX_RESUMES = 100
_RESUME_BYTES = 1 << 20
"""One further resume is granted for this many bytes: enough for a link that breaks each minute at 30 kB/s."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `subject` is its name in errors, `scope` what a token must allow: one scope, or several
    separated by spaces.
    """

    method: str
    url: str
    subject: str
    scope: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    optional: bool = False
    """True if the work does not need an answer: then less time is spent on getting one."""

    @property
    def repeatable(self) -> bool:
        """Return whether it can be sent again: no bytes were taken from a stream."""
        return not (isinstance(self.body, Upload) and self.body.started)


class RetryBudget:
    """The retries granted to one piece of work: `retries` without progress, and a total number that grows
    with the `size` in bytes.

    A registry that limits requests and says how long to wait has not failed: `limit` bounds such waits.
    """

    def __init__(
        self, options: RegistryOptions, limit: RateLimit, *, optional: bool = False, size: int = 0
    ) -> None:
        self._options = options
        self._limit = limit
        self._optional = optional
        self._failures = 0
        self._pauses = 0
        self._most = _MAX_RESUMES + size // _RESUME_BYTES
        self._size = size

    def pause(self, error: TemporaryError) -> None:
        """Sleep before the next try, or raise `error` if the retries are used up."""
        if error.busy and error.wait > 0 and self._options.retries > 0:
            self._limit.obey(error)
            return
        if self._failures >= self._tries(error):
            raise error
        self._pauses += 1
        if self._pauses > self._most:
            raise self._hopeless(error) from error
        if error.wait > 0:
            self._limit.obey(error)
        else:
            self._options.sleep(backoff(self._failures, 0.0, random.random()))  # noqa: S311 - no secret
        self._failures += 1

    def _hopeless(self, error: TemporaryError) -> UnavailableError:
        return UnavailableError(
            "the connection broke too often",
            subject=error.subject,
            want=f"at most {self._most:,} resumes for {self._size:,} bytes",
            got=f"{error.what}: {error.got}",
            hint="a proxy on the way to the registry may cut connections after some time or size",
        )

    def _tries(self, error: TemporaryError) -> int:
        if error.busy:
            return 2 * self._options.retries
        if self._optional:
            return 0 if error.timed_out else min(self._options.retries, 1)
        return self._options.retries

    def progressed(self) -> None:
        """Count failures from zero again."""
        self._failures = 0


class Session:
    """Talks to one registry host, from several threads."""

    def __init__(self, host: str, options: RegistryOptions) -> None:
        options = with_docker_certificates(host, options)
        self.host = host
        self.options = options
        self.base = base_url(host, options)
        self._origin = origin(self.base)
        self._transport = Transport(self.base, options)
        self._authorizer = Authorizer(host, self.base, options, self._transport)
        self._limit = RateLimit(host, options)

    def call(self, request: Request, accept: tuple[int, ...], then: Callable[[Response], T]) -> T:
        """Return the result of `then` for the answer, whose status must be in `accept`.

        Temporary failures, including those inside `then`, are tried again after growing pauses.
        """
        budget = self.retry_budget(optional=request.optional)
        while True:
            try:
                return self.once(request, accept, then)
            except TemporaryError as error:
                if not request.repeatable:
                    raise
                budget.pause(error)

    def once(self, request: Request, accept: tuple[int, ...], then: Callable[[Response], T]) -> T:
        """Send a request as `call` does, with one try. A login that has expired is still renewed."""
        response = self._exchange(request, accept)
        try:
            return then(response)
        except BaseException:
            response.close()
            raise

    def retry_budget(self, *, optional: bool = False, size: int = 0) -> RetryBudget:
        """Return the retries for one piece of work of `size` bytes."""
        return RetryBudget(self.options, self._limit, optional=optional, size=size)

    def locate(self, location: str | None, base: str, subject: str) -> str:
        """Return the URL that an answer from `base` points to; see `follow`."""
        return follow(base, location, self.options, subject)

    def locate_upload(self, location: str | None, base: str, subject: str) -> str:
        """Return the URL at which an upload continues; see `follow_upload`."""
        return follow_upload(self.base, base, location, self.options, subject)

    def is_own(self, url: str) -> bool:
        """Return whether `url` is at the registry itself."""
        return origin(url) == self._origin

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()

    def _exchange(self, request: Request, accept: tuple[int, ...]) -> Response:
        self._limit.wait()
        header = self._authorizer.header(request.scope, request.subject)
        response, url = self._follow(request, header)
        asked = response.headers.get("WWW-Authenticate")
        if response.status == 401 and asked is not None and self.is_own(url):
            with response:
                header = self._log_in(request, asked, header)
            response, url = self._follow(request, header)
        if response.status in accept:
            return response
        with response:
            raise self._failure(response, url, request)

    def _log_in(self, request: Request, asked: str, refused: str | None) -> str:
        if request.repeatable:
            return self._authorizer.renew(asked, request.scope, refused, request.subject)
        self._authorizer.forget(request.scope)
        raise TemporaryError("the login expired during the upload", subject=request.subject)

    def _follow(self, request: Request, authorization: str | None) -> tuple[Response, str]:
        """Return the answer, and the URL that gave it: only GET and HEAD are redirected."""
        url = request.url
        for _ in range(_MAX_REDIRECTS + 1):
            headers = dict(request.headers)
            if authorization is not None and self.is_own(url):
                headers["Authorization"] = authorization
            silence = self.options.optional_silence if request.optional else None
            response = self._transport.send(
                request.method, url, headers, request.body, request.subject, silence=silence
            )
            if response.status not in _REDIRECTS or request.method not in ("GET", "HEAD"):
                return response, url
            with response:
                url = self.locate(response.headers.get("Location"), url, request.subject)
        raise EndpointError("too many redirects", subject=request.subject, want=f"at most {_MAX_REDIRECTS}")

    def _failure(self, response: Response, url: str, request: Request) -> EndpointError:
        subject, writes = request.subject, request.method not in ("GET", "HEAD")
        body = self._authorizer.redact(response.read_some(MAX_ERROR_BODY).decode("utf-8", "replace"))
        if self.is_own(url):
            error = failure(
                response.status, response.headers, body.encode(), subject, self.host, writes=writes
            )
            return self._authorizer.explained(self._authorizer.cleared(error))
        subject = f"{subject} (redirected to {origin(url)[1]})"
        if response.status in (401, 403):
            return LinkRefusedError("access denied", subject=subject, got=f"HTTP {response.status}")
        error = failure(response.status, response.headers, body.encode(), subject, self.host)
        return self._authorizer.cleared(error)
