"""Finds the images in YAML lists of other tools: Hauler, Zarf, oc-mirror, kbld, and our own manifest."""

import re
from collections.abc import Iterable, Iterator

from airgap.discover.context import Context, place_of
from airgap.discover.findings import Certainty
from airgap.discover.sources import SourceFile
from airgap.errors import FormatError
from airgap.manifest.platform_text import parse_platform
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar
from airgap.oci.platform import Platform
from airgap.values import dataclass

_HAULER = "content.hauler.cattle.io/"
_ZARF_VARIABLE = re.compile(r"###ZARF_PKG_TMPL_([A-Z0-9_]+)###")
_NOT_IMAGES = {"Charts": "charts", "Files": "files"}


def read_package(file: SourceFile, document: Node, context: Context) -> bool:
    """Add the images that a document of one of these tools lists. Returns false for any other document."""
    if not isinstance(document, Mapping):
        return False
    reader = _Reader(file, context)
    kind, version = document.text("kind"), document.text("apiVersion")
    if version.startswith(_HAULER):
        reader.hauler(document, kind)
    elif kind in ("ZarfPackageConfig", "ZarfInitConfig"):
        reader.zarf(document)
    elif kind == "ImageSetConfiguration":
        reader.mirror(document)
    elif kind == "ImagesLock":
        reader.texts((_child(item, "image") for item in document.items("images")), "images lock")
    elif document.text("version") == "1" and {"name", "images"} <= document.pairs.keys():
        reader.manifest(document)
    else:
        return False
    return True


def _child(node: Node, key: str) -> Node | None:
    return node.get(key) if isinstance(node, Mapping) else None


@dataclass(frozen=True, slots=True)
class _Reader:
    file: SourceFile
    context: Context

    def texts(self, nodes: Iterable[Node | None], user: str) -> None:
        for node in nodes:
            if isinstance(node, Scalar):
                self._image(node, user)

    def _image(self, node: Scalar, user: str, platforms: Iterable[Platform] = ()) -> None:
        values = self.context.choices.variables
        name = _ZARF_VARIABLE.sub(lambda match: values.get(match[1], match[0]), node.text)
        certainty = Certainty.SURE if name == node.text else Certainty.DERIVED
        self.context.findings.add_image(
            name, place_of(self.file, node), certainty=certainty, user=user, written=node.text,
            platforms=platforms,
        )  # fmt: skip

    def _warn(self, node: Node, what: str) -> None:
        hint = "airgap discover finds images only"
        self.context.findings.add_warning(place_of(self.file, node), what, hint=hint)

    def hauler(self, document: Mapping, kind: str) -> None:
        for item in document.mapping("spec").items("images"):
            node = _child(item, "name")
            if isinstance(node, Scalar) and isinstance(item, Mapping):
                self._image(node, "Hauler manifest", _platforms(item.text("platform")))
        if kind in _NOT_IMAGES:
            self._warn(document, f"a Hauler manifest of {_NOT_IMAGES[kind]}, which are not images")

    def zarf(self, document: Mapping) -> None:
        for component in document.items("components"):
            if isinstance(component, Mapping):
                self.texts(component.items("images"), f"component {component.text('name')}")

    def mirror(self, document: Mapping) -> None:
        mirror = document.mapping("mirror")
        self.texts((_child(item, "name") for item in mirror.items("additionalImages")), "additional images")
        for key in ("operators", "platform", "helm"):
            if node := mirror.get(key):
                self._warn(node, f"{key} of an image set, whose images oc-mirror finds in catalogs")

    def manifest(self, document: Mapping) -> None:
        for item in document.items("images"):
            node = item if isinstance(item, Scalar) else _child(item, "ref")
            if isinstance(node, Scalar):
                self._image(node, "airgap manifest")
            else:
                self._warn(item, "images in an archive or a layout, whose names are not looked up")


def _platforms(text: str) -> Iterator[Platform]:
    try:
        if text:
            yield parse_platform(text)
    except FormatError:
        return
