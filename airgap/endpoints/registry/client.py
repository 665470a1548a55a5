"""The pull and push side of the OCI distribution-spec 1.1, as `ContentSource` and `ContentTarget`."""

import io
from collections.abc import Mapping
from urllib.parse import quote

from airgap.endpoints.registry.body import Body, Upload
from airgap.endpoints.registry.config import RegistryOptions
from airgap.endpoints.registry.session import Request, Session
from airgap.endpoints.registry.transport import Response
from airgap.errors import DigestMismatchError, EndpointError, FormatError, NotFoundError
from airgap.oci.digest import ByteStream, Digest
from airgap.oci.documents import DOCUMENT_TYPES, Descriptor
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import MAX_BYTES

_ACCEPT = {"Accept": ", ".join(sorted(DOCUMENT_TYPES))}
_PULL = "pull"
_PUSH = "pull,push"
_NO_HEAD = (405, 501)


class Registry:
    """One registry host; safe for several threads. It asks `host`, whatever registry a reference names.

    Raises `EndpointError` and its children, and `DigestMismatchError` when the registry itself
    names another digest than the one that was asked for. `UnavailableError` comes after
    the tries that `options` allow; uploads of streams, which cannot be read twice, have one try.
    """

    def __init__(self, host: str, *, options: RegistryOptions | None = None) -> None:
        self._options = options or RegistryOptions()
        self._host = host
        self._session = Session(host, self._options)

    @property
    def name(self) -> str:
        return "/".join(filter(None, (f"registry:{self._host}", self._options.prefix)))

    def resolve(self, reference: ImageReference) -> Descriptor:
        """See `ContentSource`. The digest is the registry's word for a tag until the bytes are read."""
        name = reference.digest or reference.tag
        found = self._describe(reference, name, _PULL)
        if found.media_type not in DOCUMENT_TYPES:
            raise EndpointError(
                "not an image",
                subject=self._document_subject(reference, name),
                want="an image manifest or image index of OCI or Docker (schema 2)",
                got=found.media_type or "no Content-Type",
            )
        return found

    def read_document(self, reference: ImageReference, descriptor: Descriptor) -> bytes:
        request = self._manifest("GET", reference, descriptor.digest, _PULL)
        return self._session.call(request, (200,), _read)

    def open_blob(self, reference: ImageReference, descriptor: Descriptor, offset: int = 0) -> ByteStream:
        if offset == descriptor.size > 0:
            return io.BytesIO()  # HTTP has no empty range
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        request = self._blob("GET", reference, descriptor, _PULL, headers)
        # A server that cannot give a range answers 200, or 416 if it has less than we think.
        accept = (200, 206, 416) if offset else (200,)

        def start(response: Response) -> ByteStream:
            if offset:
                _check_range(response, offset, descriptor.size, request.subject)
            return response.stream(descriptor.size - offset)

        return self._session.call(request, accept, start)

    def find(self, reference: ImageReference) -> Digest | None:
        try:
            return self._describe(reference, reference.tag or reference.digest, _PUSH).digest
        except NotFoundError:
            return None

    def holds(self, reference: ImageReference, descriptor: Descriptor) -> bool:
        request = self._blob("HEAD", reference, descriptor, _PUSH)

        def same(response: Response) -> bool:
            with response:
                return response.status == 200 and response.length == descriptor.size

        return self._session.call(request, (200, 404), same)

    def put_blob(self, reference: ImageReference, descriptor: Descriptor, stream: ByteStream) -> None:
        """See `ContentTarget`. Content that the registry already has is sent all the same."""
        subject = self._subject(reference, f"upload of {descriptor.digest}")
        url = f"{self._root(reference)}/blobs/uploads/"
        start = Request("POST", url, subject, self._scope(reference, _PUSH))
        location = self._session.call(start, (202,), _location)
        target = self._session.locate(location, url, subject)
        request = Request(
            "PUT",
            f"{target}{'&' if '?' in target else '?'}digest={quote(str(descriptor.digest))}",
            subject,
            self._scope(reference, _PUSH),
            {"Content-Type": "application/octet-stream"},
            Upload(stream, descriptor.size, subject),
        )
        self._session.call(request, (201,), lambda r: _check_stored(r, descriptor.digest, subject))

    def put_document(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        self._put(reference, descriptor.digest, descriptor, raw)

    def tag(self, reference: ImageReference, descriptor: Descriptor, raw: bytes) -> None:
        """See `ContentTarget`. A reference with no tag has its document put by digest."""
        self._put(reference, reference.tag or descriptor.digest, descriptor, raw)

    def close(self) -> None:
        """Close idle connections; the registry can be used on."""
        self._session.close()

    def _put(self, reference: ImageReference, name: object, descriptor: Descriptor, raw: bytes) -> None:
        headers = {"Content-Type": descriptor.media_type}
        request = self._manifest("PUT", reference, name, _PUSH, headers=headers, body=raw)
        self._session.call(request, (201,), lambda r: _check_stored(r, descriptor.digest, request.subject))

    def _describe(self, reference: ImageReference, name: object, actions: str) -> Descriptor:
        """What the registry has under a tag or digest, by HEAD, or by GET where HEAD tells too little."""
        asked = name if isinstance(name, Digest) else None
        head = self._manifest("HEAD", reference, name, actions)
        found = self._session.call(head, (200, *_NO_HEAD), lambda r: _from_head(r, asked, head.subject))
        if found is None:
            get = self._manifest("GET", reference, name, actions)
            found = self._session.call(get, (200,), lambda r: _from_body(r, asked, get.subject))
        return found

    def _manifest(
        self,
        method: str,
        reference: ImageReference,
        name: object,
        actions: str,
        *,
        headers: Mapping[str, str] = _ACCEPT,
        body: Body | None = None,
    ) -> Request:
        url = f"{self._root(reference)}/manifests/{quote(str(name), safe=':')}"
        scope = self._scope(reference, actions)
        return Request(method, url, self._document_subject(reference, name), scope, headers, body)

    def _blob(
        self,
        method: str,
        reference: ImageReference,
        descriptor: Descriptor,
        actions: str,
        headers: Mapping[str, str] | None = None,
    ) -> Request:
        url = f"{self._root(reference)}/blobs/{descriptor.digest}"
        subject = self._subject(reference, f"blob {descriptor.digest}")
        return Request(method, url, subject, self._scope(reference, actions), headers or {})

    def _repository(self, reference: ImageReference) -> str:
        return "/".join(filter(None, (self._options.prefix, reference.repository)))

    def _root(self, reference: ImageReference) -> str:
        return f"{self._session.base}/v2/{quote(self._repository(reference))}"

    def _scope(self, reference: ImageReference, actions: str) -> str:
        return f"repository:{self._repository(reference)}:{actions}"

    def _document_subject(self, reference: ImageReference, name: object) -> str:
        return f"{self._host}/{self._repository(reference)}{'@' if isinstance(name, Digest) else ':'}{name}"

    def _subject(self, reference: ImageReference, what: object) -> str:
        return f"{self._host}/{self._repository(reference)}: {what}"


def _read(response: Response) -> bytes:
    return response.read(MAX_BYTES)


def _media_type(response: Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _named_digest(response: Response, subject: str) -> Digest | None:
    """What the registry calls the digest of its answer."""
    text = response.headers.get("Docker-Content-Digest")
    if text is None:
        return None
    try:
        return Digest.parse(text)
    except FormatError as error:
        raise EndpointError("names no digest", subject=subject, got=repr(text[:80])) from error


def _check_digest(found: Digest, asked: Digest | None, subject: str) -> None:
    if asked is not None and found != asked:
        raise DigestMismatchError("the registry has another digest", subject=subject, want=asked, got=found)


def _from_head(response: Response, asked: Digest | None, subject: str) -> Descriptor | None:
    """None when the answer leaves a part of the descriptor open."""
    with response:
        named, size = _named_digest(response, subject), response.length
        if response.status in _NO_HEAD or named is None or size is None:
            return None
        if asked is not None and named.algorithm != asked.algorithm:
            return None
        _check_digest(named, asked, subject)
        return Descriptor(_media_type(response), named, size)


def _from_body(response: Response, asked: Digest | None, subject: str) -> Descriptor:
    named, raw = _named_digest(response, subject), _read(response)
    if named is not None:
        _check_digest(Digest.of(raw, named.algorithm), named, subject)
    found = Digest.of(raw, asked.algorithm if asked else "sha256")
    _check_digest(found, asked, subject)
    return Descriptor(_media_type(response), found, len(raw))


def _check_range(response: Response, offset: int, size: int, subject: str) -> None:
    """Raise `EndpointError` unless the answer is the bytes from `offset` to the end (RFC 9110 §14.4)."""
    got = response.headers.get("Content-Range", "")
    wanted = f"bytes {offset}-{size - 1}"
    if response.status == 206 and got in (f"{wanted}/{size}", f"{wanted}/*"):
        return
    raise EndpointError(
        "cannot resume", subject=subject, want=f"{wanted}/{size}", got=got[:80] or f"HTTP {response.status}"
    )


def _location(response: Response) -> str | None:
    with response:
        return response.headers.get("Location")


def _check_stored(response: Response, digest: Digest, subject: str) -> None:
    with response:
        named = _named_digest(response, subject)
    if named is not None and named.algorithm == digest.algorithm:
        _check_digest(named, digest, subject)
