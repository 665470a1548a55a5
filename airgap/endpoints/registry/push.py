"""The push side of the OCI distribution-spec 1.1: one registry as a `ContentTarget`."""

import contextlib
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlencode

from airgap.endpoints.registry.address import follow_upload
from airgap.endpoints.registry.errors import TemporaryError, says_tag_is_immutable
from airgap.endpoints.registry.request import DELETE, PUSH, RegistryRequest, UploadBody
from airgap.endpoints.registry.response import NO_HEAD, RegistryResponse
from airgap.endpoints.registry.session import RegistrySession
from airgap.errors import (
    EndpointError,
    ImmutableTagError,
    LoginError,
    NotFoundError,
    RefusedError,
    SparseIndexError,
    UnavailableError,
)
from airgap.oci.digest import ByteStream, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference

_INCONCLUSIVE = (400, 401, 403, 406, 410)
"""Artifactory answers 403 if the login may not read a repository behind a virtual one, others 401 or 400."""

_REFUSALS = frozenset({200, 202, 204, 400, 404, 405, 406, 409, 410, 412, 413, 415, 422, 500, 501})
"""Statuses that refuse the document or its name, and nothing else."""

_OFFSET = re.compile(r"(?:bytes=)?0-([0-9]{1,15})", re.ASCII)
_BYTES = {"Content-Type": "application/octet-stream"}


class Pusher:
    """Sends to one registry, regardless of the registry that a reference names; for several threads."""

    def __init__(self, session: RegistrySession) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._holders: dict[Digest, ImageReference] = {}
        """For each blob that was found there, a repository that has it."""

    def holds(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        """See `ContentTarget`. An inconclusive answer counts as no: the push will show."""
        request = self._session.requests.blob("HEAD", reference, descriptor.digest, PUSH)

        def has_size(response: RegistryResponse) -> bool:
            with response:
                return response.status == 200 and response.length == descriptor.size

        try:
            present = self._session.call(request, (200, 404, *NO_HEAD), has_size)
        except (LoginError, UnavailableError):
            raise
        except EndpointError as error:
            if error.status not in _INCONCLUSIVE:
                raise
            present = False
        if present:
            self._remember(reference, descriptor.digest)
        return present

    def put_blob(self, reference: ImageReference, descriptor: Descriptor, stream: ByteStream) -> None:
        """See `ContentTarget`. `stream` is read once, or not at all if the blob can be mounted."""
        upload = self._begin(reference, descriptor)
        if upload is not None:
            upload.send(stream)
        self._remember(reference, descriptor.digest)

    def mount(self, reference: ImageReference, descriptor: Descriptor, source: ImageReference) -> bool:
        """See `RegistryTarget`."""
        mounted = BlobUpload(self._session, reference, descriptor).mount(source)
        if mounted:
            self._remember(reference, descriptor.digest)
        return mounted

    def upload(
        self, reference: ImageReference, descriptor: Descriptor, open_at: Callable[[int], ByteStream]
    ) -> None:
        """See `ContentTarget`."""
        upload = self._begin(reference, descriptor)
        budget = self._session.retry_budget(size=descriptor.size)
        best = 0
        while upload is not None:
            try:
                with contextlib.closing(open_at(upload.offset)) as stream:
                    upload.send(stream)
                break
            except TemporaryError as error:
                budget.pause(error)
            if not upload.recover():
                if self.holds(reference, descriptor):
                    break  # only the answer was lost
                upload.start()
            if upload.offset > best:
                best = upload.offset
                budget.progressed()
        self._remember(reference, descriptor.digest)

    def put(self, reference: ImageReference, name: object, descriptor: Descriptor, raw: bytes) -> str | None:
        """Store a document under a tag or digest. Return the subject's digest if the registry reports that it
        has listed the document as a referrer (OCI distribution-spec 1.1, `OCI-Subject`).
        """
        request = self._session.requests.manifest("PUT", reference, name, PUSH)
        request = replace(request, headers={"Content-Type": descriptor.media_type}, body=raw)

        def stored(response: RegistryResponse) -> str | None:
            response.check_stored(descriptor.digest)
            return response.headers.get("OCI-Subject")

        try:
            return self._session.call(request, (201,), stored)
        except EndpointError as error:
            if (refused := _refused(error, descriptor)) is None:
                raise
            raise refused from error

    def remove_tag(self, reference: ImageReference) -> None:
        """Remove a tag, and no other tag of the image (OCI distribution-spec 1.1, "Deleting tags"). It is not
        an error if the tag is absent. An image is never deleted by its digest, which others may use.

        Raises `EndpointError`, also from a registry that does not remove tags.
        """
        if reference.tag is None:
            raise EndpointError("only tags are removed at a registry", subject=reference)
        request = self._session.requests.manifest("DELETE", reference, reference.tag, DELETE)
        try:
            self._session.call(request, (200, 202, 204, 404), RegistryResponse.close)
        except EndpointError as error:
            if error.status in (400, 405, 501):
                what = "the registry does not remove tags"
                raise EndpointError(what, subject=error.subject, got=error.got) from error
            raise

    def _begin(self, reference: ImageReference, descriptor: Descriptor) -> "BlobUpload | None":
        """Begin an upload; None if there is no content left to send."""
        upload = BlobUpload(self._session, reference, descriptor)
        holder = self._holders.get(descriptor.digest)
        if holder is not None and holder.repository != reference.repository and upload.mount(holder):
            return None
        if not upload.started:
            upload.start()
        return upload

    def _remember(self, reference: ImageReference, digest: Digest) -> None:
        with self._lock:
            self._holders[digest] = reference


def _refused(error: EndpointError, descriptor: Descriptor) -> EndpointError | None:
    """Return the error for a refused document; None if the refusal has another cause."""
    kind: type[RefusedError]
    if error.status in (403, *_REFUSALS) and says_tag_is_immutable(str(error.got)):
        kind, what = ImmutableTagError, "the registry does not allow this tag to be changed"
    elif isinstance(error, SparseIndexError) or error.status not in _REFUSALS:
        return None
    else:
        kind, what = RefusedError, f"the registry refuses this {descriptor.media_type}"
    refusal = kind(what, subject=error.subject, got=error.got, hint=error.hint)
    refusal.status = error.status
    return refusal


class BlobUpload:
    """Sends the blob `descriptor` to the repository of `reference`; for one thread.

    Each step is tried again as long as no bytes were taken from a stream. After a `TemporaryError` of `send`,
    `recover` returns whether the upload can resume.
    """

    def __init__(self, session: RegistrySession, reference: ImageReference, descriptor: Descriptor) -> None:
        self._session = session
        self._digest, self._size = descriptor.digest, descriptor.size
        self._start = session.requests.make(
            "POST", reference, "blobs/uploads/", f": upload of {descriptor.digest}", PUSH
        )
        self._subject = self._start.subject
        self._url = ""
        self.offset = 0
        """The number of bytes that the registry has."""

    def start(self) -> None:
        """Begin the upload, also from the start again."""
        self._begin(self._start, (202,))

    def mount(self, holder: ImageReference) -> bool:
        """Return whether the registry takes the blob over from another of its repositories, so that no
        content is left to send. If not, the upload may have begun nevertheless: see `started`.
        """
        query = urlencode({"mount": self._digest, "from": self._session.requests.repository(holder)})
        scope = f"{self._start.scope} {self._session.requests.blob('GET', holder, self._digest).scope}"
        request = replace(self._start, url=f"{self._start.url}?{query}", scope=scope)
        try:
            return self._begin(request, (201, 202)) == 201
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
            self._commit(UploadBody(stream, self._size, self._subject))
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

    def _begin(self, request: RegistryRequest, accept: tuple[int, ...]) -> int:
        return self._session.call(request, accept, lambda response: self._begun(response, request.url))

    def _begun(self, response: RegistryResponse, url: str) -> int:
        if response.status == 201:
            response.check_stored(self._digest)
        else:
            self._move(response, url)
            self.offset = 0
        return response.status

    def _append(self, stream: ByteStream, size: int) -> None:
        end = self.offset + size
        headers = _BYTES | {"Content-Range": f"{self.offset}-{end - 1}"}
        body = UploadBody(stream, size, self._subject, last=end == self._size)
        request = replace(self._start, method="PATCH", url=self._url, headers=headers, body=body)
        self._step(request, 202, lambda response: self._move(response, request.url))
        self.offset = end

    def _commit(self, body: bytes | UploadBody) -> None:
        url = f"{self._url}{'&' if '?' in self._url else '?'}{urlencode({'digest': self._digest})}"
        request = replace(self._start, method="PUT", url=url, headers=_BYTES, body=body)
        self._step(request, 201, lambda response: response.check_stored(self._digest))

    def _ask_offset(self) -> int:
        """Return the offset; -1 if the registry no longer knows the upload, or its answer is impossible."""

        def read_offset(response: RegistryResponse) -> int:
            self._move(response, self._url)
            match = _OFFSET.fullmatch(response.headers.get("Range", ""))
            return int(match[1]) + 1 if match and int(match[1]) < self._size else -1

        request = replace(self._start, method="GET", url=self._url)
        try:
            return self._session.call(request, (204,), read_offset)
        except UnavailableError:
            raise
        except EndpointError:
            return -1

    def _move(self, response: RegistryResponse, base: str) -> None:
        """Continue the upload at the URL that the registry gives, which may change after each step."""
        with response:
            location = response.headers.get("Location")
        if location is not None or not self._url:
            self._url = follow_upload(
                self._session.base, base, location, self._session.options, self._subject
            )

    def _step(self, request: RegistryRequest, wanted: int, then: Callable[[RegistryResponse], None]) -> None:
        def in_order(response: RegistryResponse) -> None:
            if response.status != wanted:
                raise TemporaryError("the registry expects another part of the blob", subject=self._subject)
            then(response)

        try:
            self._session.call(request, (wanted, 416), in_order)
        except NotFoundError as error:
            raise TemporaryError("the registry dropped the upload", subject=self._subject) from error
