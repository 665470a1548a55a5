"""The push side of the OCI distribution-spec 1.1: one registry as a `ContentTarget`."""

import contextlib
import threading
from collections.abc import Callable

from airgap.endpoints.registry.answers import NO_HEAD, check_stored
from airgap.endpoints.registry.errors import TemporaryError
from airgap.endpoints.registry.hints import is_locked
from airgap.endpoints.registry.session import Session
from airgap.endpoints.registry.transport import Response
from airgap.endpoints.registry.upload import BlobUpload
from airgap.endpoints.registry.urls import PUSH, Names
from airgap.errors import (
    EndpointError,
    ImmutableTagError,
    LoginError,
    RefusedError,
    SparseIndexError,
    UnavailableError,
)
from airgap.oci.digest import ByteStream, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference

_NOT_SAID = (400, 401, 403, 406, 410)
"""Artifactory answers 403 if the login may not read a repository behind a virtual one, others 401 or 400."""

_REFUSALS = frozenset({200, 202, 204, 400, 404, 405, 406, 409, 410, 412, 413, 415, 422, 500, 501})
"""Statuses that refuse the document or its name, and nothing else."""


class Pusher:
    """Sends to one registry, regardless of the registry that a reference names; for several threads."""

    def __init__(self, session: Session, names: Names) -> None:
        self._session = session
        self._names = names
        self._lock = threading.Lock()
        self._holders: dict[Digest, ImageReference] = {}
        """For each blob that was found there, a repository that has it."""

    def holds(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        """See `ContentTarget`. An inconclusive answer counts as no: the push will show."""
        request = self._names.blob("HEAD", reference, descriptor.digest)

        def same(response: Response) -> bool:
            with response:
                return response.status == 200 and response.length == descriptor.size

        try:
            found = self._session.call(request, (200, 404, *NO_HEAD), same)
        except (LoginError, UnavailableError):
            raise
        except EndpointError as error:
            if error.status not in _NOT_SAID:
                raise
            found = False
        if found:
            self._remember(reference, descriptor.digest)
        return found

    def put_blob(self, reference: ImageReference, descriptor: Descriptor, stream: ByteStream) -> None:
        """See `ContentTarget`. `stream` is read once, or not at all if the blob can be mounted."""
        upload = self._begin(reference, descriptor)
        if upload is not None:
            upload.send(stream)
        self._remember(reference, descriptor.digest)

    def mount(self, reference: ImageReference, descriptor: Descriptor, source: ImageReference) -> bool:
        """See `RegistryTarget`."""
        mounted = BlobUpload(self._session, self._names, reference, descriptor).mount(source)
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
        headers = {"Content-Type": descriptor.media_type}
        request = self._names.manifest("PUT", reference, name, PUSH, headers=headers, body=raw)

        def stored(response: Response) -> str | None:
            check_stored(response, descriptor.digest, request.subject)
            return response.headers.get("OCI-Subject")

        try:
            return self._session.call(request, (201,), stored)
        except EndpointError as error:
            if (refused := _refused(error, descriptor)) is None:
                raise
            raise refused from error

    def _begin(self, reference: ImageReference, descriptor: Descriptor) -> BlobUpload | None:
        """Begin an upload; None if there is no content left to send."""
        upload = BlobUpload(self._session, self._names, reference, descriptor)
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
    if error.status in (403, *_REFUSALS) and is_locked(str(error.got)):
        kind, what = ImmutableTagError, "the registry does not allow this tag to be changed"
    elif isinstance(error, SparseIndexError) or error.status not in _REFUSALS:
        return None
    else:
        kind, what = RefusedError, f"the registry refuses this {descriptor.media_type}"
    found = kind(what, subject=error.subject, got=error.got, hint=error.hint)
    found.status = error.status
    return found
