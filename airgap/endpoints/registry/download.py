"""A file at an address of a web server, fetched as registries are: proxies, CAs, redirects, resumes."""

from dataclasses import replace
from urllib.parse import urlsplit

from airgap.endpoints.registry.address import follow
from airgap.endpoints.registry.config import RegistryOptions
from airgap.endpoints.registry.pull import Puller
from airgap.endpoints.registry.request import RegistryRequest
from airgap.endpoints.registry.response import RegistryResponse
from airgap.endpoints.registry.session import RegistrySession
from airgap.endpoints.web import WebSource
from airgap.errors import EndpointError
from airgap.limits import MAX_BLOB_BYTES
from airgap.oci.digest import ByteStream
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference


class Download(WebSource):
    """One file at an address. It follows redirects as a registry's are followed: never to another scheme
    than HTTPS, and never further inside. It resumes after temporary failures.
    """

    def __init__(self, url: str, options: RegistryOptions) -> None:
        parts = urlsplit(url)
        self._url = url
        self._session = RegistrySession(parts.netloc, replace(options, plain_http=parts.scheme == "http"))
        self._puller = _Puller(self._session, self._request())

    @property
    def name(self) -> str:
        return self._url

    def measure(self) -> int:
        return self._session.call(self._request(), (200,), _size)

    def read(self, limit: int) -> bytes:
        return self._session.call(self._request(), (200,), lambda response: response.read(limit))

    def follow(self, location: str) -> str:
        return follow(self._url, location, self._session.options, self._url)

    def resolve(self, reference: ImageReference) -> Descriptor:  # noqa: ARG002
        raise self._no_images()

    def _read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:  # noqa: ARG002
        raise self._no_images()

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        return self._puller.open_blob(reference, descriptor, offset)

    def _no_images(self) -> EndpointError:
        return EndpointError("a web address has no images", subject=self._url)

    def _request(self) -> RegistryRequest:
        return RegistryRequest(method="GET", url=self._url, subject=self._url)


class _Puller(Puller):
    """A puller that requests one address for any blob."""

    def __init__(self, session: RegistrySession, request: RegistryRequest) -> None:
        super().__init__(session)
        self._request = request

    def _blob(self, reference: ImageReference, descriptor: Descriptor) -> RegistryRequest:  # noqa: ARG002
        return self._request


def _size(response: RegistryResponse) -> int:
    """Return the size in the header. The body is not read."""
    with response:
        if response.length is None:
            raise EndpointError(
                "the server does not state the size of the file",
                subject=response.subject,
                want="Content-Length",
                hint="download the file, and name it with `path:`",
            )
        if response.length > MAX_BLOB_BYTES:
            want = f"at most {MAX_BLOB_BYTES:,} bytes"
            raise EndpointError("too large", subject=response.subject, want=want, got=f"{response.length:,}")
        return response.length
