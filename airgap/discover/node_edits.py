"""Changes in the values of a document, each of which gives a new value: the documents of a file stay as they
are.
"""

from collections.abc import Callable
from dataclasses import replace

from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence


def set_pair(node: Mapping, key: str, value: Node) -> Mapping:
    """Return `node` with `value` at `key`."""
    lines = {**node.key_lines, key: value.line}
    return replace(node, pairs={**node.pairs, key: value}, key_lines=lines)


def drop_pair(node: Mapping, key: str) -> Mapping:
    """Return `node` without `key`."""
    return replace(node, pairs={name: value for name, value in node.pairs.items() if name != key})


def set_items(node: Sequence, items: list[Node]) -> Sequence:
    """Return `node` with other items."""
    return replace(node, items=tuple(items))


def map_scalars(
    node: Node, change: Callable[[tuple[str, ...], Scalar], Scalar], path: tuple[str, ...] = ()
) -> Node:
    """Return `node` with each text replaced by what `change` returns for it.

    Args:
        node: The value.
        change: Gets the keys down to a text, in which the items of a list have the key `[]`, and the text.
        path: The keys down to `node`.
    """
    if isinstance(node, Scalar):
        return change(path, node)
    if isinstance(node, Sequence):
        items: list[Node] = [map_scalars(item, change, (*path, "[]")) for item in node.items]
        return node if _are_same(items, node.items) else set_items(node, items)
    pairs = {key: map_scalars(value, change, (*path, key)) for key, value in node.pairs.items()}
    return node if _are_same(pairs.values(), node.pairs.values()) else replace(node, pairs=pairs)


def _are_same(one: object, other: object) -> bool:
    return all(a is b for a, b in zip(one, other, strict=True))  # type: ignore[call-overload]
