"""The objects of a kustomization, and which of them a patch changes."""

import re
from dataclasses import replace
from typing import Self

from airgap.discover.kubernetes import KubernetesObject
from airgap.discover.sources import SourceFile
from airgap.manifest.yaml_nodes import Mapping
from airgap.values import dataclass

_MAX_PATTERN_CHARACTERS = 253
"""Names in Kubernetes have at most 253 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """An object, and the file that it comes from."""

    file: SourceFile
    node: Mapping
    names: frozenset[str]
    """Its name, and the names that it had before prefixes and suffixes were added."""

    def with_node(self, node: Mapping) -> Self:
        """Return the object after a change."""
        return replace(self, node=node)

    def renamed(self, prefix: str, suffix: str) -> Self:
        """Return the object with its new name besides the old ones."""
        if not prefix and not suffix:
            return self
        return replace(self, names=self.names | {f"{prefix}{name}{suffix}" for name in self.names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Says which objects a patch changes. An empty field matches all."""

    kind: str
    name: str
    group: str
    labels: str
    is_exact: bool

    @classmethod
    def parse(cls, node: Mapping) -> Self | None:
        """Read the `target` of a patch; None if there is none."""
        if not node.pairs:
            return None
        return cls(
            kind=node.text("kind"), name=node.text("name"), group=node.text("group"),
            labels=node.text("labelSelector"), is_exact=False,
        )  # fmt: skip

    @classmethod
    def of_patch(cls, patch: Mapping) -> Self:
        """Return the target of a strategic merge, which names its object itself."""
        found = KubernetesObject(patch)
        return cls(kind=found.kind, name=found.name, group=found.group, labels="", is_exact=True)

    def matches(self, resource: Resource) -> bool:
        """Return whether the patch changes `resource`. Versions and namespaces are not compared."""
        found = KubernetesObject(resource.node)
        if self.is_exact:
            return (self.kind, self.group) == (found.kind, found.group) and self.name in resource.names
        return (
            _fits(self.kind, {found.kind})
            and _fits(self.group, {found.group})
            and _fits(self.name, resource.names)
            and self._has_labels(resource.node)
        )

    def _has_labels(self, node: Mapping) -> bool:
        labels = node.mapping("metadata").mapping("labels")
        rules = [rule.split("=", 1) for rule in self.labels.replace("==", "=").split(",") if rule]
        return all(len(rule) == 2 and labels.text(rule[0].strip()) == rule[1].strip() for rule in rules)


def _fits(pattern: str, texts: set[str] | frozenset[str]) -> bool:
    """Return whether one of `texts` is what the pattern of a target means.

    kustomize takes any regular expression. One with nested repetition could take for ever, so only `.*`, `|`
    and groups are patterns here; other patterns are compared as text.
    """
    if not pattern:
        return True
    if len(pattern) > _MAX_PATTERN_CHARACTERS or not re.fullmatch(r"[\w.|()^$*-]+", pattern, re.ASCII):
        return pattern in texts
    choices = pattern.removeprefix("^").removesuffix("$").strip("()").split("|")
    return any(_matches(choice, text) for choice in choices for text in texts)


def _matches(choice: str, text: str) -> bool:
    """Return whether `text` is `choice`, in which `.*` stands for any text: without backtracking."""
    first, *others = choice.split(".*")
    if not others:
        return choice == text
    *middle, last = others
    if not text.startswith(first) or not text[len(first) :].endswith(last):
        return False
    rest = text[len(first) : len(text) - len(last)]
    for part in middle:
        _, found, rest = rest.partition(part) if part else ("", "found", rest)
        if not found:
            return False
    return True
