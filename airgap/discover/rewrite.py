"""Rewrites deployment files for the other side: each image gets its offline name, and nothing else changes.

The text of a file is kept, and only the characters that are the name of an image are replaced, so that
comments, order, quotes and line ends stay. The result is parsed again: if it is not the same document with
these values changed, the file is refused.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path, PurePosixPath

from airgap.discover.findings import (
    Certainty,
    Discovery,
    FoundImage,
    Place,
    Problem,
    Severity,
    Span,
    full_name,
)
from airgap.discover.kustomize_sources import KUSTOMIZATION_FILES
from airgap.discover.node_texts import replaced_source, same_except
from airgap.discover.sources import STDIN, SourceFile
from airgap.errors import FormatError
from airgap.manifest import yaml_nodes
from airgap.manifest.yaml_nodes import Node, Scalar, YamlStream, iterate_nodes, parse_nodes
from airgap.oci.reference import ImageReference
from airgap.values import dataclass

STDIN_NAME = "standard-input.yaml"
"""The name of the copy of standard input."""
_BUILT = {"Chart.yaml", *KUSTOMIZATION_FILES}
"""Files whose folder is the input of a program that makes Kubernetes YAML from it."""
_RENDER_IT = (
    "render it first, and rewrite the result: helm template … or kustomize build …, piped to "
    "airgap discover - --rewrite DIR"
)
_VARIABLES = ".env"
_COPY_IT = "if the copies need its other variables, carry it too, or write it on the other side"
_BY_HAND = "change this place by hand in the copy"

OfflineName = Callable[[ImageReference], str | None]
"""Returns the name of an image on the offline side; None if the bundle does not carry it. May raise
`FormatError` if it has no name that can be written.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """The copy of one file."""

    path: PurePosixPath
    """Relative to the folder of the copies."""
    source: SourceFile
    raw: bytes
    count: int
    """The places that name an image and were replaced, or are as they must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """The copies of all files, and what could not be rewritten."""

    copies: tuple[Copy, ...]
    missing: tuple[ImageReference, ...]
    """Images that the files run and the bundle does not carry."""
    problems: tuple[Problem, ...]


def rewrite(
    discovery: Discovery, offline_name: OfflineName, folders: Iterable[Path] = (), *, guesses: bool = False
) -> Rewriting:
    """Return copies of the files in which the images have their names of the offline side.

    Files from which another program makes Kubernetes YAML (charts, kustomizations), lists and files with
    variables are not copied. The names of the copies are relative to the folder that all of them, and
    `folders`, are in.

    Args:
        discovery: What was found, with the text of the files.
        offline_name: Names the images of the offline side.
        folders: Folders that a person named.
        guesses: Whether guesses are replaced too.
    """
    run = _Run(offline_name, {source.name: source for source in discovery.sources}, guesses)
    for image in discovery.images:
        for found in image.places:
            run.add(found)
    changed = [run.rewritten(source) for source in discovery.sources if run.is_copied(source)]
    run.warn_of_variables()
    return Rewriting(
        copies=tuple(_placed([copy for copy in changed if copy], folders)),
        missing=tuple(run.missing),
        problems=tuple(run.problems),
    )


@dataclass(slots=True)
class _Run:
    offline_name: OfflineName
    sources: Mapping[str, SourceFile]
    guesses: bool
    edits: dict[str, dict[Span, str]] = field(default_factory=dict)
    """The new names by file and place."""
    missing: dict[ImageReference, None] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _streams: dict[str, YamlStream] = field(default_factory=dict)
    _scalars: dict[str, dict[Span, Scalar]] = field(default_factory=dict)

    def add(self, found: FoundImage) -> None:
        """Add the place of an image as one that is replaced."""
        if found.certainty is Certainty.GUESS and not self.guesses:
            return
        try:
            name = self.offline_name(found.reference)
        except FormatError as error:
            self._refuse(found.place, f"{found.user}: {error.what}, got {error.got}", error.hint)
            return
        if name is None:
            if not found.optional and found.certainty is not Certainty.GUESS:
                self.missing[found.reference] = None
            return
        self._add_edit(found, name)

    def _add_edit(self, found: FoundImage, name: str) -> None:
        place = found.place
        source = self.sources.get(place.file)
        if source is None or self._is_built(source) or place.line == 0:
            self._refuse(place, f"{found.user}: not rewritten, because a program makes it", _RENDER_IT)
            return
        scalar = self._scalar_at(source, place.span)
        if scalar is None or not _is_whole(scalar, found):
            what = f"{found.user}: not rewritten, because {found.reference} is not a whole value of YAML"
            self._refuse(place, what, _BY_HAND)
            return
        if _reads_as(scalar.text, full_name(name)):
            name = scalar.text
        span = Span(scalar.start, scalar.end)
        other = self.edits.setdefault(place.file, {}).setdefault(span, name)
        if other != name:
            what = f"{found.user}: not rewritten as {name}, because the same place is also {other}"
            self._refuse(place, what, "write two values, one for each image")

    def _scalar_at(self, source: SourceFile, span: Span | None) -> Scalar | None:
        if source.name not in self._scalars:
            nodes = (node for document in self._stream(source).documents for node in iterate_nodes(document))
            self._scalars[source.name] = {
                Span(node.start, node.end): node for node in nodes if isinstance(node, Scalar)
            }
        return None if span is None else self._scalars[source.name].get(span)

    def _stream(self, source: SourceFile) -> YamlStream:
        if source.name not in self._streams:
            self._streams[source.name] = parse_nodes(source.text)
        return self._streams[source.name]

    def _is_built(self, source: SourceFile) -> bool:
        """Return whether a program makes what runs from the folder of `source`, or it is in an archive."""
        if source.path == STDIN:
            return False
        folders = {other.folder for other in self.sources.values() if other.path.name in _BUILT}
        return bool(folders & set(source.path.parents)) or not source.path.is_file()

    def is_copied(self, source: SourceFile) -> bool:
        """Return whether a file is one that is copied: it is replaced in, or it is a part of what runs."""
        if source.name in self.edits:
            return True
        if self._is_built(source) or source.path.suffix not in (".yaml", ".yml", ".json"):
            return False
        return any(map(_is_deployed, self._stream(source).documents))

    def rewritten(self, source: SourceFile) -> Copy | None:
        """Return the copy of a file; None after adding a problem if it would not be the same document."""
        edits = self.edits.get(source.name, {})
        before = self._stream(source)
        text = source.text
        for span in sorted(edits, key=lambda span: span.start, reverse=True):
            piece = replaced_source(text[span.start : span.end], edits[span])
            if piece is not None:
                text = f"{text[: span.start]}{piece}{text[span.end :]}"
        expected = {(span.start, span.end): name for span, name in edits.items()}
        if not same_except(before, parse_nodes(text), expected):
            what = "not rewritten, because the copy would not be the same document"
            self._refuse(Place(file=source.name, line=0), what, "write the names of images on one line each")
            return None
        raw = source.byte_order_mark + text.encode()
        return Copy(path=PurePosixPath(source.name), source=source, raw=raw, count=len(edits))

    def warn_of_variables(self) -> None:
        """Add a warning for each file with variables: it is not copied."""
        for name, source in self.sources.items():
            if source.path.name.endswith(_VARIABLES):
                what = "not copied, because files with variables can hold passwords"
                place = Place(file=name, line=0)
                self.problems.append(
                    Problem(place=place, what=what, hint=_COPY_IT, severity=Severity.WARNING)
                )

    def _refuse(self, place: Place, what: str, hint: str | None) -> None:
        self.problems.append(Problem(place=place, what=what, hint=hint))


def _is_whole(scalar: Scalar, found: FoundImage) -> bool:
    """Return whether the text is the name of the image: as it stands, or with variables of Compose."""
    if "$" in scalar.text:
        return found.written == scalar.text
    return _reads_as(scalar.text, found.reference)


def _reads_as(text: str, reference: ImageReference) -> bool:
    try:
        return full_name(text) == reference
    except FormatError:
        return False


def _is_deployed(document: Node) -> bool:
    """Return whether it is an object of Kubernetes or a Compose file."""
    if not isinstance(document, yaml_nodes.Mapping):
        return False
    keys = document.pairs.keys()
    return {"apiVersion", "kind"} <= keys or bool({"services", "include"} & keys)


def _placed(copies: list[Copy], folders: Iterable[Path]) -> Iterable[Copy]:
    """Yield the copies with paths that are relative to the folder that all are in."""
    files = [copy.source.path for copy in copies if copy.source.path != STDIN]
    tops = [_absolute(folder) for folder in (*folders, *(path.parent for path in files))]
    top = os.path.commonpath(tops) if tops else ""
    for copy in copies:
        path = copy.source.path
        name = STDIN_NAME if path == STDIN else os.path.relpath(_absolute(path), top)
        yield replace(copy, path=PurePosixPath(name))


def _absolute(path: Path) -> str:
    return os.path.normpath(Path.cwd() / path)
