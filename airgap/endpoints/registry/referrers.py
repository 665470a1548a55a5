"""The paged lists of a registry: the referrers of an image, the tags of a repository."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote

from airgap.endpoints.registry.address import follow
from airgap.endpoints.registry.push import Pusher
from airgap.endpoints.registry.request import RegistryRequest
from airgap.endpoints.registry.response import NO_HEAD, RegistryResponse
from airgap.endpoints.registry.session import RegistrySession
from airgap.errors import EndpointError, FormatError, NotFoundError
from airgap.limits import MAX_CATALOGUE, MAX_LIST_PAGES, MAX_REFERRERS, MAX_TAGS
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX, SCHEMA_VERSION, Descriptor, ImageIndex, parse_document
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import fallback_tag
from airgap.oci.strict_json import Fields, dump, parse_object

T = TypeVar("T")

_TAGS_PER_PAGE = 1_000
_NO_API = (404, *NO_HEAD)
_NEXT = re.compile(r'<([^<>]{1,8192})>\s*;\s*rel="?next"?', re.IGNORECASE)


class UnusableListError(EndpointError):
    """The registry answered, but not with such a list, or with one that is too long."""


class RegistryLists:
    """The lists of one registry; for several threads of one process."""

    def __init__(self, session: RegistrySession) -> None:
        self._session = session

    def referrers(self, reference: ImageReference, digest: Digest) -> list[Descriptor]:
        """See `Registry.referrers`: from the referrers API, or from the fallback tag if there is none."""
        referrers = self.by_api(reference, digest)
        return self.by_tag(reference, digest) if referrers is None else referrers

    def by_api(self, reference: ImageReference, digest: Digest) -> list[Descriptor] | None:
        """Return the referrers from the referrers API; None if there is no such API."""
        request = self._session.requests.make(
            "GET", reference, f"referrers/{digest}", f": referrers of {digest}"
        )
        request = replace(request, headers={"Accept": OCI_INDEX}, optional=True)
        referrers: list[Descriptor] = []
        for number, (raw, _) in enumerate(self._pages(request, (200, *_NO_API), _read_index)):
            if raw is None and number:
                raise UnusableListError("the list of referrers is incomplete", subject=request.subject)
            if raw is None:
                return None
            referrers += _entries(raw, request.subject)
            _check_number(referrers, MAX_REFERRERS, request.subject)
        return referrers

    def by_tag(self, reference: ImageReference, digest: Digest, *, optional: bool = True) -> list[Descriptor]:
        """Return the referrers from the fallback tag; empty if there is no such tag."""
        request = self._session.requests.manifest("GET", reference, fallback_tag(digest))
        try:
            raw = self._session.call(replace(request, optional=optional), (200,), RegistryResponse.read)
        except NotFoundError:
            return []
        if Digest.of(raw, digest.algorithm) == digest:
            return []  # GitLab treats the tag as the digest, and answers with the image itself
        referrers = list(_entries(raw, request.subject))
        _check_number(referrers, MAX_REFERRERS, request.subject)
        return referrers

    def tags(self, reference: ImageReference) -> list[str]:
        """Return all tags of the repository of `reference`, at most 100,000, in the registry's order."""
        subject = self._session.requests.make("GET", reference, "tags/list", ": tags").subject
        tags: list[str] = []
        for page, _ in self.tag_pages(reference, optional=False):
            tags += page
            _check_number(tags, MAX_TAGS, subject)
        return tags

    def catalogue(self) -> list[str]:
        """Return the repositories of the registry, at most 10,000, as far as the login may list them."""
        request = self._session.requests.catalogue(_TAGS_PER_PAGE)
        repositories: list[str] = []
        for raw, _ in self._pages(request, (200,), RegistryResponse.read):
            repositories += _repositories(raw, request.subject)
            _check_number(repositories, MAX_CATALOGUE, request.subject)
        return repositories

    def tag_pages(
        self,
        reference: ImageReference,
        most: int | None = None,
        after: str | None = None,
        *,
        optional: bool = True,
    ) -> Iterator[tuple[tuple[str, ...], bool]]:
        """Yield the tags of the repository of `reference`, page by page as they are requested, and whether
        there is a further page. Only those after the tag `after`, if it is given and the registry supports
        it. If the list is `optional`, less time is spent on temporary failures.

        Raises `UnusableListError` if there are more than `most` pages.
        """
        query = f"n={_TAGS_PER_PAGE}" if after is None else f"n={_TAGS_PER_PAGE}&last={quote(after)}"
        request = self._session.requests.make("GET", reference, f"tags/list?{query}", ": tags")
        request = replace(request, optional=optional)
        for raw, more in self._pages(request, (200,), RegistryResponse.read, most):
            yield _tags(raw, request.subject), more

    def _pages(
        self,
        request: RegistryRequest,
        accept: tuple[int, ...],
        then: Callable[[RegistryResponse], T],
        most: int | None = None,
    ) -> Iterator[tuple[T, bool]]:
        """Yield the result of `then` for each page, following the Link headers (RFC 8288), and whether there
        is a further one.
        """
        most = MAX_LIST_PAGES if most is None else most
        for _ in range(most):
            page, link = self._session.call(request, accept, lambda r: (then(r), _next_page(r)))
            yield page, link is not None
            if link is None:
                return
            url = follow(request.url, link, self._session.options, request.subject)
            if not self._session.is_own(url):
                raise UnusableListError("the next page is on another host", subject=request.subject)
            request = replace(request, url=url)
        raise UnusableListError("too many pages", subject=request.subject, want=f"at most {most:,}")


class ReferrerPusher:
    """Adds documents to the lists of one registry; for several threads of one process."""

    def __init__(self, lists: RegistryLists, pusher: Pusher) -> None:
        self._lists = lists
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
        manifests = [entry.to_json() for entry in (*entries, descriptor)]
        raw = dump({"schemaVersion": SCHEMA_VERSION, "mediaType": OCI_INDEX, "manifests": manifests})
        index = Descriptor(OCI_INDEX, Digest.of(raw), len(raw))
        self._pusher.put(reference, fallback_tag(subject), index, raw)


def _next_page(response: RegistryResponse) -> str | None:
    match = _NEXT.search(response.headers.get("Link", "")[:16_384])
    return match[1] if match else None


def _read_index(response: RegistryResponse) -> bytes | None:
    """Read an index; None from a registry without referrers, as some answer with another kind of page."""
    if response.status != 200 or response.media_type != OCI_INDEX:
        response.close()
        return None
    return response.read()


def _entries(raw: bytes, subject: str) -> tuple[Descriptor, ...]:
    try:
        document = parse_document(raw, OCI_INDEX, subject)
    except FormatError as error:
        raise UnusableListError("not a list of referrers", subject=subject, got=str(error)) from error
    return document.manifests if isinstance(document, ImageIndex) else ()


def _tags(raw: bytes, subject: str) -> tuple[str, ...]:
    try:
        fields = Fields(parse_object(raw, subject), subject)
        # null stands for a repository whose tags were all deleted.
        return fields.texts("tags") if fields.take("tags") is not None else ()
    except FormatError as error:
        raise UnusableListError("not a list of tags", subject=subject, got=str(error)) from error


def _repositories(raw: bytes, subject: str) -> tuple[str, ...]:
    try:
        fields = Fields(parse_object(raw, subject), subject)
        is_empty = fields.has("repositories") and fields.take("repositories") is None
        return () if is_empty else fields.texts("repositories")
    except FormatError as error:
        raise UnusableListError("not a list of repositories", subject=subject, got=str(error)) from error


def _check_number(entries: list[T], limit: int, subject: str) -> None:
    if len(entries) > limit:
        raise UnusableListError(
            "too many entries", subject=subject, want=f"at most {limit:,}", got=f"{len(entries):,}"
        )
