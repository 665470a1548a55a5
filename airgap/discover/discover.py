"""Finds the images of files and folders: recognises what each is by its content, and calls its reader."""

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airgap.discover import compose_projects
from airgap.discover.charts import read_chart
from airgap.discover.context import Choices, Context
from airgap.discover.devcontainer import NAMES as DEVCONTAINERS
from airgap.discover.devcontainer import read_devcontainer
from airgap.discover.findings import Discovery, Place
from airgap.discover.folders import Folder, walk
from airgap.discover.image_lists import is_image_list, is_mostly_images, read_image_list
from airgap.discover.kubernetes import is_kubernetes, read_kubernetes
from airgap.discover.kustomize import read_kustomizations
from airgap.discover.kustomize_sources import (
    KUSTOMIZATION_FILES,
    find_kustomization,
    top_kustomizations,
)
from airgap.discover.packages import read_package
from airgap.discover.placed_findings import PlacedFindings
from airgap.discover.sources import STDIN, SourceFile, Sources
from airgap.errors import AirgapError, FormatError

_KINDS = (
    "a Compose file, Kubernetes YAML, a kustomization, a Helm chart, a list of images, "
    "a Hauler or Zarf manifest, or an airgap manifest"
)
_YAML = (".yaml", ".yml")
_MAYBE = re.compile(r"""^["'{\s-]*(?:apiVersion|kind|images)["']?\s*:""", re.MULTILINE)
"""A key of a document that one of the readers knows; other files in a folder are not parsed."""
_WHOLE = (*KUSTOMIZATION_FILES, *DEVCONTAINERS)
"""Files that are read before the others."""
_PACKED_CHARTS = (".tgz", ".tar.gz")


def discover(
    paths: Sequence[Path],
    choices: Choices | None = None,
    *,
    root: Path | None = None,
    standard_input: str | None = None,
) -> Discovery:
    """Return the images that the files and folders would run.

    Args:
        paths: Files and folders; `-` is standard input.
        choices: How they are read.
        root: The folder that has all files of the deployment; by default, see `root_of`.
        standard_input: The text of standard input, if `-` is among the paths.

    Raises:
        FormatError: A path is not there.
    """
    choices = choices or Choices()
    files = [path for path in paths if path != STDIN]
    for path in files:
        if not path.exists():
            raise FormatError("no such file or folder", subject=path)
    roots = [*([root] if root else map(root_of, files)), *files, *choices.env_files, *choices.values_files]
    context = Context(sources=Sources(roots or [Path()]), choices=choices)
    run = _Run(context)
    if standard_input is not None:
        file = SourceFile(path=STDIN, text=standard_input)
        context.sources.add(file)
        run.read_file(file)
    for path in files:
        run.read(path)
    run.read_given_compose()
    return context.findings.discovery(context.sources.files)


def root_of(path: Path) -> Path:
    """Return the folder that files named in `path` must be in: the repository around it, else the current
    folder if `path` is in it, else the folder itself.
    """
    folder = (path if path.is_dir() else path.parent).resolve()
    for above in (folder, *folder.parents):
        if (above / ".git").exists():
            return above
    here = Path.cwd()
    return here if folder.is_relative_to(here) and here != Path(here.anchor) else folder


@dataclass(slots=True)
class _Run:
    context: Context
    _compose: list[Path] = field(default_factory=list)
    """The Compose files that a person named."""

    def read(self, path: Path) -> None:
        """Add the images of a file or folder that a person named."""
        if path.is_dir():
            self._read_folder(path)
        elif path.name.endswith(_PACKED_CHARTS):
            read_chart(path, self.context)
        elif path.name in KUSTOMIZATION_FILES:
            read_kustomizations([path.parent], self.context)
        elif file := self.context.read(path):
            if compose_projects.has_compose(file, self.context):
                self._compose.append(path)
            else:
                self.read_file(file)

    def read_given_compose(self) -> None:
        """Add the images of the Compose files that a person named."""
        compose_projects.read_given(self._compose, self.context)

    def read_file(self, file: SourceFile) -> None:
        """Add the images of a file that a person named, or a problem if it is of no known kind."""
        if file.path.name in DEVCONTAINERS:
            read_devcontainer(file, self.context)
        elif file.path == STDIN and compose_projects.has_compose(file, self.context):
            compose_projects.read_given([STDIN], self.context)
        elif is_image_list(file.text):
            read_image_list(file, self.context)
        elif not self._read_documents(file):
            if is_mostly_images(file.text):
                read_image_list(file, self.context)
            elif file.text.strip():
                place = Place(file=file.name, line=0)
                self.context.findings.add_problem(
                    place, "of no kind that discover reads", hint=f"name {_KINDS}"
                )

    def _read_documents(self, file: SourceFile) -> bool:
        """Add the images of the YAML documents of a file; return whether one of them is of a known kind."""
        documents = self.context.documents(file)
        others = [document for document in documents if not read_package(file, document, self.context)]
        objects = [document for document in others if is_kubernetes(document)]
        read_kubernetes(objects, PlacedFindings(findings=self.context.findings, file=file))
        return bool(objects) or len(others) < len(documents)

    # -- folders

    def _read_folder(self, top: Path) -> None:
        folders = list(walk(top, self.context))
        for chart in folders:
            if chart.is_chart:
                read_chart(chart.path, self.context)
        rest = [folder for folder in folders if not folder.is_chart]
        read_kustomizations(top_kustomizations([folder.path for folder in rest], self.context), self.context)
        owned = {folder.path for folder in rest if find_kustomization(folder.path, self.context)}
        candidates = [file for folder in rest for file in self._files_of(folder)]
        for file in candidates:
            if file.path.name in DEVCONTAINERS:
                read_devcontainer(file, self.context)
        compose = [file.path for file in candidates if compose_projects.has_compose(file, self.context)]
        compose_projects.FolderProjects(self.context).read(compose)
        for file in candidates:
            if file.path not in compose:
                self._read_candidate(file, owned)

    def _files_of(self, folder: Folder) -> Iterator[SourceFile]:
        """Yield the files that may be deployment files. Only YAML that cannot be read is a problem."""
        for path in folder.files:
            try:
                yield self.context.sources.read(path)
            except AirgapError as error:
                if path.suffix in _YAML:
                    self.context.findings.add_problem(
                        Place(file=str(path), line=0), error.what, hint=error.hint
                    )

    def _read_candidate(self, file: SourceFile, owned: Container[Path]) -> None:
        """Add the images of a file in a folder, if it is of a known kind.

        Args:
            file: The file.
            owned: The folders with a kustomization, which says which files beside it are used, and how.
        """
        if file.path.resolve() in self.context.used or file.path.name in _WHOLE:
            return
        if file.path.suffix in (".txt", ".list"):
            if is_image_list(file.text, is_strict="image" not in file.path.name.lower()):
                read_image_list(file, self.context)
        elif _MAYBE.search(file.text) and file.path.parent not in owned:
            self._read_documents(file)
