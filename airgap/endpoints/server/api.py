"""The answers of the registry: makes replies from a catalogue and a request's target. No sockets."""

import json
from dataclasses import field
from http import HTTPStatus
from urllib.parse import urlencode

from airgap.endpoints.server.catalogue import Catalogue, Repository, ServedContent
from airgap.endpoints.server.paths import Route, RouteKind, Span, parse_path, parse_range, select_page
from airgap.errors import FormatError
from airgap.oci.digest import ByteStream, CheckedReader, Digest
from airgap.oci.documents import OCI_INDEX
from airgap.values import dataclass

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Blob:
    """`length` bytes that are still to be read. The receiver must close `stream`."""

    stream: ByteStream
    length: int


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: its body is `blob` if there is one, otherwise `raw`."""

    status: int
    headers: dict[str, str] = field(hash=False)
    raw: bytes = b""
    blob: Blob | None = None

    @property
    def length(self) -> int:
        """The length of the body in bytes."""
        return len(self.raw) if self.blob is None else self.blob.length


def problem(status: int, code: str, message: str, **headers: str) -> Reply:
    """Make an error in the form of the specification; it does not repeat any part of the request."""
    body = {"errors": [{"code": code, "message": message}]}
    return _json(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def answer(catalogue: Catalogue, target: str, wanted_range: str | None = None) -> Reply:
    """Make the reply to GET or HEAD. Raises what the source raises if its content cannot be read, and
    `RecalledError` for the content of a recalled bundle.
    """
    route = parse_path(target)
    if route is None:
        return problem(HTTPStatus.NOT_FOUND, "UNSUPPORTED", "no such path")
    if route.kind is RouteKind.BASE:
        return _json({})
    if route.kind is RouteKind.CATALOG:
        return _listing(route, "/v2/_catalog", {}, "repositories", list(catalogue.repositories))
    repository = catalogue.repository(route.name, route.argument("ns"))
    if repository is None:
        return problem(HTTPStatus.NOT_FOUND, "NAME_UNKNOWN", "no such repository")
    if route.kind is RouteKind.TAGS:
        path = f"/v2/{route.name}/tags/list"
        return _listing(route, path, {"name": route.name}, "tags", list(repository.tags))
    return _content(repository, route, wanted_range)


def _content(repository: Repository, route: Route, wanted_range: str | None) -> Reply:
    if route.kind is RouteKind.MANIFEST and ":" not in route.reference:
        return _manifest(repository, repository.tags.get(route.reference))
    try:
        digest = Digest.parse(route.reference)
    except FormatError:
        return problem(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", "not a digest")
    if route.kind is RouteKind.MANIFEST:
        return _manifest(repository, digest)
    if route.kind is RouteKind.REFERRERS:
        return _referrers(repository, digest, route.argument("artifactType"))
    content = repository.blobs.get(digest) or repository.documents.get(digest)
    if content is None:
        return problem(HTTPStatus.NOT_FOUND, "BLOB_UNKNOWN", "no such blob here")
    return _blob(content, wanted_range)


def _manifest(repository: Repository, digest: Digest | None) -> Reply:
    content = None if digest is None else repository.documents.get(digest)
    if content is None:
        return problem(HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN", "no such image here")
    content.source.check_usable()
    descriptor = content.descriptor
    headers = {"Content-Type": descriptor.media_type, "Docker-Content-Digest": str(descriptor.digest)}
    return Reply(HTTPStatus.OK, headers, content.read_document())


def _blob(content: ServedContent, wanted_range: str | None) -> Reply:
    """Make the reply with a blob. A whole blob is checked while it is sent. A part cannot be: its receiver
    checks the whole.
    """
    content.source.check_usable()
    descriptor = content.descriptor
    try:
        wanted = parse_range(wanted_range, descriptor.size)
    except ValueError:
        everything = f"bytes */{descriptor.size}"
        return problem(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "RANGE_INVALID",
            "no such range",
            Content_Range=everything,
        )
    headers = {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": str(descriptor.digest),
        "Accept-Ranges": "bytes",
    }
    span = wanted or Span(0, descriptor.size)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{descriptor.size}"
    stream: ByteStream = content.source.open_blob(content.reference, descriptor, span.start)
    if span == Span(0, descriptor.size) and not isinstance(stream, CheckedReader):
        stream = CheckedReader(stream, descriptor.digest, descriptor.size)
    status = HTTPStatus.OK if wanted is None else HTTPStatus.PARTIAL_CONTENT
    return Reply(status, headers, blob=Blob(stream, span.end - span.start))


def _referrers(repository: Repository, digest: Digest, artifact_type: str | None) -> Reply:
    referrers = repository.referrers.get(digest, {}).values()
    manifests = [item.to_json() for item in referrers if artifact_type in (None, item.artifact_type)]
    headers = {"Content-Type": OCI_INDEX}
    if artifact_type is not None:
        headers["OCI-Filters-Applied"] = "artifactType"
    return _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}, HTTPStatus.OK, headers)


def _listing(route: Route, path: str, body: dict[str, object], key: str, names: list[str]) -> Reply:
    count = route.argument("n")
    try:
        page, more = select_page(sorted(names), count, route.argument("last"))
    except ValueError:
        return problem(HTTPStatus.BAD_REQUEST, "PAGINATION_NUMBER_INVALID", "n is not a number")
    headers = {}
    if more:
        headers["Link"] = f'<{path}?{urlencode({"n": count, "last": page[-1]})}>; rel="next"'
    return _json(body | {key: page}, HTTPStatus.OK, headers)


def _json(value: object, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, {"Content-Type": _JSON} | (headers or {}), json.dumps(value).encode())
