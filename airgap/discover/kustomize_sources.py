"""The folders of kustomizations: which files they are in, and which folders they may use."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from airgap.discover.context import Context
from airgap.discover.findings import Place
from airgap.discover.sources import SourceFile
from airgap.manifest.yaml_nodes import Mapping, Scalar

KUSTOMIZATION_FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_REMOTE = re.compile(
    r"[a-z][a-z0-9+.-]*://|git@|github\.com[/:]|gitlab\.com/|bitbucket\.org/|.*\?(?:ref|version)=|.*//"
)
_REFERENCES = ("resources", "bases", "components")


def is_remote(text: str) -> bool:
    """Return whether a resource of a kustomization is in the network: a URL, or a repository."""
    return bool(_REMOTE.match(text))


def tidy(path: Path) -> Path:
    """Return `path` without `..` where that is the same file, because no link is on the way."""
    short = Path(os.path.normpath(path))
    try:
        return short if short.resolve() == path.resolve() else path
    except (OSError, RuntimeError, ValueError):  # a loop of links, or an invalid name
        return path


def find_kustomization(folder: Path, context: Context) -> Path | None:
    """Return the file of the kustomization in `folder`; None without one, or if it may not be read."""
    return next((path for name in KUSTOMIZATION_FILES if context.sources.exists(path := folder / name)), None)


def local_folder(text: str, file: SourceFile, context: Context, named_at: Place) -> Path | None:
    """Return the folder that the kustomization in `file` uses, after allowing the files below it to be read.

    Args:
        text: The path in the kustomization.
        file: The file of the kustomization.
        context: Gets the folder as a further one that may be read.
        named_at: The place of `text`.
    """
    path = tidy(file.folder / text)
    if Path(text).is_absolute():
        context.findings.add_problem(
            named_at,
            f"an absolute path in a kustomization, got {text[:200]!r}",
            hint="write it relative to the file",
        )
        return None
    if context.sources.is_folder(path):
        return path
    has_file = any((path / name).is_file() and not (path / name).is_symlink() for name in KUSTOMIZATION_FILES)
    if not has_file or _leads_through_link(file.folder, text):
        what = f"a folder outside, or without a kustomization, got {text[:200]!r}"
        context.findings.add_problem(named_at, what, hint="name the folder that has all of it")
        return None
    context.sources.roots = (*context.sources.roots, path.resolve())
    return path


def _leads_through_link(folder: Path, text: str) -> bool:
    """Return whether a link on the way leads somewhere else than the names of the folders say."""
    real = folder.resolve()
    for part in Path(text).parts:
        real = real.parent if part == ".." else real / part
        if real.is_symlink():
            return True
    return False


def top_kustomizations(folders: Iterable[Path], context: Context) -> list[Path]:
    """Return those of `folders` with a kustomization that none of the others uses.

    Components are never among them: they change what their user has, and have little of their own.
    """
    used: set[Path] = set()
    tops: list[Path] = []
    for folder in folders:
        path = find_kustomization(folder, context)
        file = context.read(path) if path else None
        node = next(iter(context.documents(file)), None) if file else None
        if file is None or not isinstance(node, Mapping):
            continue
        for key in _REFERENCES:
            used.update(
                (folder / item.text).resolve() for item in node.items(key)
                if isinstance(item, Scalar) and not is_remote(item.text) and (folder / item.text).is_dir()
            )  # fmt: skip
        if node.text("kind") != "Component":
            tops.append(folder)
    return [folder for folder in tops if folder.resolve() not in used]
