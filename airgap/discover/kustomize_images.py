"""Applies the `images:` of a kustomization, as kustomize's own transformer does."""

from collections.abc import Callable
from dataclasses import field, replace
from typing import Self

from airgap.discover.findings import Place
from airgap.discover.node_edits import map_scalars
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, iterate_nodes
from airgap.values import dataclass

_CONTAINER_PATHS = (("containers", "[]", "image"), ("initContainers", "[]", "image"))
_VOLUME_PATH = ("volumes", "[]", "image", "reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRule:
    """An entry of `images:`."""

    node: Node
    name: str
    new_name: str
    new_tag: str
    digest: str
    tag_suffix: str

    @classmethod
    def parse(cls, node: Mapping) -> Self:
        """Read an entry. Its values are not checked."""
        return cls(
            node=node, name=node.text("name"), new_name=node.text("newName"), new_tag=node.text("newTag"),
            digest=node.text("digest"), tag_suffix=node.text("tagSuffix"),
        )  # fmt: skip

    def apply(self, image: str) -> str | None:
        """Return the new name of `image`; None if the rule is for other images."""
        name, tag, digest = split_name(image)
        if name != self.name:
            return None
        if self.new_tag or self.digest:
            tag, digest = self.new_tag, self.digest
        elif self.tag_suffix:
            tag, digest = f"{tag}{self.tag_suffix}", ""
        tag_part = f":{tag}" if tag else ""
        return f"{self.new_name or name}{tag_part}{f'@{digest}' if digest else ''}"


def split_name(image: str) -> tuple[str, str, str]:
    """Return the name, the tag and the digest of an image as they are written; each may be empty."""
    rest, _, digest = image.partition("@")
    name, colon, tag = rest.rpartition(":")
    return (name, tag, digest) if colon and "/" not in tag else (rest, "", digest)


@dataclass(slots=True)
class Changes:
    """What values were before they were changed, and where values of other files stand, by `id` of the
    value.
    """

    written: dict[int, str] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)
    _kept: list[Node] = field(default_factory=list)
    """All of these values, because an `id` is unique only while its value exists."""

    def record(self, new: Scalar, old: Scalar) -> None:
        """Keep the text and the place of `old` for `new`."""
        self.written[id(new)] = self.written.get(id(old), old.text)
        if id(old) in self.places:
            self.places[id(new)] = self.places[id(old)]
        self._kept.append(new)

    def set_places(self, node: Node, place: Callable[[Node], Place]) -> None:
        """Keep the places of `node` and all values below it."""
        for child in iterate_nodes(node):
            self.places.setdefault(id(child), place(child))
            self._kept.append(child)


@dataclass(slots=True)
class ImageTransformer:
    """Applies one rule to objects, and knows whether it ever matched."""

    rule: ImageRule
    changes: "Changes"
    has_matched: bool = False

    def apply(self, node: Node) -> Node:
        """Return the object `node` with its images renamed. Schemas of custom resources are not changed."""
        if isinstance(node, Mapping) and node.text("kind") == "CustomResourceDefinition":
            return node
        return map_scalars(node, self._change)

    def _change(self, path: tuple[str, ...], scalar: Scalar) -> Scalar:
        if path[-3:] not in _CONTAINER_PATHS and path[-4:] != _VOLUME_PATH:
            return scalar
        new = self.rule.apply(scalar.text)
        if new is None:
            return scalar
        self.has_matched = True
        changed = replace(scalar, text=new)
        self.changes.record(changed, scalar)
        return changed
