"""Which Compose files belong together, as `docker compose` decides it.

In a folder: the files that COMPOSE_FILE in `.env` names, else `compose.yaml` with its override file. Files on
the command line: in their order, on top of each other, if the later ones are in the folder of the first or
below it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airgap.discover.compose import is_compose, read_compose
from airgap.discover.compose_load import variables_of
from airgap.discover.context import Context
from airgap.discover.findings import Place
from airgap.discover.sources import SourceFile

DEFAULT_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = (
    "compose.override.yml", "compose.override.yaml",
    "docker-compose.override.yml", "docker-compose.override.yaml",
)  # fmt: skip
_MAYBE = re.compile(r"""^["'{\s]*(?:services|include)["']?\s*:""", re.MULTILINE)


def has_compose(file: SourceFile, context: Context) -> bool:
    """Return whether a file has a document that is a Compose file."""
    return bool(_MAYBE.search(file.text)) and any(map(is_compose, context.parse(file).documents))


def read_folder(folder: Path, context: Context) -> None:
    """Add the images of the project that `docker compose` finds in a folder; nothing without one."""
    paths = _named_in_env(folder, context) or _default_files(folder, context)
    if paths:
        read_compose(paths, context, folder)


def _named_in_env(folder: Path, context: Context) -> list[Path]:
    """Return the files that COMPOSE_FILE names in the project's env file."""
    if not context.choices.variables and not context.sources.exists(folder / ".env"):
        return []
    variables = variables_of(context, folder)
    separator = variables.get("COMPOSE_PATH_SEPARATOR") or ":"
    return [folder / name for name in variables.get("COMPOSE_FILE", "").split(separator) if name]


def _default_files(folder: Path, context: Context) -> list[Path]:
    base = next((folder / name for name in DEFAULT_NAMES if context.sources.exists(folder / name)), None)
    if base is None:
        return []
    override = next((folder / name for name in _OVERRIDES if context.sources.exists(folder / name)), None)
    return [base, override] if override else [base]


def read_given(paths: Sequence[Path], context: Context) -> None:
    """Add the images of Compose files that a person named."""
    for project in _projects(paths):
        for path in _OVERRIDES:
            override = project[0].parent / path
            is_base = project == [project[0]] and project[0].name in DEFAULT_NAMES
            if is_base and context.sources.exists(override):
                what = "an override file that `docker compose` uses if no file is named, and that is not read"
                hint = f"name the folder, or {override} too"
                context.findings.add_warning(Place(file=str(override), line=0), what, hint=hint)
        read_compose(project, context)


def _projects(paths: Iterable[Path]) -> list[list[Path]]:
    projects: list[list[Path]] = []
    for path in paths:
        folder = path.parent.resolve()
        home = next((p for p in reversed(projects) if folder.is_relative_to(p[0].parent.resolve())), None)
        is_other = path.name in DEFAULT_NAMES and home is not None and folder != home[0].parent.resolve()
        if home is None or is_other:
            projects.append([path])
        else:
            home.append(path)
    return projects


@dataclass(slots=True)
class FolderProjects:
    """The Compose files below a folder."""

    context: Context
    _folders: list[Path] = field(default_factory=list)
    """The folders that have a project of their own."""

    def read(self, files: Sequence[Path]) -> None:
        """Add the images of the projects among `files`, and of Compose files that belong to none.

        Beside or below a project, other Compose files are variants of it, which a person has to choose.
        """
        for folder in sorted({path.parent for path in files if path.name in DEFAULT_NAMES}):
            if not self.context.used & {path.resolve() for path in files if path.parent == folder}:
                self._folders.append(folder)
                read_folder(folder, self.context)
        variants: dict[Path, list[str]] = {}
        for path in files:
            home = next((folder for folder in self._folders if path.is_relative_to(folder)), None)
            if path.resolve() in self.context.used:
                continue
            if home is None:
                read_compose([path], self.context)
            else:
                variants.setdefault(home, []).append(str(path.relative_to(home)))
        for folder, names in variants.items():
            what = "Compose files that `docker compose` does not use by itself, and that are not read"
            hint = "to use them, name the files of the project in their order, the base file first"
            place = Place(file=str(folder), line=0)
            self.context.findings.add_warning(place, f"{what}, got {', '.join(names)}", hint=hint)
