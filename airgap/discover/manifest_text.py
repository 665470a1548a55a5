"""The manifest of what was found, with a comment for each image: where it was found, and how sure that is."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from airgap.discover.findings import Certainty, DiscoveredImage, Discovery, FoundImage, Problem
from airgap.errors import printable
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference

_HEADER = "# written by airgap discover; checksum of the rest: "
_MAX_PLACES = 5
"""Places of an image that are written down."""
_MAX_PROBLEM_LINES = 500
_MAX_COMMENT_CHARACTERS = 500


def manifest_text(
    discovery: Discovery, name: str, *, platforms: Sequence[Platform] = (), guesses: bool = False
) -> bytes:
    """Return the manifest of the images that were found.

    Args:
        discovery: What was found.
        name: The stream.
        platforms: The platforms of all images; empty leaves the choice to `airgap lock`.
        guesses: Whether guesses are listed, and not only commented out.
    """
    lines = [*_problem_lines(discovery.problems), "version: 1", f"name: {name}"]
    if platforms:
        lines.append(f"platforms: [{', '.join(map(str, platforms))}]")
    listed = carried(discovery, guesses=guesses)
    lines += ["images:" if listed else "images: []"]
    taken = set(listed)
    for image in discovery.images:
        lines += _entry_lines(image, is_listed=image.reference in taken)
    body = ("\n".join(lines) + "\n").encode()
    return f"{_HEADER}{_checksum(body)}\n".encode() + body


def carried(discovery: Discovery, *, guesses: bool = False) -> list[ImageReference]:
    """Return the images that a manifest lists: those that run by default, each name once, and no guesses.

    Of names with and without a digest that are the same name otherwise, the first one with a digest is taken,
    because a manifest has each name once.
    """
    names: dict[ImageReference, ImageReference] = {}
    for image in discovery.images:
        if image.optional or (image.certainty is Certainty.GUESS and not guesses):
            continue
        taken = names.get(image.reference.normal)
        if taken is None or (taken.digest is None and image.reference.digest is not None):
            names[image.reference.normal] = image.reference
    return list(names.values())


def is_unchanged(raw: bytes) -> bool:
    """Return whether `manifest_text` wrote these bytes, and nobody has changed them."""
    first, _, body = raw.partition(b"\n")
    return first == f"{_HEADER}{_checksum(body)}".encode()


def stream_name(path: Path) -> str:
    """Return the default name of the stream: that of the folder that the path is or is in."""
    folder = (path if path.is_dir() else path.parent).resolve()
    return re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:40].strip("-") or "stack"


def _checksum(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def _problem_lines(problems: Sequence[Problem]) -> Iterator[str]:
    for problem in problems[:_MAX_PROBLEM_LINES]:
        yield _comment(f"{problem.severity}: {problem}")
    if len(problems) > _MAX_PROBLEM_LINES:
        yield f"# and {len(problems) - _MAX_PROBLEM_LINES} more problems"


def _entry_lines(image: DiscoveredImage, *, is_listed: bool) -> Iterator[str]:
    yield from (f"  {_comment(text)}" for text in _place_texts(image.places))
    if not is_listed:
        yield f"  # not listed: {_reason(image)}"
    entry = str(image.reference)
    if image.platforms:
        entry = f"{{ref: '{entry}', platforms: [{', '.join(map(str, image.platforms))}]}}"
    yield f"  - {entry}" if is_listed else f"  # - {entry}"


def _reason(image: DiscoveredImage) -> str:
    if image.optional:
        return printable(f"does not run by default ({image.optional})")[:_MAX_COMMENT_CHARACTERS]
    return "a guess" if image.certainty is Certainty.GUESS else "the same name is listed with a digest"


def _place_texts(places: Iterable[FoundImage]) -> Iterator[str]:
    found = list(places)
    for place in found[:_MAX_PLACES]:
        yield describe_place(place)
    if len(found) > _MAX_PLACES:
        yield f"and {len(found) - _MAX_PLACES} more places"


def describe_place(found: FoundImage) -> str:
    """Return where an image was found, what uses it, and how sure that is."""
    source = f" from {found.written}" if found.certainty is Certainty.DERIVED else ""
    optional = f", {found.optional}" if found.optional else ""
    note = f"; {found.note}" if found.note else ""
    return f"{found.place} {found.user}: {found.certainty}{source}{optional}{note}"


def _comment(text: str) -> str:
    """Return a comment; a text from a file cannot end it."""
    shown = printable(text)
    return f"# {shown if len(shown) <= _MAX_COMMENT_CHARACTERS else f'{shown[:_MAX_COMMENT_CHARACTERS]}…'}"
