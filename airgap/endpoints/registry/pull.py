"""The pull side of the OCI distribution-spec 1.1: one registry as a `ContentSource`."""

import io
import logging
from dataclasses import replace

from airgap.endpoints.registry.blob_download import BlobDownload
from airgap.endpoints.registry.errors import LinkRefusedError, TemporaryError
from airgap.endpoints.registry.pieces import PieceConnections, PieceDownload
from airgap.endpoints.registry.ranged_blob import RangedBlob, may_be_about_ranges
from airgap.endpoints.registry.request import PULL, RegistryRequest
from airgap.endpoints.registry.response import NO_HEAD, RegistryResponse
from airgap.endpoints.registry.session import RegistrySession
from airgap.errors import EndpointError, NotFoundError, UnavailableError
from airgap.oci.digest import CHUNK, ByteStream, Digest
from airgap.oci.documents import DOCUMENT_TYPES, Descriptor
from airgap.oci.reference import ImageReference

log = logging.getLogger(__name__)


class Puller:
    """Fetches from one host, whatever registry a reference names. Retries temporary failures."""

    def __init__(self, session: RegistrySession) -> None:
        self.session = session
        options = session.options
        self._connections = PieceConnections(options.piece_connections, options.piece_size)

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
        """See `ContentSource`. The stream survives temporary failures, as `BlobDownload` does. A large blob
        comes over several connections, where the registry supports ranges: see `pieces`.
        """
        if offset == descriptor.size > 0:
            return io.BytesIO()  # HTTP has no empty range
        request = self._blob(reference, descriptor)
        if self._connections.join(descriptor.size - offset):
            try:
                return self._open_pieces(request, descriptor.size, offset)
            except EndpointError as error:
                self._connections.leave()
                if not may_be_about_ranges(error):
                    raise
                log.info("%s: large blobs come over one connection each: %s", self.session.host, error)
                self._connections.stop()
        return self._open_alone(request, descriptor.size, offset)

    def _open_pieces(self, request: RegistryRequest, size: int, offset: int) -> ByteStream:
        """Open a blob by ranges. Only the first one is requested here, which shows whether this works."""
        blob = RangedBlob(
            self.session, request, size, lambda position: self._open_rest(request, size, position)
        )
        stop = min(offset + self.session.options.piece_size, size)
        first = self.session.call(*blob.ask(offset, stop))
        return PieceDownload(first, blob, self._connections, offset, stop)

    def _open_alone(self, request: RegistryRequest, size: int, offset: int) -> ByteStream:
        """Open a blob over one connection at a time."""

        def start(response: RegistryResponse) -> ByteStream:
            if offset and not response.is_rest(offset, size):
                raise response.not_rest_error(offset, size)
            return response.stream(size - offset)

        # A server without ranges answers 200, or 416 if it has fewer bytes than expected.
        accept = (200, 206, 416) if offset else (200,)
        first = self.session.call(_from(request, offset), accept, start)
        return self._resumable(first, request, size, offset)

    def _open_rest(self, request: RegistryRequest, size: int, position: int) -> ByteStream:
        """Open a blob from `position` on, after its pieces failed. If the registry sends all of it, all that
        precedes is fetched again: the alternative would be a second download of everything.
        """

        def start(response: RegistryResponse) -> ByteStream:
            return _rest(response, size, position, max_skip=size)

        first = self.session.call(_from(request, position), (200, 206, 416), start)
        return self._resumable(first, request, size, position)

    def _resumable(self, first: ByteStream, request: RegistryRequest, size: int, offset: int) -> BlobDownload:
        return BlobDownload(
            first,
            lambda position: self._reopen(request, size, position),
            offset=offset,
            size=size,
            budget=self.session.retry_budget(size=size - offset),
        )

    def close(self) -> None:
        """Close idle connections."""
        self.session.close()

    def _blob(self, reference: ImageReference, descriptor: Descriptor) -> RegistryRequest:
        return self.session.requests.blob("GET", reference, descriptor.digest)

    def _reopen(self, request: RegistryRequest, size: int, position: int) -> ByteStream:
        """Open the blob from `position` on, with one try, after a connection broke. The registry itself is
        asked again each time: the links to storage that it gives expire.
        """

        def start(response: RegistryResponse) -> ByteStream:
            return _rest(response, size, position, self.session.options.max_skip)

        try:
            return self.session.call_once(_from(request, position), (200, 206, 416), start)
        except LinkRefusedError as error:
            raise TemporaryError(error.what, subject=error.subject, got=error.got) from error


def _from(request: RegistryRequest, offset: int) -> RegistryRequest:
    return replace(request, headers={"Range": f"bytes={offset}-"}) if offset else request


def _rest(response: RegistryResponse, size: int, position: int, max_skip: int) -> ByteStream:
    """Return the bytes from `position` on, of a server that supports ranges or one that does not."""
    if response.is_rest(position, size):
        return response.stream(size - position)
    if response.status != 200:
        raise response.not_rest_error(position, size)
    return _skip(response, size, position, max_skip)


def _skip(response: RegistryResponse, size: int, position: int, max_skip: int) -> ByteStream:
    """Return the body after its first `position` bytes, from a server that does not support ranges."""
    if position > max_skip:
        raise UnavailableError(
            "the connection broke, and the registry cannot resume a download",
            subject=response.subject,
            got=f"{position:,} bytes to fetch again; the limit is {max_skip:,}",
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
