"""Writes small projects, and shows what is found in them as short text."""

from collections.abc import Mapping
from pathlib import Path

from airgap.discover.context import Choices
from airgap.discover.discover import discover
from airgap.discover.findings import Discovery, FoundImage


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files with these texts below `folder`."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def found_in(
    folder: Path, files: Mapping[str, str], *names: str, choices: Choices | None = None
) -> Discovery:
    """Return what is found in the files `names`, or in the folder if there are none."""
    write(folder, files)
    return discover([folder / name for name in names] or [folder], choices, root=folder)


def images(discovery: Discovery) -> list[str]:
    """The images, each as `name:tag certainty [optional]`."""
    return sorted(_image(image.places[0]) for image in discovery.images)


def _image(found: FoundImage) -> str:
    optional = f" [{found.optional}]" if found.optional else ""
    return f"{found.reference.familiar} {found.certainty}{optional}"


def problems(discovery: Discovery, folder: Path) -> list[str]:
    """The problems, each as `severity FILE:LINE what`."""
    return [
        f"{problem.severity} {str(problem.place).replace(f'{folder}/', '')} {problem.text}".replace(
            f"{folder}/", ""
        )
        for problem in discovery.problems
    ]
