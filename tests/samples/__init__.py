"""Real public deployment files, the images that they really run, and what `airgap discover` finds in them.

`files/` has the samples with their sources and licences. `files/expected/NAME.txt` has the truth about one case:
its first line is the input, and each other line is `REFERENCE<TAB>CLASS<TAB>NOTE`, or `!TEXT<TAB>WHY` for a text
that is not an image. `python -m tests.samples` writes the table in docs/discovery.md.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from airgap.discover.context import Choices
from airgap.discover.discover import discover
from airgap.discover.findings import Certainty, DiscoveredImage, Discovery, full_name
from airgap.errors import FormatError

FILES = Path(__file__).parent / "files"
NEEDED = ("run", "operand", "list")
"""The classes of images that a finder must report."""
UNRESOLVABLE = {"manifest-zarf-registry"}
"""Cases whose names are templates, with their values in a file that is not among the samples."""


@dataclass(frozen=True, slots=True)
class Case:
    """One sample with its options, and the truth about it."""

    name: str
    words: tuple[str, ...]
    """The input line: a path, and options of `docker compose`."""
    classes: dict[str, str]
    """The class of each image, by its full name."""
    others: frozenset[str]
    """The full names that texts would have that are not images."""

    @property
    def kind(self) -> str:
        """The kind of file, as the name of the case says it."""
        return self.name.partition("-")[0]

    def expected(self, *classes: str) -> set[str]:
        """Return the images of these classes."""
        return {reference for reference, its_class in self.classes.items() if its_class in classes}

    def discover(self) -> Discovery:
        """Return what is found with the options of the case, and without Helm."""
        choices = Choices(env_files=[FILES / self.words[0] / name for name in self._after("--env-file")])
        with patch.dict(os.environ, {"PATH": ""}):
            return discover(self._paths(), choices, root=FILES)

    def _paths(self) -> list[Path]:
        path = FILES / self.words[0]
        if named := list(self._after("-f")):
            return [path / name for name in named]
        return sorted(path.parent.glob(path.name)) if "*" in path.name else [path]

    def _after(self, option: str) -> Iterator[str]:
        for word, following in zip(self.words, self.words[1:], strict=False):
            if word == option:
                yield following


def cases() -> list[Case]:
    """Return all cases, sorted by name."""
    return [_case(path) for path in sorted((FILES / "expected").glob("*.txt"))]


def _case(path: Path) -> Case:
    first, *lines = path.read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return Case(
        name=path.stem,
        words=tuple(first.removeprefix("# input: ").split()),
        classes={row[0]: row[1] for row in rows if not row[0].startswith("!")},
        others=frozenset(_full_names(row[0][1:] for row in rows if row[0].startswith("!"))),
    )


def _full_names(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        try:
            yield str(full_name(text))
        except FormatError:
            continue  # no finder can report it


@dataclass(frozen=True, slots=True)
class Result:
    """What was found in one case, compared with the truth."""

    case: Case
    missed: frozenset[str]
    """Images that are needed, and were not reported, or only as optional."""
    unflagged: frozenset[str]
    """Optional images that were not reported."""
    reported: frozenset[str]
    """Images that were reported as sure or derived, and that run by default."""
    guessed: frozenset[str]
    """Needed images that were reported as guesses only."""
    wrong: frozenset[str]
    """Images among `reported` that the truth does not have."""
    falsely_sure: frozenset[str]
    """Images among `wrong` that were called sure."""
    others: frozenset[str]
    """Texts that are not images, and were reported as sure or derived."""


def measure(case: Case) -> Result:
    """Return what is found in a case, compared with the truth."""
    images = case.discover().images
    default = [image for image in images if not image.optional]
    sure = {str(image.reference) for image in default if image.certainty is not Certainty.GUESS}
    needed, known = case.expected(*NEEDED), set(case.classes)
    wrong = sure - known
    return Result(
        case=case,
        missed=frozenset(needed - _names(default)),
        unflagged=frozenset(case.expected("opt") - _names(images)),
        reported=frozenset(sure),
        guessed=frozenset(needed & _names(default) - sure),
        wrong=frozenset(wrong),
        falsely_sure=frozenset(wrong & _names(i for i in default if i.certainty is Certainty.SURE)),
        others=frozenset(sure & case.others),
    )


def _names(images: Iterable[DiscoveredImage]) -> set[str]:
    return {str(image.reference) for image in images}
