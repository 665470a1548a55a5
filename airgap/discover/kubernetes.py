"""Reads Kubernetes objects: pod templates wherever they stand, custom resources, and what controllers start.

An image of a container is `sure` in any kind of object, because the shape is a specification. Fields of
custom resources are `sure` for operators that are known, and `derived` otherwise. Schemas, policies and
comments name no images that run.
"""

from collections.abc import Iterable, Iterator

from airgap.discover.chart_objects import add_chart_object
from airgap.discover.custom_resources import STARTING_KEYS, has_no_images, is_configuration, is_core
from airgap.discover.custom_values import add_custom_values
from airgap.discover.operands import add_configuration
from airgap.discover.placed_findings import PlacedFindings
from airgap.discover.pods import add_pods
from airgap.discover.template_parameters import parameters_in
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, iterate_nodes
from airgap.values import dataclass

_CONFIGURATION_KINDS = ("ConfigMap", "Secret")


@dataclass(frozen=True, slots=True)
class KubernetesObject:
    """An object with a kind."""

    node: Mapping

    @property
    def kind(self) -> str:
        """The kind, such as `Deployment`."""
        return self.node.text("kind")

    @property
    def group(self) -> str:
        """The group of its API; empty for the core group."""
        group, slash, _ = self.node.text("apiVersion").partition("/")
        return group if slash else ""

    @property
    def name(self) -> str:
        """The name, or the beginning of a generated one."""
        metadata = self.node.mapping("metadata")
        return metadata.text("name") or metadata.text("generateName")

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


def is_kubernetes(node: Node) -> bool:
    """Return whether a document is an object of Kubernetes."""
    return isinstance(node, Mapping) and bool(node.text("apiVersion")) and bool(node.text("kind"))


def objects_in(documents: Iterable[Node]) -> Iterator[KubernetesObject]:
    """Yield the objects in the documents of a file: also those in a List, and in a Template of OpenShift."""
    for document in documents:
        if not isinstance(document, Mapping) or not document.text("kind"):
            continue
        items = document.items("items") if document.text("kind").endswith("List") else ()
        if document.text("kind") == "Template":
            items = document.items("objects")
        if items:
            yield from objects_in(items)
        else:
            yield KubernetesObject(document)


def read_kubernetes(documents: Iterable[Node], placed: PlacedFindings) -> None:
    """Add the images of all objects in the documents of a file."""
    silent: dict[str, KubernetesObject] = {}
    for document in documents:
        is_openshift = isinstance(document, Mapping) and document.text("kind") == "Template"
        for found in objects_in((document,)):
            count = _count(placed)
            placed.parameters = parameters_in(document if is_openshift else found.node)
            _read_object(found, placed)
            if count == _count(placed) and _starts_pods(found):
                silent.setdefault(f"{found.kind} ({found.group})", found)
    for kind, found in silent.items():
        placed.add_warning(
            found.node,
            f"no image is named in this {kind}; its operator chooses the images",
            "look the images up in the operator's documentation, and list them in the manifest",
            str(found),
        )


def _count(placed: PlacedFindings) -> int:
    return len(placed.findings.images) + len(placed.findings.problems)


def _read_object(found: KubernetesObject, placed: PlacedFindings) -> None:
    if has_no_images(found.group, found.kind):
        return
    if found.kind in _CONFIGURATION_KINDS and not found.group:
        add_configuration(found.node, str(found), placed)
        return
    add_pods(found.node, str(found), placed)
    if not is_core(found.group):
        add_custom_values(found.node, found.group, str(found), placed)
        add_chart_object(found.node, found.group, str(found), placed)


def _starts_pods(found: KubernetesObject) -> bool:
    """Return whether it is a custom resource for which an operator starts pods, as far as its fields show
    it.
    """
    if "." not in found.group or "spec" not in found.node.pairs:
        return False
    if is_configuration(found.group, found.kind) or has_no_images(found.group, found.kind):
        return False
    specification = found.node.mapping("spec")
    if any(
        isinstance(node, Mapping) and "imageCatalogRef" in node.pairs for node in iterate_nodes(specification)
    ):
        return False
    return bool(STARTING_KEYS & specification.pairs.keys()) or not _has_text(specification)


def _has_text(node: Mapping) -> bool:
    return any(isinstance(value, Scalar) or value.size > 1 for value in node.pairs.values())
