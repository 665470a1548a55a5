"""Walks a folder for deployment files, without following links and within limits."""

import os
from collections.abc import Iterator
from pathlib import Path

from airgap.discover.context import Context
from airgap.discover.findings import Place
from airgap.limits import MAX_DEPLOYMENT_DEPTH, MAX_DEPLOYMENT_FILES

_SUFFIXES = frozenset({".yaml", ".yml", ".json", ".txt", ".list"})
_SKIPPED = frozenset({"node_modules", "__pycache__", "venv"})
_HIDDEN = frozenset({".devcontainer", ".devcontainer.json", ".env"})


def walk(folder: Path, context: Context) -> Iterator[tuple[Path, list[Path]]]:
    """Yield each folder from `folder` on with its files that may be deployment files, sorted.

    A consumer that sends True does not want to see the folders below.
    """
    left = MAX_DEPLOYMENT_FILES
    pending = [(folder, 0)]
    while pending:
        here, depth = pending.pop()
        files, folders = _entries(here, context)
        left -= len(files) + len(folders) + 1
        if left < 0 or depth > MAX_DEPLOYMENT_DEPTH:
            what = f"too many files or levels of folders, want at most {MAX_DEPLOYMENT_FILES:,} files"
            context.findings.add_problem(Place(file=str(here), line=0), what, hint="name the folders in it")
            return
        if not (yield here, files):
            pending += [(path, depth + 1) for path in reversed(folders)]


def _entries(folder: Path, context: Context) -> tuple[list[Path], list[Path]]:
    """Return the files and the folders in a folder."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        what = f"the folder cannot be read, got {error.strerror}"
        context.findings.add_problem(Place(file=str(folder), line=0), what)
        return [], []
    shown = [e for e in found if not e.name.startswith(".") or e.name in _HIDDEN]
    files = [folder / e.name for e in shown if e.is_file() and Path(e.name).suffix in _SUFFIXES]
    folders = [
        folder / e.name for e in shown if e.name not in _SKIPPED and e.is_dir(follow_symlinks=False)
    ]
    return files, folders
