"""Finds the images of development containers: `devcontainer.json`, which is JSON with comments."""

import re

from airgap.discover.compose import read_compose
from airgap.discover.context import Context, place_of
from airgap.discover.findings import Certainty
from airgap.discover.sources import SourceFile
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence

NAMES = ("devcontainer.json", ".devcontainer.json")
_COMMENT = re.compile(r'("(?:[^"\\\n]|\\.)*")|//[^\n]*|/\*.*?\*/|\t|,(?=\s*[}\]])', re.DOTALL)
_USER = "development container"


def read_devcontainer(file: SourceFile, context: Context) -> None:
    """Add the image of a development container, or those of its Compose files."""
    blank = SourceFile(path=file.path, text=_COMMENT.sub(_without_comment, file.text))
    for document in context.documents(blank):
        if isinstance(document, Mapping):
            _read(document, blank, context)


def _without_comment(match: re.Match[str]) -> str:
    """Return a text as it is, and a comment as spaces, so that all places stay what they are."""
    return match[1] or re.sub(r"[^\n]", " ", match[0])


def _read(document: Mapping, file: SourceFile, context: Context) -> None:
    image, build = document.scalar("image"), document.get("build") or document.get("dockerFile")
    if image:
        context.findings.add_image(
            image.text, place_of(file, image), certainty=Certainty.SURE, user=_USER
        )  # fmt: skip
    elif build:
        what, hint = "built from its source, and has no image to carry", "build it, then push or save it"
        context.findings.add_warning(place_of(file, build), what, hint=hint, user=_USER)
    names = _texts(document.get("dockerComposeFile"))
    if names:
        read_compose([file.folder / name for name in names], context)


def _texts(node: Node | None) -> list[str]:
    items = node.items if isinstance(node, Sequence) else (node,)
    return [item.text for item in items if isinstance(item, Scalar)]
