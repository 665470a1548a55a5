"""Requests to one registry. Each request passes through these steps, and each step calls the next.

    RegistrySession.call      repeats the request after temporary failures, also of what reads its answer
    RegistrySession.call_once waits while the registry limits requests; raises the error for a bad status
    Login                     adds the login; renews it once if the registry refuses it       (`auth`)
    FollowRedirects           follows the redirects of GET and HEAD to addresses that are allowed
    ConnectionPool            one HTTP exchange: proxy, TLS, limits on size and time           (`pool`)

The order matters. A retry starts at the registry itself, because its links to blob storage expire, and so do
tokens. A refused login is renewed before its status would become an error. Redirects are followed below the
login step, so that the login is sent at each hop to the registry and to no other host, and a challenge from
blob storage is not answered. `Login` sends requests to token services directly through the pool: redirects
are not followed, and there are no retries. A mirror is another registry, with its own session (`mirrors`).
"""

import copy
import itertools
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Self, TypeVar

from airgap.endpoints.registry.address import base_url, follow
from airgap.endpoints.registry.auth import Login
from airgap.endpoints.registry.config import RegistryOptions, with_docker_certificates
from airgap.endpoints.registry.errors import LinkRefusedError, TemporaryError, backoff
from airgap.endpoints.registry.masking import SecretMask
from airgap.endpoints.registry.pool import ConnectionPool
from airgap.endpoints.registry.reach import origin
from airgap.endpoints.registry.request import RegistryRequest, RequestBuilder
from airgap.endpoints.registry.response import RegistryResponse, Send
from airgap.errors import EndpointError, UnavailableError
from airgap.limits import MAX_REDIRECTS, MAX_RESUMES

log = logging.getLogger(__name__)

T = TypeVar("T")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RESUME_BYTES = 1 << 20
"""One further resume is granted for this many bytes: enough for a link that breaks each minute at 30 kB/s."""


class RegistrySession:
    """Talks to one registry host, from several threads."""

    def __init__(self, host: str, options: RegistryOptions) -> None:
        options = with_docker_certificates(host, options)
        self.host = host
        self.options = options
        self.base = base_url(host, options)
        self.requests = RequestBuilder(host, self.base, options.prefix)
        self._mask = SecretMask(options.proxies.secrets)
        self._pool = ConnectionPool(self.base, options, self._mask)
        self._login = Login(
            FollowRedirects(self._pool, self.base, options),
            self._pool,
            host=host,
            base=self.base,
            options=options,
            mask=self._mask,
        )
        self._limit = RateLimit(host, options)

    def call(
        self, request: RegistryRequest, accept: tuple[int, ...], then: Callable[[RegistryResponse], T]
    ) -> T:
        """Return the result of `then` for the answer, whose status must be in `accept`.

        Temporary failures, including those inside `then`, are tried again after growing pauses.
        """
        budget = self.retry_budget(optional=request.optional)
        while True:
            try:
                return self.call_once(request, accept, then)
            except TemporaryError as error:
                if not request.repeatable:
                    raise
                budget.pause(error)

    def call_once(
        self, request: RegistryRequest, accept: tuple[int, ...], then: Callable[[RegistryResponse], T]
    ) -> T:
        """Send a request as `call` does, with one try. A login that has expired is still renewed."""
        self._limit.wait()
        response = self._login(request)
        if response.status not in accept:
            with response:
                raise self._status_error(response, request)
        try:
            return then(response)
        except BaseException:
            response.close()
            raise

    def retry_budget(self, *, optional: bool = False, size: int = 0) -> "RetryBudget":
        """Return the retries for one piece of work of `size` bytes."""
        return RetryBudget(self.options, self._limit, optional=optional, size=size)

    def is_own(self, url: str) -> bool:
        """Return whether `url` is at the registry itself."""
        return origin(url) == origin(self.base)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    def _status_error(self, response: RegistryResponse, request: RegistryRequest) -> EndpointError:
        own = self.is_own(response.url)
        error = response.status_error(self.host, self._mask, writes=request.writes and own)
        if own:
            return self._login.explain(error)
        error.subject = f"{request.subject} (redirected to {origin(response.url)[1]})"
        if response.status in (401, 403):
            return LinkRefusedError(error.what, subject=error.subject, got=f"HTTP {response.status}")
        return error


class FollowRedirects:
    """Follows the redirects of GET and HEAD; sends an Authorization header to the registry itself only."""

    def __init__(self, send: Send, base: str, options: RegistryOptions) -> None:
        self._send = send
        self._own = origin(base)
        self._options = options

    def __call__(self, request: RegistryRequest) -> RegistryResponse:
        url = request.url
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(self._at(url, request))
            if response.status not in _REDIRECTS or request.writes:
                return response
            with response:
                url = follow(url, response.headers.get("Location"), self._options, request.subject)
        raise EndpointError("too many redirects", subject=request.subject, want=f"at most {MAX_REDIRECTS}")

    def _at(self, url: str, request: RegistryRequest) -> RegistryRequest:
        headers = request.headers
        if origin(url) != self._own:
            headers = {name: value for name, value in headers.items() if name != "Authorization"}
        return replace(request, url=url, headers=headers)


class RetryBudget:
    """The retries granted to one piece of work: `retries` without progress, and a total number that grows
    with the `size` in bytes.

    A registry that limits requests and says how long to wait has not failed: `limit` bounds such waits.
    """

    def __init__(
        self, options: RegistryOptions, limit: "RateLimit", *, optional: bool = False, size: int = 0
    ) -> None:
        self._options = options
        self._limit = limit
        self._optional = optional
        self._failures = 0
        self._pauses = itertools.count(1)
        self._most = MAX_RESUMES + size // _RESUME_BYTES
        self._size = size

    def pause(self, error: TemporaryError) -> None:
        """Sleep before the next try, or raise `error` if the retries are used up."""
        if error.busy and error.wait > 0 and self._options.retries > 0:
            self._limit.obey(error)
            return
        if self._failures >= self._tries(error):
            raise error
        if next(self._pauses) > self._most:
            raise self._hopeless_error(error) from error
        if error.wait > 0:
            self._limit.obey(error)
        else:
            seconds = backoff(self._failures, random.random())  # noqa: S311 - no secret
            log.info("%s; trying again in %.1f s", error, seconds)
            self._options.sleep(seconds)
        self._failures += 1

    def for_part(self) -> Self:
        """Return the retries of a part that fails by itself; they count towards the total of the whole."""
        part = copy.copy(self)
        part.progressed()
        return part

    def progressed(self) -> None:
        """Count failures from zero again."""
        self._failures = 0

    def _tries(self, error: TemporaryError) -> int:
        if error.busy:
            return 2 * self._options.retries
        if self._optional:
            return 0 if error.timed_out else min(self._options.retries, 1)
        return self._options.retries

    def _hopeless_error(self, error: TemporaryError) -> UnavailableError:
        return UnavailableError(
            "the connection broke too often",
            subject=error.subject,
            want=f"at most {self._most:,} resumes for {self._size:,} bytes",
            got=f"{error.what}: {error.got}",
            hint="a proxy on the way to the registry may cut connections after some time or size",
        )


class RateLimit:
    """The waits that one registry asks for (HTTP 429 and 503 with Retry-After, RFC 9110 §10.2.3); for several
    threads, which all wait if one must.
    """

    def __init__(self, host: str, options: RegistryOptions) -> None:
        self._host = host
        self._options = options
        self._lock = threading.Lock()
        self._until = 0.0
        self._waited = 0.0

    def wait(self) -> None:
        """Wait as long as another thread was asked to."""
        if (seconds := self._until - self._options.clock()) > 0:
            self._options.sleep(seconds)

    def obey(self, error: TemporaryError) -> None:
        """Wait as long as the answer behind `error` asks for.

        Raises `UnavailableError` if all waits together would exceed the options' limit.
        """
        until = self._extend(error)
        self._options.sleep(error.wait)
        with self._lock:
            if self._until == until:
                self._until = 0.0

    def _extend(self, error: TemporaryError) -> float:
        with self._lock:
            now = self._options.clock()
            more = now + error.wait - max(now, self._until)
            if more <= 0:
                return self._until
            limit = self._options.max_wait
            if self._waited + more > limit:
                raise UnavailableError(
                    "the registry asks for too long a wait",
                    subject=error.subject,
                    want=f"at most {limit:,.0f} s in all",
                    got=f"{error.got}, another {error.wait:,.0f} s after {self._waited:,.0f} s",
                    hint=error.hint,
                )
            self._waited += more
            self._until = now + error.wait
            total = f"{self._waited:,.0f} s of at most {limit:,.0f} s in all"
            notice = f"{self._host} asks us to wait {error.wait:,.0f} s ({total})"
            log.info("%s", notice)
            self._options.notice(notice)
            return self._until
