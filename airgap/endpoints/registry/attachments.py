"""Finds the attachments of images with few requests; if one fails, the image does not (docs/registries.md).

The referrers API takes one request for each subject. Fallback tags and cosign's tags would take four more, so
the list of all tags is read instead if it has fewer pages than that.
"""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import field, replace
from enum import StrEnum
from functools import partial
from typing import TypeVar

from airgap.endpoints.attachments import Attachment, Attachments
from airgap.endpoints.registry.errors import TemporaryError, TlsFailedError
from airgap.endpoints.registry.pull import Puller
from airgap.endpoints.registry.referrers import RegistryLists, UnusableListError
from airgap.errors import AirgapError, EndpointError, FormatError, IntegrityError, UnavailableError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from airgap.oci.referrers import cosign_tags, fallback_tag
from airgap.values import dataclass
from airgap.workers import Memo, run_each

T = TypeVar("T")

_TAGS_PER_SUBJECT = 4
"""The fallback tag and three of cosign's."""
_ROUND = 50
_SMALLEST_PAGE = 100
"""A list of a round number of tags may have been cut without a Link header."""
_FIRST = "sha256-"
"""No tag of an attachment comes before it (SHA-512's come after it, too)."""
_MAX_REASON = 200
"""Characters."""


class _Question(StrEnum):
    """A kind of request; the text is shown to people."""

    API = "referrers API"
    TAG_LIST = "list of tags"
    TAG = "tags"


class _NoAnswerError(Exception):
    """A request failed; the reason has been recorded."""


@dataclass(frozen=True, slots=True)
class _Tags:
    """Tags of one repository: all of them, or all that can be tags of attachments, and some others."""

    names: frozenset[str]
    complete: bool


@dataclass(slots=True)
class _Search:
    """The search for the attachments of one subject, in the repository of the image `reference`."""

    reference: ImageReference
    subject: Digest
    listed: bool = False
    """True if the referrers API has answered."""
    found: dict[Digest, Attachment] = field(default_factory=dict)
    unknown: dict[_Question, str] = field(default_factory=dict)
    """The first reason for each kind of request."""

    def add(self, descriptors: Iterable[Descriptor], tag: str | None = None) -> None:
        for descriptor in descriptors:
            plain = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)
            self.found.setdefault(descriptor.digest, Attachment(self.subject, plain, tag))


class AttachmentFinder:
    """Asks one registry; for several threads. A request that it refuses is not repeated."""

    def __init__(self, puller: Puller, lists: RegistryLists) -> None:
        self._puller = puller
        self._lists = lists
        self._connections = max(puller.session.options.connections // 2, 1)
        self._slots = threading.BoundedSemaphore(self._connections)
        """One for each request about attachments at the same time."""
        self._tags: Memo[str, _Tags | None] = Memo()
        self._without_api: set[str] = set()
        """The repositories without a referrers API."""
        self._failed: dict[tuple[_Question, str], AirgapError] = {}
        """By kind of request and repository, or "" for the whole registry."""
        self._unreachable: AirgapError | None = None

    @property
    def reachable(self) -> bool:
        """False after a connection to the registry failed."""
        return self._unreachable is None

    def find(
        self,
        reference: ImageReference,
        subjects: Sequence[Digest],
        also: Sequence[Digest] = (),
        *,
        thorough: bool = False,
    ) -> Attachments:
        """See `AttachmentSource`. The first subject shows what the registry supports, so that a request that
        it refuses is not repeated for the others, which are searched side by side.
        """
        searches = [_Search(reference, subject) for subject in subjects]
        first, *others = searches
        list_tags = partial(self._known_tags, first, len(subjects))
        questions: tuple[Callable[[], object], ...] = (partial(self._ask_api, first), list_tags)
        run_each(lambda ask: ask(), questions, len(questions))
        tags = list_tags()  # the list was kept
        self._ask_tags(first, None if thorough else tags)
        self._search(others, tags)
        if also:
            attestations = [_Search(reference, subject) for subject in also]
            self._search(attestations[:1], tags)
            if attestations[0].found:
                self._search(attestations[1:], tags)
            elif tags is not None:
                for search in attestations[1:]:
                    self._ask_tags(search, tags)
            searches += attestations
        unknown: dict[_Question, str] = {}
        for kind, reason in (item for search in searches for item in search.unknown.items()):
            unknown.setdefault(kind, reason)
        found = tuple(attachment for search in searches for attachment in search.found.values())
        return Attachments(found, tuple(f"{kind}: {reason}" for kind, reason in unknown.items()))

    def _search(self, searches: Sequence[_Search], tags: Collection[str] | None) -> None:
        """Do all these searches, side by side if they may take requests."""

        def ask(search: _Search) -> None:
            self._ask_api(search)
            self._ask_tags(search, tags)

        if tags is not None and all(search.reference.name in self._without_api for search in searches):
            for search in searches:
                ask(search)
        else:
            run_each(ask, searches, self._connections)

    def _ask_api(self, search: _Search) -> None:
        reference = search.reference
        if reference.name in self._without_api:
            return
        with contextlib.suppress(_NoAnswerError):
            listed = self._ask(search, _Question.API, lambda: self._lists.by_api(reference, search.subject))
            if listed is None:
                self._without_api.add(reference.name)
                return
            search.listed = True
            search.add(listed)

    def _ask_tags(self, search: _Search, tags: Collection[str] | None) -> None:
        """Ask for the tags of the subject that are among `tags`, or for all of them if that is None; then not
        for the fallback tag if the referrers API has answered.
        """
        reference, subject = search.reference, search.subject
        fallback = fallback_tag(subject)
        if not search.listed if tags is None else fallback in tags:
            with contextlib.suppress(_NoAnswerError):
                search.add(self._ask(search, _Question.TAG, lambda: self._lists.by_tag(reference, subject)))
        for tag in cosign_tags(subject):
            if tags is None or tag in tags:
                find = partial(self._puller.find, replace(reference, tag=tag, digest=None))
                with contextlib.suppress(_NoAnswerError):
                    descriptor = self._ask(search, _Question.TAG, find)
                    search.add([descriptor] if descriptor else [], tag)

    def _known_tags(self, first: _Search, subjects: int) -> frozenset[str] | None:
        """Return all tags of the repository; None if the list may be incomplete or is too long."""
        reference = first.reference
        most = max(1, subjects * _TAGS_PER_SUBJECT // 2)
        quiet = replace(first, unknown={})  # without the list, the tags are requested one by one
        try:
            tags = self._tags.get(
                reference.name,
                lambda: self._ask(quiet, _Question.TAG_LIST, lambda: self._read_tags(reference, most)),
            )
        except _NoAnswerError:
            return None
        # Caches list only tags pulled through them, and some registries only those the login may see.
        if tags is None or not tags.names:
            return None
        if tags.complete and reference.tag is not None and reference.tag not in tags.names:
            return None
        return tags.names

    def _read_tags(self, reference: ImageReference, most: int) -> _Tags | None:
        """Return the tags from at most `most` pages; None if there are more, or it is unreliable."""
        tags: list[str] = []
        try:
            for page, more in self._lists.tag_pages(reference, most):
                first, tags = not tags, [*tags, *page]
                if first and more and (skipped := self._skip_tags(reference, tags, most - 1)):
                    return skipped
        except UnusableListError:
            return None
        cut = len(tags) >= _SMALLEST_PAGE and len(tags) % _ROUND == 0
        return None if cut else _Tags(frozenset(tags), complete=True)

    def _skip_tags(self, reference: ImageReference, tags: list[str], most: int) -> _Tags | None:
        """Return `tags` and the tags of attachments, if the registry lists in order and can begin in the
        middle.

        Its answer shows whether it can: an empty list could mean that it does not know the tag.
        """
        if tags != sorted(tags) or tags[-1:] >= [_FIRST]:
            return None
        try:
            rest = [tag for page, _ in self._lists.tag_pages(reference, most, _FIRST) for tag in page]
        except EndpointError:
            return None
        if not rest or rest[0] <= _FIRST or rest != sorted(rest):
            return None
        return _Tags(frozenset((*tags, *rest)), complete=False)

    def _ask(self, search: _Search, kind: _Question, ask: Callable[[], T]) -> T:
        """Return the result of `ask`. Raises `_NoAnswerError` if it fails, or has failed before."""
        repository = search.reference.name
        with self._slots:
            error = self._unreachable or self._failed.get((kind, "")) or self._failed.get((kind, repository))
            if error is None:
                try:
                    return ask()
                except (EndpointError, FormatError, IntegrityError) as failed:
                    self._remember(failed, kind, repository)
                    error = failed
        search.unknown.setdefault(kind, _reason(error))
        raise _NoAnswerError from error

    def _remember(self, error: AirgapError, kind: _Question, repository: str) -> None:
        if isinstance(error, TlsFailedError) or (isinstance(error, TemporaryError) and not error.reached):
            self._unreachable = error
        elif isinstance(error, UnavailableError):
            self._failed[kind, ""] = error
        elif kind is not _Question.TAG and not isinstance(error, UnusableListError):
            self._failed[kind, repository] = error


def _reason(error: AirgapError) -> str:
    """Return the error's text without the URL, so that it is the same for all subjects of an image."""
    text = error.what if error.got is None else f"{error.what}, got {error.got}"
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}…"
