"""What readers of deployment files find: images with their places, and what could not be resolved."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import field, replace
from enum import StrEnum

from airgap.discover.limits import MAX_FOUND_PLACES, MAX_FOUND_PROBLEMS
from airgap.discover.sources import SourceFile
from airgap.errors import FormatError
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference, normal_host
from airgap.values import dataclass

_TEMPLATE = re.compile(r"\{\{|\}\}|\$\{|\[\[|###|\$\(|<[A-Za-z_ -]+>|%[A-Z_]+%")
"""Marks of a text that another program fills in before it is the name of an image."""


class Certainty(StrEnum):
    """How sure it is that a place names an image that will run."""

    SURE = "sure"
    """The file names it where its program reads the name of an image."""
    DERIVED = "derived"
    """The name is put together from variables, values or an application's version."""
    GUESS = "guess"
    """A text that looks like an image, where other texts may stand too."""


class Severity(StrEnum):
    """Whether something is missing from the result."""

    PROBLEM = "problem"
    """An image may be missing: something could not be read or resolved."""
    WARNING = "warning"
    """Nothing that could be read is missing, but a person should know it."""


_MAX_USERS = 3
"""Services that one problem names."""
_RANK = {certainty: number for number, certainty in enumerate(Certainty)}


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of characters in the text of a file, without its byte order mark: `text[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something stands in a file."""

    file: str
    line: int
    """Lines count from 1; 0 is the file as a whole."""
    span: Span | None = None
    """The characters of the whole value, with its quotes or as a block; None if the name is only a part."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """One place that names an image."""

    reference: ImageReference
    """The full name, as a container runtime reads it."""
    written: str
    """The text in the file, before variables are replaced."""
    certainty: Certainty
    place: Place
    user: str
    """What uses it: `service web`, `Deployment api, container app`."""
    platforms: tuple[Platform, ...] = ()
    """The platforms that the file states; empty if it states none."""
    optional: str | None = None
    """Why it does not run by default: `profile debug`; None if it does."""
    note: str | None = None
    """What a person should know about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that could not be read or resolved, or that a person should know."""

    place: Place
    what: str
    """A short statement of what is wrong."""
    hint: str | None = None
    """What to do about it."""
    severity: Severity = Severity.PROBLEM
    users: tuple[str, ...] = ()
    """What it concerns: `service web`; empty for a file as a whole."""

    @property
    def text(self) -> str:
        """The statement with what it concerns."""
        if not self.users:
            return self.what
        more = len(self.users) - _MAX_USERS
        named = ", ".join(self.users[:_MAX_USERS]) + (f" and {more} more" if more > 0 else "")
        return f"{named}: {self.what}"

    def __str__(self) -> str:
        return f"{self.text}: {self.place}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredImage:
    """An image with all places that name it, the best first."""

    reference: ImageReference
    places: tuple[FoundImage, ...]

    @property
    def certainty(self) -> Certainty:
        """The certainty of the best place."""
        return self.places[0].certainty

    @property
    def optional(self) -> str | None:
        """Why it does not run by default; None if one of the places runs."""
        return self.places[0].optional

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms that the places state; empty if a place states none, and so runs on any."""
        if not all(found.platforms for found in self.places):
            return ()
        return tuple(dict.fromkeys(platform for found in self.places for platform in found.platforms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The images and problems of all files that were read."""

    images: tuple[DiscoveredImage, ...]
    problems: tuple[Problem, ...]
    sources: tuple[SourceFile, ...] = ()
    """The files in which something was looked for."""

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files."""
        return tuple(source.name for source in self.sources)


@dataclass(slots=True)
class Findings:
    """Collects what readers find."""

    images: list[FoundImage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add_image(
        self,
        name: str,
        place: Place,
        *,
        certainty: Certainty,
        user: str,
        written: str | None = None,
        platforms: Iterable[Platform] = (),
        optional: str | None = None,
        note: str | None = None,
    ) -> None:
        """Add an image, or a problem if `name` cannot be the name of one. A guess that cannot is dropped.

        Args:
            name: The name, with its variables replaced.
            place: Where it stands.
            certainty: How sure it is.
            user: What uses it.
            written: The text in the file, if that is another one.
            platforms: The platforms that the file states.
            optional: Why it does not run by default.
            note: What a person should know about it.
        """
        try:
            reference = full_name(name)
        except FormatError as error:
            if certainty is not Certainty.GUESS:
                self.add_problem(place, f"{error.what}, got {error.got}", hint=error.hint, user=user)
            return
        if reference.registry == "localhost":
            what = f"{reference} was made on one machine, and no registry has it"
            hint = "push it to a registry, or list it with `source:` or `archive:`"
            self.add_warning(place, what, hint=hint, user=user)
            return
        self._add_found(
            FoundImage(
                reference=reference, written=name if written is None else written, certainty=certainty,
                place=place, user=user, platforms=tuple(platforms), optional=optional, note=note,
            )
        )  # fmt: skip

    def _add_found(self, found: FoundImage) -> None:
        if len(self.images) < MAX_FOUND_PLACES:
            self.images.append(found)
        else:
            what = f"too many images, want at most {MAX_FOUND_PLACES:,} places that name one"
            self.add_problem(found.place, what)

    def add_problem(
        self, place: Place, what: str, *, hint: str | None = None, user: str | None = None
    ) -> None:
        """Add something that could not be read or resolved.

        Args:
            place: Where it stands.
            what: A short statement of what is wrong.
            hint: What to do about it.
            user: What it concerns: `service web`.
        """
        self._add(Problem(place=place, what=what, hint=hint, users=(user,) if user else ()))

    def add_warning(
        self, place: Place, what: str, *, hint: str | None = None, user: str | None = None
    ) -> None:
        """Add something that a person should know, though nothing that could be read is missing.

        The arguments are those of `add_problem`.
        """
        users = (user,) if user else ()
        problem = Problem(place=place, what=what, hint=hint, users=users, severity=Severity.WARNING)
        self._add(problem)

    def _add(self, problem: Problem) -> None:
        if len(self.problems) < MAX_FOUND_PROBLEMS:
            self.problems.append(problem)
        elif len(self.problems) == MAX_FOUND_PROBLEMS:
            what = f"more than {MAX_FOUND_PROBLEMS:,} problems; the others are not shown"
            self.problems.append(Problem(place=problem.place, what=what))

    def discovery(self, sources: Iterable[SourceFile] = ()) -> Discovery:
        """Return what was found: each image once, with all its places."""
        return Discovery(
            images=tuple(_images(self.images)),
            problems=tuple(_problems(self.problems)),
            sources=tuple(sources),
        )


def full_name(text: str) -> ImageReference:
    """Return the full name of an image, with the host in its normal form.

    Raises `FormatError` for a text that is not the name of an image, with a hint if a program fills it in.
    """
    if _TEMPLATE.search(text):
        hint = "another program fills in this template; run discover on its output"
        raise FormatError("the name of the image cannot be resolved", got=repr(text), hint=hint)
    reference = ImageReference.parse(text.removeprefix("docker://"))
    return replace(reference, registry=normal_host(reference.registry))


def _problems(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield each problem once, with all users that it concerns."""
    users: dict[Problem, dict[str, None]] = {}
    for problem in problems:
        users.setdefault(replace(problem, users=()), {}).update(dict.fromkeys(problem.users))
    for problem, names in users.items():
        yield replace(problem, users=tuple(names))


def _images(found: Iterable[FoundImage]) -> Iterator[DiscoveredImage]:
    by_name: dict[ImageReference, list[FoundImage]] = {}
    for image in dict.fromkeys(found):
        by_name.setdefault(image.reference, []).append(image)
    for reference, places in by_name.items():
        yield DiscoveredImage(reference=reference, places=tuple(sorted(places, key=_order)))


def _order(found: FoundImage) -> tuple[bool, int]:
    """Return the sort key of a place: those that run first, then the surest."""
    return found.optional is not None, _RANK[found.certainty]
