"""Requests to one registry (OCI distribution-spec 1.1, "Endpoints"), and the blobs that they upload."""

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from urllib.parse import quote

from airgap.errors import SizeMismatchError
from airgap.oci.digest import CHUNK, ByteStream, Digest
from airgap.oci.documents import DOCUMENT_TYPES
from airgap.oci.reference import ImageReference
from airgap.values import dataclass

PULL = "pull"
PUSH = "pull,push"
DELETE = "pull,delete"

ACCEPT = {"Accept": ", ".join(sorted(DOCUMENT_TYPES))}


class UploadStopped(Exception):  # noqa: N818 - carries an error through urllib3, is none itself
    """The stream of an upload raised `error`; urllib3 would wrap or swallow some kinds of it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class UploadBody:
    """Feeds `stream` to a request in chunks, `size` bytes in all; the stream's end when it is `last`.

    Raises `UploadStopped` with what `stream` raised, or with a `SizeMismatchError` before the last
    chunk of a stream of another length.
    """

    def __init__(self, stream: ByteStream, size: int, subject: str, *, last: bool = True) -> None:
        self._stream = stream
        self.size = size
        self._subject = subject
        self._last = last
        self.started = False

    def __iter__(self) -> Iterator[memoryview]:
        self.started = True
        try:
            yield from self._chunks(memoryview(bytearray(min(CHUNK, self.size + 1))))
        except Exception as error:
            raise UploadStopped(error) from error

    def _chunks(self, buffer: memoryview) -> Iterator[memoryview]:
        done = 0
        while self._last or done < self.size:
            count = self._stream.readinto(buffer if self._last else buffer[: self.size - done])
            if not count:
                break
            done += count
            if done > self.size:
                raise self._size_error("more")
            yield buffer[:count]
        if done != self.size:
            raise self._size_error(f"{done:,} bytes")

    def _size_error(self, reason: str) -> SizeMismatchError:
        return SizeMismatchError("wrong size", subject=self._subject, want=f"{self.size:,} bytes", got=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryRequest:
    """A request to a registry, its token service or its blob storage."""

    method: str
    url: str
    subject: str
    """Its name in errors."""
    scope: str = ""
    """What a token must allow: one scope, or several separated by spaces."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | UploadBody | None = None
    optional: bool = False
    """True if the work does not need an answer: then less time is spent on getting one."""

    @property
    def writes(self) -> bool:
        """Return whether it is part of a push; such requests are not redirected."""
        return self.method not in ("GET", "HEAD")

    @property
    def repeatable(self) -> bool:
        """Return whether it can be sent again: no bytes were taken from a stream."""
        return not (isinstance(self.body, UploadBody) and self.body.started)


@dataclass(frozen=True, slots=True)
class RequestBuilder:
    """Makes requests to the registry `host` at the URL `base`; `prefix` goes before each repository.

    Only the repository of `reference` is used: its registry is ignored.
    """

    host: str
    base: str
    prefix: str

    def make(
        self, method: str, reference: ImageReference, path: str, subject: str, actions: str = PULL
    ) -> RegistryRequest:
        """Return a request.

        Args:
            method: The HTTP method.
            reference: An image in the repository.
            path: The path below the repository.
            subject: Follows the name of the repository in errors.
            actions: What a token must allow, for instance `pull,push`.
        """
        repository = self.repository(reference)
        return RegistryRequest(
            method=method,
            url=f"{self.base}/v2/{quote(repository)}/{path}",
            subject=f"{self.host}/{repository}{subject}",
            scope=f"repository:{repository}:{actions}",
        )

    def catalogue(self, count: int) -> RegistryRequest:
        """Return a request for the first `count` repositories."""
        return RegistryRequest(
            method="GET",
            url=f"{self.base}/v2/_catalog?n={count}",
            subject=f"{self.host}: catalogue",
            scope="registry:catalog:*",
        )

    def manifest(
        self, method: str, reference: ImageReference, name: object, actions: str = PULL
    ) -> RegistryRequest:
        """Return a request for the document with the tag or digest `name`. Other arguments: see `make`."""
        subject = f"@{name}" if isinstance(name, Digest) else f":{name}"
        request = self.make(method, reference, f"manifests/{quote(str(name), safe=':')}", subject, actions)
        return replace(request, headers=ACCEPT)

    def blob(
        self, method: str, reference: ImageReference, digest: Digest, actions: str = PULL
    ) -> RegistryRequest:
        """Return a request for the blob `digest`. Other arguments: see `make`."""
        return self.make(method, reference, f"blobs/{digest}", f": blob {digest}", actions)

    def repository(self, reference: ImageReference) -> str:
        """Return the repository's name at the registry."""
        return f"{self.prefix}/{reference.repository}" if self.prefix else reference.repository
