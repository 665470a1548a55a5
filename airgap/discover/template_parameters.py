"""Fills parameters into names of images, where the object itself has their values.

Tekton's `$(params.NAME)` has a default, Argo's `{{inputs.parameters.NAME}}` gets values where the template is
used, and OpenShift's `${NAME}` has a value in the Template.
"""

import re
from collections.abc import Iterator, Mapping

from airgap.discover.image_text import is_template
from airgap.manifest.yaml_nodes import Mapping as MappingNode
from airgap.manifest.yaml_nodes import Node, iterate_nodes

_PARAMETER = re.compile(
    r"\$\((?:inputs\.)?params\.([\w-]+)\)|\{\{\s*(?:inputs|workflow)\.parameters\.([\w-]+)\s*\}\}|\$\{(\w+)\}"
)
_LISTS = ("params", "parameters")
_VALUES = ("default", "value")
_MAX_VALUES = 50
"""Values of one parameter: more are not images that a person chose."""

Parameters = Mapping[str, tuple[str, ...]]
"""The values of each parameter, by its name."""


def parameters_in(node: Node) -> dict[str, tuple[str, ...]]:
    """Return the parameters that an object declares or passes on, with their literal values."""
    found: dict[str, dict[str, None]] = {}
    for below in iterate_nodes(node):
        for name, value in _values(below) if isinstance(below, MappingNode) else ():
            values = found.setdefault(name, {})
            if len(values) < _MAX_VALUES:
                values[value] = None
    return {name: tuple(values) for name, values in found.items()}


def _values(node: MappingNode) -> Iterator[tuple[str, str]]:
    for key in _LISTS:
        for item in node.items(key):
            if isinstance(item, MappingNode):
                texts = (item.text(key) for key in _VALUES)
                value = next(filter(None, texts), "")
                if value and not is_template(value):
                    yield item.text("name"), value


def fill_in(text: str, parameters: Parameters) -> tuple[str, ...]:
    """Return what `text` can be with the values of its parameters; empty if one of them has no single value.

    A text that is nothing but one parameter can be each of its values.
    """
    whole = _PARAMETER.fullmatch(text)
    if whole:
        return parameters.get(_name(whole), ())
    names = [_name(match) for match in _PARAMETER.finditer(text)]
    if not names or any(len(parameters.get(name, ())) != 1 for name in names):
        return ()
    filled = _PARAMETER.sub(lambda match: parameters[_name(match)][0], text)
    return () if is_template(filled) else (filled,)


def _name(match: re.Match[str]) -> str:
    return match[1] or match[2] or match[3]
