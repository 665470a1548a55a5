"""Mirrors of a registry: asked first, and their answers checked."""

import io
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from airgap.endpoints.registry.config import RegistryOptions
from airgap.endpoints.registry.pull import Puller
from airgap.endpoints.registry.session import RegistrySession
from airgap.errors import AirgapError, EndpointError, UnavailableError, UsageError
from airgap.oci.digest import ByteStream, Digest
from airgap.oci.documents import Descriptor, check_size_and_digest
from airgap.oci.reference import HOST_PATTERN, ImageReference

log = logging.getLogger(__name__)

T = TypeVar("T")

_RETRIES = 1
_MAX_WAIT_SECONDS = 60.0
"""Both are low, as there is always another registry to ask."""
_MIRROR = re.compile(rf"(?:(https?)://)?({HOST_PATTERN})(?:/([a-z0-9._/-]*))?", re.ASCII)


class MirroredPuller:
    """Pulls from `mirrors`, in order, and then from `home`; for several threads.

    After any failure of a mirror, even in the middle of a blob, the next one is asked; failures of `home` are
    raised. A mirror that cannot be reached is not asked again. Documents from a mirror are checked here; a
    blob cannot be, so one that is requested again from its first byte comes from `home`.
    """

    def __init__(self, home: Puller, mirrors: Sequence[Puller]) -> None:
        self._home = home
        self._mirrors = list(mirrors)
        self._served: set[Digest] = set()
        """Blobs that a mirror has begun to serve."""

    def resolve(self, reference: ImageReference) -> Descriptor:
        """See `ContentSource`."""
        return self._first(lambda puller: puller.resolve(reference))

    def read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        """See `ContentSource`."""

        def ask(puller: Puller) -> bytes:
            raw = puller.read_document(reference, descriptor)
            return raw if puller is self._home else check_size_and_digest(raw, descriptor, reference)

        return self._first(ask)

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        """See `ContentSource`."""
        again = descriptor.digest in self._served and offset == 0
        if again or not self._mirrors:
            return self._home.open_blob(reference, descriptor, offset)
        self._served.add(descriptor.digest)
        return _ChangingDownload(self, [*self._mirrors, self._home], reference, descriptor, offset)

    def close(self) -> None:
        """Close idle connections."""
        for puller in (*self._mirrors, self._home):
            puller.close()

    def _first(self, ask: Callable[[Puller], T]) -> T:
        for mirror in self._mirrors:
            try:
                return ask(mirror)
            except AirgapError as error:
                self.failed(mirror, error)
        return ask(self._home)

    def failed(self, puller: Puller, error: AirgapError) -> None:
        """Record a failure: a mirror that cannot be reached is not asked again."""
        if puller is not self._home:
            log.info("mirror %s failed, and the next registry is asked: %s", puller.session.host, error)
        if isinstance(error, UnavailableError):
            self._mirrors = [mirror for mirror in self._mirrors if mirror is not puller]


class _ChangingDownload(io.RawIOBase):
    """A blob's bytes from the first of `pullers` that has them; if it fails, the next one resumes.

    Raises the last one's error.
    """

    def __init__(
        self,
        mirrored: MirroredPuller,
        pullers: list[Puller],
        reference: ImageReference,
        descriptor: Descriptor,
        offset: int,
    ) -> None:
        super().__init__()
        self._mirrored = mirrored
        self._pullers = pullers
        self._reference = reference
        self._descriptor = descriptor
        self._position = offset
        self._body = self._open_next()

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        view = memoryview(buffer)
        while True:
            try:
                count = self._body.readinto(view) or 0
            except EndpointError:
                if not self._pullers:
                    raise
            else:
                if count or not view or self._position >= self._descriptor.size or not self._pullers:
                    self._position += count
                    return count
            self._body.close()
            self._body = self._open_next()

    def _open_next(self) -> ByteStream:
        while True:
            puller = self._pullers.pop(0)
            try:
                return puller.open_blob(self._reference, self._descriptor, self._position)
            except EndpointError as error:
                self._mirrored.failed(puller, error)
                if not self._pullers:
                    raise

    def close(self) -> None:
        """Close the stream; idempotent."""
        self._body.close()
        super().close()


def open_mirror(text: str, options: RegistryOptions) -> Puller:
    """Return the mirror `[http[s]://]HOST[:PORT][/PREFIX]`; raises `UsageError` for any other form.

    It does not get the client certificate that `options` names for the registry.
    """
    match = _MIRROR.fullmatch(text)
    if match is None:
        raise UsageError("not a mirror", subject=text, want="[https://]HOST[:PORT][/PREFIX]")
    scheme, host, prefix = match.groups()
    own = replace(
        options,
        plain_http={"http": True, "https": False}.get(scheme),
        prefix="/".join(filter(None, ((prefix or "").strip("/"), options.prefix))),
        retries=min(options.retries, _RETRIES),
        max_wait=min(options.max_wait, _MAX_WAIT_SECONDS),
        client_cert=None,
        client_key=None,
    )
    return Puller(RegistrySession(host, own))
