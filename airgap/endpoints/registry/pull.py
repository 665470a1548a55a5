"""The pull side of the OCI distribution-spec 1.1: one registry as a `ContentSource`."""

import io
from collections.abc import Callable
from dataclasses import replace

from airgap.endpoints.registry.config import RegistryOptions
from airgap.endpoints.registry.errors import LinkRefusedError, TemporaryError
from airgap.endpoints.registry.request import PULL, RegistryRequest
from airgap.endpoints.registry.response import NO_HEAD, RegistryResponse
from airgap.endpoints.registry.session import RegistrySession, RetryBudget
from airgap.errors import EndpointError, NotFoundError, UnavailableError
from airgap.oci.digest import CHUNK, ByteStream, Digest
from airgap.oci.documents import DOCUMENT_TYPES, Descriptor
from airgap.oci.reference import ImageReference

_PROGRESS_BYTES = 64 << 10
"""Bytes since the last failure that count as progress; a link that brings fewer each time is given up."""


class Puller:
    """Fetches from one host, whatever registry a reference names. Retries temporary failures."""

    def __init__(self, session: RegistrySession) -> None:
        self.session = session

    def find(self, reference: ImageReference) -> Descriptor | None:
        """Resolve an image that is not required; None if it does not exist."""
        try:
            return self.resolve(reference, optional=True)
        except NotFoundError:
            return None

    def resolve(self, reference: ImageReference, *, optional: bool = False) -> Descriptor:
        """See `ContentSource`. The digest of a tag is only the registry's claim until the bytes are read."""
        name = reference.digest or reference.tag
        descriptor = self.describe(reference, name, PULL, optional=optional)
        if descriptor.media_type not in DOCUMENT_TYPES:
            raise EndpointError(
                "not an image",
                subject=self.session.requests.manifest("GET", reference, name).subject,
                want="an image manifest or image index of OCI or Docker (schema 2)",
                got=descriptor.media_type or "no Content-Type",
            )
        return descriptor

    def describe(
        self, reference: ImageReference, name: object, actions: str, *, optional: bool = False
    ) -> Descriptor:
        """Return the descriptor of a tag or digest, by HEAD, or by GET if HEAD reports too little.

        Args:
            reference: An image in the repository.
            name: The tag or digest.
            actions: What a token must allow, for instance `pull`.
            optional: True if the work does not need an answer.
        """
        wanted = name if isinstance(name, Digest) else None

        head = self.session.requests.manifest("HEAD", reference, name, actions)
        head = replace(head, optional=optional)
        descriptor = self.session.call(
            head, (200, *NO_HEAD), lambda response: response.describe_by_headers(wanted)
        )
        if descriptor is not None:
            return descriptor
        get = replace(head, method="GET")
        return self.session.call(get, (200,), lambda response: response.describe_by_body(wanted))

    def read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        """See `ContentSource`."""
        request = self.session.requests.manifest("GET", reference, descriptor.digest)
        return self.session.call(request, (200,), RegistryResponse.read)

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        """See `ContentSource`. The stream survives temporary failures, as `BlobDownload` does."""
        size = descriptor.size
        if offset == size > 0:
            return io.BytesIO()  # HTTP has no empty range

        def start(response: RegistryResponse) -> ByteStream:
            if offset and not response.is_rest(offset, size):
                raise response.not_rest_error(offset, size)
            return response.stream(size - offset)

        # A server without ranges answers 200, or 416 if it has fewer bytes than expected.
        accept = (200, 206, 416) if offset else (200,)
        first = self.session.call(self._blob(reference, descriptor, offset), accept, start)
        budget = self.session.retry_budget(size=size - offset)
        return BlobDownload(
            first,
            lambda position: self._reopen(reference, descriptor, position),
            offset=offset,
            size=size,
            budget=budget,
        )

    def close(self) -> None:
        """Close idle connections."""
        self.session.close()

    def _blob(self, reference: ImageReference, descriptor: Descriptor, offset: int) -> RegistryRequest:
        request = self.session.requests.blob("GET", reference, descriptor.digest)
        return replace(request, headers={"Range": f"bytes={offset}-"}) if offset else request

    def _reopen(self, reference: ImageReference, descriptor: Descriptor, position: int) -> ByteStream:
        """Open the blob from `position` on, with one try, after a connection broke. The registry itself is
        asked again each time: the links to storage that it gives expire.
        """

        def start(response: RegistryResponse) -> ByteStream:
            if response.is_rest(position, descriptor.size):
                return response.stream(descriptor.size - position)
            if response.status != 200:
                raise response.not_rest_error(position, descriptor.size)
            return _skip(response, descriptor.size, position, self.session.options)

        try:
            request = self._blob(reference, descriptor, position)
            return self.session.call_once(request, (200, 206, 416), start)
        except LinkRefusedError as error:
            raise TemporaryError(error.what, subject=error.subject, got=error.got) from error


def _skip(response: RegistryResponse, size: int, position: int, options: RegistryOptions) -> ByteStream:
    """Return the body after its first `position` bytes, from a server that does not support ranges."""
    if position > options.max_skip:
        raise UnavailableError(
            "the connection broke, and the registry cannot resume a download",
            subject=response.subject,
            got=f"{position:,} bytes to fetch again; the limit is {options.max_skip:,}",
        )
    stream = response.stream(size)
    buffer = memoryview(bytearray(min(position, CHUNK)))
    while position:
        count = stream.readinto(buffer[:position])
        if not count:
            raise EndpointError(
                "cannot resume the download", subject=response.subject, got=f"{position:,} bytes missing"
            )
        position -= count
    return stream


class BlobDownload(io.RawIOBase):
    """A blob's bytes from `offset` on as a `ByteStream`, over as many connections as it takes. When one
    breaks, `open_at` gives the next one, which starts where this one ended.

    Raises `TemporaryError` if the `budget` of retries is used up, and whatever else `open_at` raises; it is
    closed then. The content is not checked: it ends where HTTP says it ends.
    """

    def __init__(
        self,
        first: ByteStream,
        open_at: Callable[[int], ByteStream],
        *,
        offset: int,
        size: int,
        budget: RetryBudget,
    ) -> None:
        super().__init__()
        self._body: ByteStream | None = first
        self._open_at = open_at
        self._position = self._failed_at = offset
        self._size = size
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        if self.closed:
            raise UnavailableError("the download is closed")
        try:
            count = self._read(memoryview(buffer))
        except EndpointError:
            self.close()
            raise
        self._position += count
        return count

    def _read(self, view: memoryview) -> int:
        while True:
            try:
                if self._body is None:
                    self._body = self._open_at(self._position)
                return self._body.readinto(view) or 0
            except TemporaryError as error:
                if self._position >= self._size:
                    return 0  # the blob is complete: only the end of the message is missing
                self._drop()
                if self._position - self._failed_at >= _PROGRESS_BYTES:
                    self._budget.progressed()
                self._failed_at = self._position
                self._budget.pause(error)

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
        self._body = None

    def close(self) -> None:
        """Close the stream, and cut the connection if the blob was not read to its end; idempotent."""
        self._drop()
        super().close()
