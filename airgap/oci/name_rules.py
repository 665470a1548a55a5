"""Rules about which names the images of a sender may have, and at which target (FORMAT.md §12).

A pattern is compared with the normal form of an image's full name, `registry/repository:tag` or
`registry/repository@digest`. Its only special character is `*`, which matches any text, also `/` and `:`.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Self

from airgap.errors import FormatError
from airgap.limits import (
    MAX_NAME_PATTERN_CHARACTERS,
    MAX_NAME_PATTERNS,
    MAX_NAME_RULES,
    MAX_TARGET_CHARACTERS,
)
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import Fields
from airgap.values import dataclass

ANY_NAME = "*"
"""The pattern that matches every name."""

_PATTERN = re.compile(r"[a-z0-9.:\[\]*-]*[/*][A-Za-z0-9._:/@*-]*", re.ASCII)
_TARGET = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*", re.ASCII)


def check_pattern(text: str) -> str:
    """Return `text` if it is a pattern that a name can match. Raises `FormatError`."""
    if not _PATTERN.fullmatch(text) or len(text) > MAX_NAME_PATTERN_CHARACTERS:
        raise FormatError(
            "not a pattern of image names", subject=repr(text[:MAX_NAME_PATTERN_CHARACTERS]),
            want="HOST/REPOSITORY:TAG, with * for any characters", hint="as in 'registry.vendor/*'; '*' "
            "alone matches every name; write the whole name, in lower case: docker.io/library/nginx:*",
        )  # fmt: skip
    return text


def check_target(text: str) -> str:
    """Return `text` if it can be the name of a target. Raises `FormatError`."""
    if len(text) > MAX_TARGET_CHARACTERS or not _TARGET.fullmatch(text):
        raise FormatError("not the name of a target", subject=repr(text[:MAX_TARGET_CHARACTERS]))
    return text


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern.replace("[", "[[]"))


@dataclass(frozen=True, slots=True)
class NameRule:
    """The patterns of names that are allowed at one target, or at all of them."""

    patterns: tuple[str, ...]
    target: str | None = None
    """The target's name, as `--to` spells it; None for every target."""

    def allows(self, name: ImageReference, target: str) -> bool:
        """Return whether the rule is for the target, and one of its patterns matches."""
        return self.target in (None, target) and self.matches(name)

    def matches(self, name: ImageReference) -> bool:
        """Return whether one of its patterns matches."""
        return any(_matches(pattern, str(name.normal)) for pattern in self.patterns)

    def without_any(self) -> "NameRule":
        """Return the rule without the pattern that matches every name."""
        return NameRule(tuple(pattern for pattern in self.patterns if pattern != ANY_NAME), self.target)

    @property
    def value(self) -> dict[str, Any]:
        """The JSON value."""
        return {"names": list(self.patterns), "target": self.target}

    @classmethod
    def from_json(cls, fields: Fields) -> Self:
        """Read the JSON value. Raises `FormatError`."""
        patterns = fields.texts("names")
        target = fields.optional_text("target")
        fields.end()
        if not 0 < len(patterns) <= MAX_NAME_PATTERNS:
            want = f"1 to {MAX_NAME_PATTERNS} patterns"
            raise FormatError("wrong number of patterns", want=want, got=len(patterns))
        return cls(tuple(map(check_pattern, patterns)), None if target is None else check_target(target))

    def __str__(self) -> str:
        where = f" at {self.target}" if self.target else ""
        return ", ".join(self.patterns) + where


@dataclass(frozen=True, slots=True)
class NameRules:
    """All rules about one sender's names. A name is allowed if one of them allows it."""

    rules: tuple[NameRule, ...] = ()

    def refused(self, names: Iterable[ImageReference], target: str) -> list[ImageReference]:
        """Return the names that no rule allows at the target."""
        return [name for name in names if not any(rule.allows(name, target) for rule in self.rules)]

    def refused_everywhere(self, names: Iterable[ImageReference]) -> list[ImageReference]:
        """Return the names that no rule allows at any target."""
        return [name for name in names if not any(rule.matches(name) for rule in self.rules)]

    def name_explicitly(self, name: ImageReference, target: str) -> bool:
        """Return whether a pattern allows the name at the target that does not match every name."""
        return any(rule.without_any().allows(name, target) for rule in self.rules)

    def replaced(self, rule: NameRule) -> "NameRules":
        """Return the rules with `rule` in place of the one for the same target."""
        others = tuple(other for other in self.rules if other.target != rule.target)
        return NameRules((*others, rule) if rule.patterns else others)

    @property
    def value(self) -> list[dict[str, Any]]:
        """The JSON value."""
        return [rule.value for rule in self.rules]

    @classmethod
    def from_json(cls, items: Iterable[Fields]) -> Self:
        """Read the JSON values of the rules. Raises `FormatError`, also for two rules about one target."""
        rules = tuple(map(NameRule.from_json, items))
        targets = [rule.target for rule in rules]
        if len(rules) > MAX_NAME_RULES or len(set(targets)) != len(targets):
            raise FormatError("wrong rules", want=f"one for each target, at most {MAX_NAME_RULES}")
        return cls(rules)

    def __str__(self) -> str:
        return "; ".join(map(str, self.rules)) or "nothing"
