"""The paged lists of a registry: the referrers of an image, the tags of a repository."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote

from airgap.endpoints.registry.answers import NO_HEAD, media_type, read
from airgap.endpoints.registry.push import Pusher
from airgap.endpoints.registry.session import Request, Session
from airgap.endpoints.registry.transport import Response
from airgap.endpoints.registry.urls import PULL, Names
from airgap.errors import EndpointError, FormatError, NotFoundError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX, SCHEMA_VERSION, Descriptor, ImageIndex, parse_document
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import fallback_tag
from airgap.oci.strict_json import Fields, dump, parse_object

T = TypeVar("T")

MAX_REFERRERS = 1_000
MAX_TAGS = 100_000
_MAX_PAGES = 1_000
_TAGS_A_PAGE = 1_000
_NO_API = (404, *NO_HEAD)
_NEXT = re.compile(r'<([^<>]{1,8192})>\s*;\s*rel="?next"?', re.IGNORECASE)


class UnusableListError(EndpointError):
    """The registry answered, but not with such a list, or with one that is too long."""


class Lists:
    """The lists of one registry; for several threads of one process."""

    def __init__(self, session: Session, names: Names) -> None:
        self._session = session
        self._names = names

    def referrers(self, reference: ImageReference, digest: Digest) -> list[Descriptor]:
        """See `Registry.referrers`: from the referrers API, or from the fallback tag if there is none."""
        found = self.by_api(reference, digest)
        return self.by_tag(reference, digest) if found is None else found

    def by_api(self, reference: ImageReference, digest: Digest) -> list[Descriptor] | None:
        """Return the referrers from the referrers API; None if there is no such API."""
        url = self._names.url(reference, f"referrers/{digest}")
        subject = self._names.subject(reference, f"referrers of {digest}")
        scope = self._names.scope(reference, PULL)
        request = Request("GET", url, subject, scope, {"Accept": OCI_INDEX}, optional=True)
        found: list[Descriptor] = []
        for number, (raw, _) in enumerate(self._pages(request, (200, *_NO_API), _read_index)):
            if raw is None and number:
                raise UnusableListError("the list of referrers is incomplete", subject=subject)
            if raw is None:
                return None
            found += _entries(raw, subject)
            _check_number(found, MAX_REFERRERS, subject)
        return found

    def by_tag(self, reference: ImageReference, digest: Digest, *, optional: bool = True) -> list[Descriptor]:
        """Return the referrers from the fallback tag; empty if there is no such tag."""
        raw = self._read_fallback(reference, digest, optional)
        where = self._names.document(reference, fallback_tag(digest))
        found = [] if raw is None else list(_entries(raw, where))
        _check_number(found, MAX_REFERRERS, where)
        return found

    def tags(self, reference: ImageReference) -> list[str]:
        """Return all tags of the repository of `reference`, at most 100,000, in the registry's order."""
        found: list[str] = []
        for page, _ in self.tag_pages(reference):
            found += page
            _check_number(found, MAX_TAGS, self._names.subject(reference, "tags"))
        return found

    def tag_pages(
        self, reference: ImageReference, most: int | None = None, after: str | None = None
    ) -> Iterator[tuple[tuple[str, ...], bool]]:
        """Yield the tags of the repository of `reference`, page by page as they are requested, and whether
        there is a further page. Only those after the tag `after`, if it is given and the registry supports
        it.

        Raises `UnusableListError` if there are more than `most` pages.
        """
        query = f"n={_TAGS_A_PAGE}" if after is None else f"n={_TAGS_A_PAGE}&last={quote(after)}"
        url = self._names.url(reference, f"tags/list?{query}")
        subject = self._names.subject(reference, "tags")
        request = Request("GET", url, subject, self._names.scope(reference, PULL), optional=True)
        for raw, more in self._pages(request, (200,), read, most):
            yield _tags(raw, subject), more

    def _read_fallback(self, reference: ImageReference, digest: Digest, optional: bool) -> bytes | None:
        try:
            request = self._names.manifest("GET", reference, fallback_tag(digest), PULL)
            raw = self._session.call(replace(request, optional=optional), (200,), read)
        except NotFoundError:
            return None
        # GitLab treats the tag as the digest, and answers with the image itself.
        return None if Digest.of(raw, digest.algorithm) == digest else raw

    def _pages(
        self,
        request: Request,
        accept: tuple[int, ...],
        then: Callable[[Response], T],
        most: int | None = None,
    ) -> Iterator[tuple[T, bool]]:
        """Yield the result of `then` for each page, following the Link headers (RFC 8288), and whether there
        is a further one.
        """
        most = _MAX_PAGES if most is None else most
        for _ in range(most):
            page, link = self._session.call(request, accept, lambda r: (then(r), _next_page(r)))
            yield page, link is not None
            if link is None:
                return
            url = self._session.locate(link, request.url, request.subject)
            if not self._session.is_own(url):
                raise UnusableListError("the next page is on another host", subject=request.subject)
            request = replace(request, url=url)
        raise UnusableListError("too many pages", subject=request.subject, want=f"at most {most:,}")


class ReferrerPusher:
    """Adds documents to the lists of one registry; for several threads of one process."""

    def __init__(self, lists: Lists, names: Names, pusher: Pusher) -> None:
        self._lists = lists
        self._names = names
        self._pusher = pusher
        self._lock = threading.Lock()

    def put(self, reference: ImageReference, subject: Digest, descriptor: Descriptor, raw: bytes) -> None:
        """See `RegistryTarget`. The fallback tag is read, changed and written: two processes that do so at
        the same time can remove each other's entry.
        """
        name = reference.tag or descriptor.digest
        if self._pusher.put(reference, name, descriptor, raw) == str(subject):
            return
        with self._lock:
            self._enter(reference, subject, descriptor)

    def _enter(self, reference: ImageReference, subject: Digest, descriptor: Descriptor) -> None:
        entries = self._lists.by_tag(reference, subject, optional=False)
        if descriptor.digest in {entry.digest for entry in entries}:
            return
        raw = _index_of([*entries, descriptor])
        index = Descriptor(OCI_INDEX, Digest.of(raw), len(raw))
        self._pusher.put(reference, fallback_tag(subject), index, raw)


def _next_page(response: Response) -> str | None:
    match = _NEXT.search(response.headers.get("Link", "")[:16_384])
    return match[1] if match else None


def _read_index(response: Response) -> bytes | None:
    """Read an index; None from a registry without referrers, as some answer with another kind of page."""
    if response.status != 200 or media_type(response) != OCI_INDEX:
        response.close()
        return None
    return read(response)


def _entries(raw: bytes, subject: str) -> tuple[Descriptor, ...]:
    try:
        document = parse_document(raw, OCI_INDEX, subject)
    except FormatError as error:
        raise UnusableListError("not a list of referrers", subject=subject, got=str(error)) from error
    return document.manifests if isinstance(document, ImageIndex) else ()


def _index_of(entries: list[Descriptor]) -> bytes:
    manifests = [entry.to_json() for entry in entries]
    return dump({"schemaVersion": SCHEMA_VERSION, "mediaType": OCI_INDEX, "manifests": manifests})


def _tags(raw: bytes, subject: str) -> tuple[str, ...]:
    try:
        fields = Fields(parse_object(raw, subject), subject)
        # null stands for a repository whose tags were all deleted.
        return fields.texts("tags") if fields.take("tags") is not None else ()
    except FormatError as error:
        raise UnusableListError("not a list of tags", subject=subject, got=str(error)) from error


def _check_number(found: list[T], limit: int, subject: str) -> None:
    if len(found) > limit:
        raise UnusableListError(
            "too many entries", subject=subject, want=f"at most {limit:,}", got=f"{len(found):,}"
        )
