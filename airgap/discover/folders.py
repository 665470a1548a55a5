"""Walks a folder for deployment files, without following links and within limits."""

import os
from collections.abc import Iterator
from pathlib import Path

from airgap.discover.context import Context
from airgap.discover.findings import Place
from airgap.limits import MAX_DEPLOYMENT_DEPTH, MAX_DEPLOYMENT_FILES
from airgap.values import dataclass

CHART_FILE = "Chart.yaml"
_SUFFIXES = frozenset({".yaml", ".yml", ".json", ".txt", ".list"})
_SKIPPED = frozenset({"node_modules", "__pycache__", "venv"})
_HIDDEN = frozenset({".devcontainer", ".devcontainer.json"})


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder with its files that may be deployment files, sorted by name."""

    path: Path
    files: tuple[Path, ...]

    @property
    def is_chart(self) -> bool:
        """Whether it is a Helm chart."""
        return any(file.name == CHART_FILE for file in self.files)


def walk(top: Path, context: Context) -> Iterator[Folder]:
    """Yield `top` and the folders below it; not those in a chart, whose files are templates and values."""
    left = MAX_DEPLOYMENT_FILES
    pending = [(top, 0)]
    while pending:
        here, depth = pending.pop()
        files, folders = _entries(here, context)
        left -= len(files) + len(folders) + 1
        if left < 0 or depth > MAX_DEPLOYMENT_DEPTH:
            what = f"too many files or levels of folders, want at most {MAX_DEPLOYMENT_FILES:,} files"
            context.findings.add_problem(Place(file=str(here), line=0), what, hint="name the folders in it")
            return
        folder = Folder(here, files)
        yield folder
        if not folder.is_chart:
            pending += [(path, depth + 1) for path in reversed(folders)]


def _entries(folder: Path, context: Context) -> tuple[tuple[Path, ...], list[Path]]:
    """Return the files and the folders in a folder."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        what = f"the folder cannot be read, got {error.strerror}"
        context.findings.add_problem(Place(file=str(folder), line=0), what)
        return (), []
    shown = [entry for entry in found if not entry.name.startswith(".") or entry.name in _HIDDEN]
    files = tuple(folder / e.name for e in shown if Path(e.name).suffix in _SUFFIXES and _is_file(e))
    folders = [folder / e.name for e in shown if e.name not in _SKIPPED and e.is_dir(follow_symlinks=False)]
    return files, folders


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a loop of links: whoever reads it reports it
        return True
