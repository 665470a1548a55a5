"""Waits when a registry asks for it (HTTP 429 and 503 with Retry-After, RFC 9110 §10.2.3)."""

import threading

from airgap.endpoints.registry.config import RegistryOptions
from airgap.endpoints.registry.errors import TemporaryError
from airgap.errors import UnavailableError


class RateLimit:
    """The waits that one registry asks for; for several threads, which all wait if one must."""

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
            self._options.notice(f"{self._host} asks us to wait {error.wait:,.0f} s ({total})")
            return self._until
