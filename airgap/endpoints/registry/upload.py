"""The upload of one blob to a registry (OCI distribution-spec 1.1, "Pushing blobs")."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from airgap.endpoints.registry.answers import check_stored
from airgap.endpoints.registry.body import Body, Upload
from airgap.endpoints.registry.errors import TemporaryError
from airgap.endpoints.registry.session import Request, Session
from airgap.endpoints.registry.transport import Response
from airgap.endpoints.registry.urls import PULL, PUSH, Names
from airgap.errors import EndpointError, NotFoundError, UnavailableError
from airgap.oci.digest import ByteStream
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference

_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,15})", re.ASCII)
_BYTES = {"Content-Type": "application/octet-stream"}


class BlobUpload:
    """Sends the blob `descriptor` to the repository of `reference`; for one thread.

    Each step is tried again as long as no bytes were taken from a stream. After a `TemporaryError` of `send`,
    `recover` returns whether the upload can resume.
    """

    def __init__(
        self, session: Session, names: Names, reference: ImageReference, descriptor: Descriptor
    ) -> None:
        self._session = session
        self._names = names
        self._reference = reference
        self._digest, self._size = descriptor.digest, descriptor.size
        self._subject = names.subject(reference, f"upload of {descriptor.digest}")
        self._url = ""
        self.offset = 0
        """The number of bytes that the registry has."""

    def start(self) -> None:
        """Begin the upload, also from the start again."""
        self._begin("", self._scope, (202,))

    def mount(self, holder: ImageReference) -> bool:
        """Return whether the registry takes the blob over from another of its repositories, so that no
        content is left to send. If not, the upload may have begun nevertheless: see `started`.
        """
        query = urlencode({"mount": self._digest, "from": self._names.repository(holder)})
        scope = f"{self._scope} {self._names.scope(holder, PULL)}"
        try:
            return self._begin(f"?{query}", scope, (201, 202)) == 201
        except UnavailableError:
            raise
        except EndpointError:
            return False  # no read access there, or mounts are not supported

    @property
    def started(self) -> bool:
        return bool(self._url)

    def send(self, stream: ByteStream) -> None:
        """Send the blob from `offset` on, which is where `stream` starts, and commit it."""
        limit = self._session.options.upload_chunk or self._size
        if self.offset == 0 and self._size <= limit:
            self._commit(Upload(stream, self._size, self._subject))
            return
        while self.offset < self._size:
            self._append(stream, min(limit, self._size - self.offset))
        self._commit(b"")

    def recover(self) -> bool:
        """Find out `offset` after a failure. Return False if the registry does not report it, so that only
        `start` is left.
        """
        self.offset = self._ask_offset()
        return self.offset > 1  # `0-0` means one byte, or none

    @property
    def _scope(self) -> str:
        return self._names.scope(self._reference, PUSH)

    def _begin(self, query: str, scope: str, accept: tuple[int, ...]) -> int:
        url = self._names.url(self._reference, "blobs/uploads/") + query
        request = Request("POST", url, self._subject, scope)
        return self._session.call(request, accept, lambda response: self._begun(response, url))

    def _begun(self, response: Response, url: str) -> int:
        if response.status == 201:
            check_stored(response, self._digest, self._subject)
        else:
            self._move(response, url)
            self.offset = 0
        return response.status

    def _append(self, stream: ByteStream, size: int) -> None:
        end = self.offset + size
        headers = _BYTES | {"Content-Range": f"{self.offset}-{end - 1}"}
        body = Upload(stream, size, self._subject, last=end == self._size)
        request = self._request("PATCH", self._url, headers, body)
        self._step(request, 202, lambda response: self._move(response, request.url))
        self.offset = end

    def _commit(self, body: Body) -> None:
        url = f"{self._url}{'&' if '?' in self._url else '?'}{urlencode({'digest': self._digest})}"
        request = self._request("PUT", url, _BYTES, body)
        self._step(request, 201, lambda response: check_stored(response, self._digest, self._subject))

    def _ask_offset(self) -> int:
        """Return the offset; -1 if the registry no longer knows the upload, or its answer is impossible."""

        def read(response: Response) -> int:
            self._move(response, self._url)
            found = _RANGE.fullmatch(response.headers.get("Range", ""))
            return int(found[1]) + 1 if found and int(found[1]) < self._size else -1

        request = self._request("GET", self._url)
        try:
            return self._session.call(request, (204,), read)
        except UnavailableError:
            raise
        except EndpointError:
            return -1

    def _move(self, response: Response, base: str) -> None:
        """Continue the upload at the URL that the registry gives, which may change after each step."""
        with response:
            location = response.headers.get("Location")
        if location is not None or not self._url:
            self._url = self._session.locate_upload(location, base, self._subject)

    def _request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Body | None = None
    ) -> Request:
        return Request(method, url, self._subject, self._scope, headers or {}, body)

    def _step(self, request: Request, wanted: int, then: Callable[[Response], None]) -> None:
        def in_order(response: Response) -> None:
            if response.status != wanted:
                raise TemporaryError("the registry expects another part of the blob", subject=self._subject)
            then(response)

        try:
            self._session.call(request, (wanted, 416), in_order)
        except NotFoundError as error:
            raise TemporaryError("the registry dropped the upload", subject=self._subject) from error
