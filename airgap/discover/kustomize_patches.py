"""Applies the patches of kustomize: strategic merges and JSON patches (RFC 6902).

The lists of pods are merged by the key of their items, as Kubernetes does; other lists are replaced.
"""

import re
from collections.abc import Iterable

from airgap.discover.node_edits import drop_pair, set_items, set_pair
from airgap.errors import FormatError
from airgap.limits import MAX_DEPLOYMENT_DEPTH
from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence

_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
}
"""The key by which the items of a list are merged, where the lists are those of pods."""
_DIRECTIVE = "$patch"


def merge(target: Node, patch: Node, key: str = "") -> Node | None:
    """Return `target` after a strategic merge with `patch`; None if it is deleted.

    Args:
        target: The value to change.
        patch: The value of the patch at the same place.
        key: The key of both, which says how lists are merged.
    """
    if isinstance(patch, Mapping) and isinstance(target, Mapping):
        return _merge_mappings(target, patch)
    if isinstance(patch, Sequence) and isinstance(target, Sequence) and key in _MERGE_KEYS:
        return _merge_items(target, patch, _MERGE_KEYS[key])
    return _without_directives(patch)


def _merge_mappings(target: Mapping, patch: Mapping) -> Mapping | None:
    directive = patch.text(_DIRECTIVE)
    if directive == "delete":
        return None
    if directive == "replace":
        return drop_pair(patch, _DIRECTIVE)
    for key, value in patch.pairs.items():
        if key.startswith("$"):
            continue
        is_null = isinstance(value, Scalar) and value.is_null
        old = target.pairs.get(key)
        merged = None if is_null else merge(old, value, key) if old else _without_directives(value)
        target = drop_pair(target, key) if merged is None else set_pair(target, key, merged)
    return target


def _merge_items(target: Sequence, patch: Sequence, key: str) -> Sequence:
    is_replaced = any(
        isinstance(item, Mapping) and item.text(_DIRECTIVE) == "replace" for item in patch.items
    )
    items: list[Node] = [] if is_replaced else list(target.items)
    for item in patch.items:
        if not isinstance(item, Mapping) or (item.text(_DIRECTIVE) == "replace" and not item.text(key)):
            continue
        place = next((number for number, old in enumerate(items) if _has(old, key, item.text(key))), None)
        merged = merge(items[place], item) if place is not None else _without_directives(item)
        if place is None and merged is not None:
            items.append(merged)
        elif place is not None:
            items[place : place + 1] = [] if merged is None else [merged]
    return set_items(target, items)


def _has(node: Node, key: str, value: str) -> bool:
    return isinstance(node, Mapping) and node.text(key) == value


def _without_directives(node: Node) -> Node | None:
    if isinstance(node, Mapping) and node.text(_DIRECTIVE) == "delete":
        return None
    return drop_pair(node, _DIRECTIVE) if isinstance(node, Mapping) and _DIRECTIVE in node.pairs else node


def apply_operations(target: Node, operations: Iterable[Node]) -> Node:
    """Return `target` after the operations of a JSON patch. `copy`, `move` and `test` are not applied.

    Raises `FormatError` for an operation whose path is not in `target`.
    """
    for operation in operations:
        if isinstance(operation, Mapping) and operation.text("op") in {"add", "replace", "remove"}:
            steps = [_unescape(step) for step in operation.text("path").split("/")[1:]]
            if len(steps) > MAX_DEPLOYMENT_DEPTH:
                raise _no_place(operation)
            target = _apply(target, steps, operation)
    return target


def _unescape(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")


def _apply(node: Node, steps: list[str], operation: Mapping) -> Node:
    if not steps:
        return operation.pairs.get("value", node)
    step, rest = steps[0], steps[1:]
    if isinstance(node, Mapping):
        return _apply_to_mapping(node, step, rest, operation)
    if isinstance(node, Sequence):
        return _apply_to_items(node, step, rest, operation)
    raise _no_place(operation)


def _apply_to_mapping(node: Mapping, step: str, rest: list[str], operation: Mapping) -> Node:
    if rest:
        if step not in node.pairs:
            raise _no_place(operation)
        return set_pair(node, step, _apply(node.pairs[step], rest, operation))
    if operation.text("op") == "remove":
        return drop_pair(node, step)
    return set_pair(node, step, operation.pairs.get("value", node))


def _apply_to_items(node: Sequence, step: str, rest: list[str], operation: Mapping) -> Node:
    items = list(node.items)
    is_added = operation.text("op") == "add" and not rest
    if step == "-" and is_added:
        return set_items(node, [*items, operation.pairs.get("value", node)])
    number = int(step) if re.fullmatch(r"[0-9]{1,6}", step, re.ASCII) else -1
    if not 0 <= number < len(items) + is_added:
        raise _no_place(operation)
    if rest:
        items[number] = _apply(items[number], rest, operation)
    elif operation.text("op") == "remove":
        del items[number]
    else:
        items[number : number + (not is_added)] = [operation.pairs.get("value", node)]
    return set_items(node, items)


def _no_place(operation: Mapping) -> FormatError:
    return FormatError("a patch whose path is not in its target", got=repr(operation.text("path")[:200]))
