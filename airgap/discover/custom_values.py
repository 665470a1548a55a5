"""Finds images in the fields of custom resources, which each operator names in its own way."""

from airgap.discover.custom_resources import is_well_known
from airgap.discover.findings import Certainty
from airgap.discover.image_groups import find_groups
from airgap.discover.image_text import (
    is_template,
    names_image,
    plausible_reference,
    unmistakable_reference,
)
from airgap.discover.operands import names_in
from airgap.discover.placed_findings import PlacedFindings
from airgap.discover.pods import is_container, is_container_list
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence
from airgap.values import dataclass

_SKIPPED = {
    "annotations", "labels", "matchLabels", "status", "managedFields", "openAPIV3Schema", "description",
    "output", "message", "metadata", "apiVersion", "kind", "nodeSelector", "tolerations", "volumeMounts",
    "schema",
}  # fmt: skip
"""Values that are about something else, and `output`, where a build writes its image."""
_IMAGE_KEYS = {"image", "imageName", "dockerImage", "baseImage", "containerImage", "customImage", "imageSpec"}
"""Keys whose value is the name of an image, and nothing else."""
_GROUP_EVIDENCE = {
    "tag",
    "digest",
    "version",
    "registry",
    "repository",
    "imageTag",
    "image_version",
    "sha",
    "hub",
}


_OBJECT_TEXTS = {"manifest"}
"""Keys whose text is an object that is created: `resource.manifest` of Argo's workflows."""


@dataclass(frozen=True, slots=True)
class _Reader:
    placed: PlacedFindings
    user: str
    is_known: bool
    """Whether `image` of this operator's resources is known to be an image that runs."""

    def read(self, node: Node, path: tuple[str, ...]) -> None:
        if isinstance(node, Sequence):
            for item in node.items:
                self.read(item, path)
        elif isinstance(node, Scalar):
            self._text(node, path)
        elif node.text("kind") == "DockerImage" and (name := node.scalar("name")):
            self.placed.add_image(name, self._label(path), Certainty.DERIVED)
        elif not self._group(node, path):
            for key, child in node.pairs.items():
                self._child(key, child, path)

    def _child(self, key: str, child: Node, path: tuple[str, ...]) -> None:
        if key in _SKIPPED or is_container_list(key, child) or is_container(key, child):
            return
        self.read(child, (*path, key))

    def _group(self, node: Mapping, path: tuple[str, ...]) -> bool:
        """Add the image whose parts stand in `node`; return whether they do."""
        if not _GROUP_EVIDENCE & node.pairs.keys():
            return False
        image = node.scalar("image") or node.scalar("repository")
        if image is None or (":" in image.text.rpartition("/")[2] and "registry" not in node.pairs):
            return False
        groups = [group for group in find_groups(node, path=path) if group.path == path]
        for group in groups:
            certainty = Certainty.DERIVED if group.is_clear else Certainty.GUESS
            self.placed.add_image(group.at, self._label(path), certainty, name=group.name)
        for key, child in node.pairs.items():
            if groups and isinstance(child, Mapping | Sequence):
                self._child(key, child, path)
        return bool(groups)

    def _text(self, node: Scalar, path: tuple[str, ...]) -> None:
        text, key = node.text, path[-1] if path else ""
        is_reference = key == "reference" and len(path) > 1 and path[-2] == "image"
        if key in _IMAGE_KEYS or is_reference:
            self._image(node, path)
        elif names_image(key) or key == "package":
            if not is_template(text) and plausible_reference(text) and unmistakable_reference(text):
                self.placed.add_image(node, self._label(path), Certainty.DERIVED)
            elif not is_template(text) and plausible_reference(text) and ":" in text:
                self.placed.add_image(node, self._label(path), Certainty.GUESS)
        elif text.startswith("docker://"):
            self.placed.add_image(
                node, self._label(path), Certainty.DERIVED, name=text.removeprefix("docker://")
            )
        else:
            certainty = Certainty.DERIVED if key in _OBJECT_TEXTS else Certainty.GUESS
            for name in names_in(key, text):
                self.placed.add_image(node, self._label(path), certainty, name=name)

    def _image(self, node: Scalar, path: tuple[str, ...]) -> None:
        text = node.text
        if node.is_null or not text.strip():
            return
        if is_template(text):
            self.placed.add_image(node, self._label(path), Certainty.DERIVED)
        elif plausible_reference(text) is None:
            return
        elif self.is_known:
            self.placed.add_image(node, self._label(path), Certainty.SURE)
        else:
            is_clear = unmistakable_reference(text) is not None or ":" in text
            self.placed.add_image(node, self._label(path), Certainty.DERIVED if is_clear else Certainty.GUESS)

    def _label(self, path: tuple[str, ...]) -> str:
        return f"{self.user}, {'.'.join(path)}"


def add_custom_values(node: Mapping, group: str, user: str, placed: PlacedFindings) -> None:
    """Add the images in the fields of a custom resource, besides those of its pod templates.

    Args:
        node: The object.
        group: The group of its API.
        user: Its kind and name.
        placed: Where the images are added.
    """
    reader = _Reader(placed, user, is_well_known(group))
    for key, child in node.pairs.items():
        reader._child(key, child, ())  # noqa: SLF001 - the same module
