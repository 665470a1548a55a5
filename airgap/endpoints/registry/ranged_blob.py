"""A large blob that is requested by ranges (RFC 9110 §14)."""

from collections.abc import Callable
from dataclasses import replace

from airgap.endpoints.registry.config import RegistryOptions
from airgap.endpoints.registry.errors import LinkRefusedError, TemporaryError
from airgap.endpoints.registry.request import RegistryRequest
from airgap.endpoints.registry.response import RegistryResponse
from airgap.endpoints.registry.session import RegistrySession, RetryBudget
from airgap.errors import AccessDeniedError, EndpointError, NotFoundError, UnavailableError
from airgap.oci.digest import ByteStream

_ACCEPTED = (200, 206, 416)
"""A server without ranges answers 200, or 416 if it has fewer bytes than expected."""

Question = tuple[RegistryRequest, tuple[int, ...], Callable[[RegistryResponse], ByteStream]]
"""The arguments of `RegistrySession.call`."""


class RangedBlob:
    """A blob at a registry whose ranges are requested by several threads.

    All answers must be ranges of the same content, as far as their headers show; the caller checks the
    digest. If the registry redirects to its storage, that link is used as long as the storage accepts it, so
    that the registry is not asked about each piece.
    """

    def __init__(
        self,
        session: RegistrySession,
        request: RegistryRequest,
        size: int,
        open_rest: Callable[[int], ByteStream],
    ) -> None:
        """`open_rest` opens the blob at an offset over one connection, for when ranges fail."""
        self._session = session
        self._request = request
        self._link: str | None = None
        self._tags: tuple[str | None, ...] | None = None
        self._budget = session.retry_budget(size=size)
        self.size = size
        self.open_rest = open_rest

    @property
    def subject(self) -> str:
        """Its name in errors."""
        return self._request.subject

    @property
    def options(self) -> RegistryOptions:
        """The options of the session."""
        return self._session.options

    def retry_budget(self) -> RetryBudget:
        """Return the retries for a piece."""
        return self._budget.for_part()

    def ask(self, start: int, stop: int) -> Question:
        """Return the request for the bytes from `start` up to `stop`, exclusive, and its reader."""
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        request = replace(self._request, url=self._link or self._request.url, headers=headers)
        return request, _ACCEPTED, lambda response: self._open(response, start, stop)

    def open(self, start: int, stop: int) -> ByteStream:
        """Open the bytes from `start` up to `stop`, exclusive, with one try."""
        question = self.ask(start, stop)
        kept_link = question[0].url != self._request.url
        try:
            return self._session.call_once(*question)
        except EndpointError as error:
            if isinstance(error, UnavailableError) or not (kept_link or isinstance(error, LinkRefusedError)):
                raise
            self._link = None  # it may have expired: the registry is asked for another one
            raise TemporaryError(error.what, subject=error.subject, got=error.got) from error

    def _open(self, response: RegistryResponse, start: int, stop: int) -> ByteStream:
        tags = tuple(response.headers.get(name) for name in ("ETag", "Docker-Content-Digest"))
        if not response.is_piece(start, stop, self.size) or self._tags not in (None, tags):
            raise response.not_piece_error(start, stop, self.size)
        self._tags = tags
        if not self._session.is_own(response.url):
            self._link = response.url
        return response.stream(stop - start)


def may_be_about_ranges(error: EndpointError) -> bool:
    """Return whether the same content may be available without ranges."""
    refused = AccessDeniedError, NotFoundError, UnavailableError
    return isinstance(error, LinkRefusedError) or not isinstance(error, refused)
