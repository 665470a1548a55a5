"""Finds pod templates by their shape, in objects of any kind."""

from airgap.discover.findings import Certainty
from airgap.discover.operands import add_arguments, add_environment
from airgap.discover.placed_findings import PlacedFindings
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence

CONTAINER_LISTS = {
    "containers": "container",
    "initContainers": "init container",
    "ephemeralContainers": "ephemeral container",
    "sidecars": "sidecar",
    "steps": "step",
    "extraContainers": "container",
    "additionalContainers": "container",
}
"""Lists of containers, and what one of them is called: of pods, Tekton's tasks and Argo's workflows."""
CONTAINER_KEYS = {"container": "container", "script": "script", "stepTemplate": "step"}
"""Keys of a single container: of Argo's workflows and Tekton's tasks."""
_SKIPPED = {"annotations", "labels", "matchLabels", "status", "managedFields", "openAPIV3Schema"}


def add_pods(node: Node, user: str, placed: PlacedFindings) -> None:
    """Add the images of all pod templates at and below `node`; `user` is the object that they belong to."""
    if isinstance(node, Sequence):
        for item in node.items:
            add_pods(item, user, placed)
    if not isinstance(node, Mapping):
        return
    for key, child in node.pairs.items():
        if key in _SKIPPED:
            continue
        if key == "volumes":
            _add_volumes(node.items(key), user, placed)
        if is_container_list(key, child):
            for item in node.items(key):
                _add_container(item, user, CONTAINER_LISTS[key], placed)
        elif is_container(key, child):
            _add_container(child, user, CONTAINER_KEYS[key], placed)
        add_pods(child, user, placed)


def is_container_list(key: str, node: Node) -> bool:
    """Return whether the value of `key` is a list of containers."""
    return (
        key in CONTAINER_LISTS
        and isinstance(node, Sequence)
        and any(isinstance(item, Mapping) and "image" in item.pairs for item in node.items)
    )


def is_container(key: str, node: Node) -> bool:
    """Return whether the value of `key` is a container."""
    return key in CONTAINER_KEYS and isinstance(node, Mapping) and isinstance(node.pairs.get("image"), Scalar)


def _add_container(node: Node, user: str, what: str, placed: PlacedFindings) -> None:
    if not isinstance(node, Mapping):
        return
    label = f"{user}, {what} {node.text('name')}".rstrip()
    image = node.pairs.get("image")
    if isinstance(image, Scalar):
        _add_container_image(image, label, placed)
    add_environment(node.items("env"), label, placed)
    add_arguments((*node.items("command"), *node.items("args")), label, placed)


def _add_container_image(image: Scalar, label: str, placed: PlacedFindings) -> None:
    if image.text.strip() in {"", "auto"} or image.is_null:
        placed.add_warning(
            image,
            "the image is filled in by the cluster (an image stream, or a webhook)",
            "list the image that the cluster fills in, in the manifest",
            label,
        )
    elif image.text in {"controller:latest", "controller"}:
        placed.add_problem(
            image,
            f"a placeholder for an image, got {image.text!r}",
            "run discover on the kustomization, or on the rendered files, that replace it",
            label,
        )
    else:
        placed.add_image(image, label, Certainty.SURE)


def _add_volumes(volumes: tuple[Node, ...], user: str, placed: PlacedFindings) -> None:
    for volume in volumes:
        if not isinstance(volume, Mapping):
            continue
        label = f"{user}, volume {volume.text('name')}".rstrip()
        reference = volume.mapping("image").scalar("reference")
        if reference:
            placed.add_image(reference, label, Certainty.SURE)
        attributes = volume.mapping("csi").mapping("volumeAttributes")
        if volume.mapping("csi").text("driver").endswith("image.csi.k8s.io") and attributes.scalar("image"):
            placed.add_image(attributes.pairs["image"], label, Certainty.SURE)  # type: ignore[arg-type]
