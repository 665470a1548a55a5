"""Services of Compose files, and how they are put together (Compose specification, "Merge").

A service is kept as the parts of files that say something about it, each with the variables that apply in its
file, so that every image can be located.
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from airgap.discover.context import place_of
from airgap.discover.findings import Place
from airgap.discover.interpolation import Interpolated, interpolate
from airgap.discover.limits import MAX_VALUE_CHARACTERS
from airgap.discover.sources import SourceFile
from airgap.manifest import yaml_nodes
from airgap.manifest.yaml_nodes import Node, Scalar
from airgap.values import dataclass

RESET, OVERRIDE = "!reset", "!override"
_LISTS = frozenset({"profiles", "volumes", "environment", "pre_start", "post_start", "pre_stop"})
"""The keys whose items are added to those of the files below; other keys are replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A value in a Compose file."""

    file: SourceFile
    node: Node
    variables: Mapping[str, str]

    @property
    def place(self) -> Place:
        """Where it stands."""
        return place_of(self.file, self.node)

    def at(self, node: Node) -> "Part":
        """Return the part for a value inside this one."""
        return Part(file=self.file, node=node, variables=self.variables)

    def get(self, key: str) -> "Part | None":
        """Return the part at `key`, if this is a mapping that has it."""
        node = self.node.get(key) if isinstance(self.node, yaml_nodes.Mapping) else None
        return None if node is None else self.at(node)

    def items(self) -> "Iterator[Part]":
        """Yield the parts of a list; a text is a list of one."""
        if isinstance(self.node, Scalar):
            yield self
        elif isinstance(self.node, yaml_nodes.Sequence):
            yield from map(self.at, self.node.items)

    def pairs(self) -> "Iterator[tuple[str, Part]]":
        """Yield the keys and parts of a mapping."""
        if isinstance(self.node, yaml_nodes.Mapping):
            for key, node in self.node.pairs.items():
                yield key, self.at(node)

    def value(self) -> Interpolated:
        """Return the text with its variables replaced; empty for a list or a mapping."""
        text = self.node.text if isinstance(self.node, Scalar) else ""
        if len(text) > MAX_VALUE_CHARACTERS:
            return Interpolated(text="", errors=(f"more than {MAX_VALUE_CHARACTERS:,} characters",))
        return interpolate(text, self.variables)


Service: TypeAlias = dict[str, tuple[Part, ...]]
"""The parts for each key of a service, the last one on top."""
Services: TypeAlias = dict[str, Service]


def service_of(part: Part) -> Service:
    """Return the service that one file describes."""
    return {key: (value,) for key, value in part.pairs() if not key.startswith("x-")}


def merge_service(below: Service, above: Service) -> Service:
    """Return the service that `above` makes of `below`."""
    merged = dict(below)
    for key, parts in above.items():
        tag = parts[0].node.tag
        if tag == RESET:
            merged.pop(key, None)
        elif key in _LISTS and tag != OVERRIDE:
            merged[key] = (*merged.get(key, ()), *parts)
        elif not (isinstance(parts[-1].node, Scalar) and parts[-1].node.is_null):
            merged[key] = parts
    return merged


def merge_services(below: Services, above: Mapping[str, tuple[Part, Service]]) -> Services:
    """Return all services that `above` makes of those `below`; each comes with the part that describes it."""
    merged = dict(below)
    for name, (part, service) in above.items():
        if part.node.tag == RESET:
            merged.pop(name, None)
        elif part.node.tag == OVERRIDE:
            merged[name] = merge_service({}, service)
        else:
            merged[name] = merge_service(merged.get(name, {}), service)
    return merged
