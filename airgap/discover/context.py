"""What every reader of deployment files gets: the files, the findings, and what the person asked for."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path

from airgap.discover.findings import Findings, Place, Span
from airgap.discover.sources import SourceFile, Sources
from airgap.errors import AirgapError
from airgap.manifest.yaml_nodes import Node, Scalar, YamlStream, parse_nodes
from airgap.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How the files are read."""

    profiles: Sequence[str] = ()
    """Compose profiles that are active, besides those that the files activate."""
    env_files: Sequence[Path] = ()
    """Files with variables, which replace the `.env` file beside the Compose file."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables, which have precedence over those in files."""
    values_files: Sequence[Path] = ()
    """Files with values for Helm charts."""
    values: Sequence[str] = ()
    """Values for Helm charts: `KEY=VALUE`, as `helm --set` takes them."""


@dataclass(slots=True, kw_only=True)
class Context:
    """The state of one discovery."""

    sources: Sources
    findings: Findings = field(default_factory=Findings)
    choices: Choices = field(default_factory=Choices)
    used: set[Path] = field(default_factory=set)
    """The real paths of files that were read as parts of a whole: they are not read again alone."""
    _last: tuple[SourceFile, YamlStream] | None = None

    def mark_used(self, path: Path) -> bool:
        """Keep that a file was read as a part of a whole; return whether it is the first time."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # a loop of links, or an invalid name
            real = path.resolve()
            is_first = real not in self.used
            self.used.add(real)
            return is_first
        return True

    def read(self, path: Path, named_at: Place | None = None) -> SourceFile | None:
        """Return a file, or None after adding the problem that it cannot be read.

        Args:
            path: The file.
            named_at: Where another file names it; the problem is located there.
        """
        try:
            return self.sources.read(path)
        except AirgapError as error:
            place = named_at or Place(file=str(path), line=0)
            self.findings.add_problem(place, str(error), hint=error.hint)
            return None

    def parse(self, file: SourceFile) -> YamlStream:
        """Return the YAML documents of `file`, and what could not be read. The last file is remembered."""
        if self._last is None or self._last[0] is not file:
            self._last = file, parse_nodes(file.text)
        return self._last[1]

    def documents(self, file: SourceFile) -> tuple[Node, ...]:
        """Return the YAML documents of `file`, after adding what is wrong with the others as problems."""
        stream = self.parse(file)
        for problem in stream.problems:
            what = problem.what if problem.got is None else f"{problem.what}, got {problem.got}"
            self.findings.add_problem(Place(file=file.name, line=problem.line), what)
        return stream.documents


def place_of(file: SourceFile, node: Node) -> Place:
    """Return where `node` stands; for a text also its span."""
    if isinstance(node, Scalar):
        return Place(file=file.name, line=node.line, span=Span(node.start, node.end))
    return Place(file=file.name, line=node.line)
