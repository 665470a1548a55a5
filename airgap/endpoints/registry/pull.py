"""The pull side of the OCI distribution-spec 1.1: one registry as a `ContentSource`."""

import io
from dataclasses import replace

from airgap.endpoints.registry.answers import NO_HEAD, from_body, from_head, is_rest, no_rest, read
from airgap.endpoints.registry.config import RegistryOptions
from airgap.endpoints.registry.download import ResumingDownload
from airgap.endpoints.registry.errors import LinkRefusedError, TemporaryError
from airgap.endpoints.registry.referrers import Lists
from airgap.endpoints.registry.session import Request, Session
from airgap.endpoints.registry.transport import Response
from airgap.endpoints.registry.urls import PULL, Names
from airgap.errors import EndpointError, NotFoundError, UnavailableError
from airgap.oci.digest import CHUNK, ByteStream, Digest
from airgap.oci.documents import DOCUMENT_TYPES, Descriptor
from airgap.oci.reference import ImageReference


class Puller:
    """Fetches from one host, whatever registry a reference names. Retries temporary failures."""

    def __init__(self, session: Session, names: Names) -> None:
        self._session = session
        self._names = names

    @classmethod
    def of(cls, host: str, options: RegistryOptions) -> "Puller":
        """Make a puller with its own session."""
        session = Session(host, options)
        return cls(session, Names(host, session.base, options.prefix))

    def lists(self) -> Lists:
        """Return the lists of the same host, using the same session."""
        return Lists(self._session, self._names)

    def resolve(self, reference: ImageReference) -> Descriptor:
        """See `ContentSource`. The digest of a tag is only the registry's claim until the bytes are read."""
        return self._resolve(reference, optional=False)

    def find(self, reference: ImageReference) -> Descriptor | None:
        """Resolve an image that is not required; None if it does not exist."""
        try:
            return self._resolve(reference, optional=True)
        except NotFoundError:
            return None

    def _resolve(self, reference: ImageReference, *, optional: bool) -> Descriptor:
        name = reference.digest or reference.tag
        found = self.describe(reference, name, PULL, optional=optional)
        if found.media_type not in DOCUMENT_TYPES:
            raise EndpointError(
                "not an image",
                subject=self._names.document(reference, name),
                want="an image manifest or image index of OCI or Docker (schema 2)",
                got=found.media_type or "no Content-Type",
            )
        return found

    def describe(
        self, reference: ImageReference, name: object, actions: str, *, optional: bool = False
    ) -> Descriptor:
        """Return the descriptor of a tag or digest, by HEAD, or by GET if HEAD reports too little."""
        asked = name if isinstance(name, Digest) else None
        head = replace(self._names.manifest("HEAD", reference, name, actions), optional=optional)
        found = self._session.call(head, (200, *NO_HEAD), lambda r: from_head(r, asked, head.subject))
        if found is None:
            get = replace(head, method="GET")
            found = self._session.call(get, (200,), lambda r: from_body(r, asked, get.subject))
        return found

    def read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        """See `ContentSource`."""
        request = self._names.manifest("GET", reference, descriptor.digest, PULL)
        return self._session.call(request, (200,), read)

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        """See `ContentSource`. The stream survives temporary failures, as `ResumingDownload` does."""
        size = descriptor.size
        if offset == size > 0:
            return io.BytesIO()  # HTTP has no empty range

        def start(response: Response) -> ByteStream:
            if offset and not is_rest(response, offset, size):
                raise no_rest(response, offset, size, self._blob(reference, descriptor, offset).subject)
            return response.stream(size - offset)

        # A server without ranges answers 200, or 416 if it has fewer bytes than expected.
        accept = (200, 206, 416) if offset else (200,)
        first = self._session.call(self._blob(reference, descriptor, offset), accept, start)
        budget = self._session.retry_budget(size=size - offset)
        return ResumingDownload(
            first, lambda position: self._reopen(reference, descriptor, position), offset, size, budget
        )

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()

    def _blob(self, reference: ImageReference, descriptor: Descriptor, offset: int) -> Request:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        return self._names.blob("GET", reference, descriptor.digest, headers)

    def _reopen(self, reference: ImageReference, descriptor: Descriptor, position: int) -> ByteStream:
        """Open the blob from `position` on, with one try, after a connection broke. The registry itself is
        asked again each time: the links to storage that it gives expire.
        """
        request = self._blob(reference, descriptor, position)

        def start(response: Response) -> ByteStream:
            if is_rest(response, position, descriptor.size):
                return response.stream(descriptor.size - position)
            if response.status != 200:
                raise no_rest(response, position, descriptor.size, request.subject)
            return self._skip(response.stream(descriptor.size), position, request.subject)

        try:
            return self._session.once(request, (200, 206, 416), start)
        except LinkRefusedError as error:
            raise TemporaryError(error.what, subject=error.subject, got=error.got) from error

    def _skip(self, stream: ByteStream, position: int, subject: str) -> ByteStream:
        """Return `stream` after its first `position` bytes, from a server that does not support ranges."""
        limit = self._session.options.max_skip
        if position > limit:
            raise UnavailableError(
                "the connection broke, and the registry cannot resume a download",
                subject=subject,
                got=f"{position:,} bytes to fetch again; the limit is {limit:,}",
            )
        buffer = memoryview(bytearray(min(position, CHUNK)))
        while position:
            got = stream.readinto(buffer[:position])
            if not got:
                raise EndpointError(
                    "cannot resume the download", subject=subject, got=f"{position:,} bytes missing"
                )
            position -= got
        return stream
