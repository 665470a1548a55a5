"""The rule of an item with `tags:`: which tags of a repository are carried.

A version is a tag of two or three numbers, with or without a `v` before them and a prerelease behind them:
`1.27.3`, `v1.31.2`, `24.04`, `2.0.0-rc.1`. A tag of two numbers is not a version if the repository also has
tags of three with the same beginning: `1.27` then moves along with `1.27.0`, `1.27.1`, …

Patterns are matched by the Rust engine in pydantic-core, whose time is linear in the tag's length: a registry
cannot make it hang with a tag, as it could with `re`.
"""

import re
from collections.abc import Iterable

import semantic_version
from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from airgap.errors import FormatError
from airgap.limits import MAX_PATTERN_CHARACTERS, MAX_TAGS_OF_RULE
from airgap.oci.reference import is_tag
from airgap.oci.referrers import COSIGN_TAG, is_fallback_tag
from airgap.values import dataclass

_VERSION = re.compile(r"v?([0-9]+)\.([0-9]+)(?:\.([0-9]+)(-[0-9A-Za-z.-]+)?)?", re.ASCII)
_NUMBERS = re.compile("([0-9]+)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRule:
    """Which tags are carried. At least one of `semver` and `match` is set."""

    latest: int
    """The greatest number of tags."""
    semver: str | None = None
    """A range of versions as npm writes it. A prerelease is in it only if the range names a prerelease of the
    same version."""
    suffix: str = ""
    """What follows the version in the tag."""
    match: str | None = None
    """A regular expression for the whole tag."""

    def select(self, tags: Iterable[str]) -> list[str]:
        """Return the newest tags, the newest first. With `semver` the versions decide which are newer,
        otherwise the numbers in the tags, and then the text between them.

        Args:
            tags: The tags as the registry lists them, in any order. Texts that are not tags are ignored, and
                so are the tags of signatures and other attachments.
        """
        found = sorted({tag for tag in tags if _names_image(tag)})
        if self.match is not None:
            pattern = _compile(self.match)
            found = [tag for tag in found if _matches(pattern, tag)]
        ordered = sorted(found, key=_natural) if self.semver is None else self._versions(found, self.semver)
        return ordered[::-1][: self.latest]

    def _versions(self, tags: Iterable[str], semver: str) -> list[str]:
        """Return one tag of each version in the range, in ascending order."""
        wanted = semantic_version.NpmSpec(semver)
        tagged: dict[semantic_version.Version, str] = {}
        for version, tag in _versions_of(tags, self.suffix):
            if version in wanted:
                tagged.setdefault(version, tag)
        return [tagged[version] for version in sorted(tagged)]

    def to_json(self) -> dict[str, str | int | None]:
        """Return the rule as `TransferManifest.images_sha256` covers it."""
        return {"semver": self.semver, "suffix": self.suffix, "match": self.match, "latest": self.latest}

    def __str__(self) -> str:
        """Describe the rule for people."""
        parts = [self.semver and f"semver {self.semver}", self.suffix and f"suffix {self.suffix}"]
        return ", ".join(filter(None, (*parts, self.match and f"match {self.match}")))


def parse_range(text: str) -> str:
    """Return a range of versions as it is. Raises `FormatError` if it is not one."""
    try:
        semantic_version.NpmSpec(text)
    except (ValueError, AttributeError) as error:  # the second for bad versions around a dash
        hint = "write comparisons without spaces inside, and spaces between them"
        raise FormatError(
            "not a range of versions", want="as in '>=1.26 <2', '^1.26', '~1.26.1' or '1.x'", got=repr(text),
            hint=hint,
        ) from error  # fmt: skip
    return text


def parse_pattern(text: str) -> str:
    """Return a pattern as it is. Raises `FormatError` if the engine cannot use it."""
    if len(text) > MAX_PATTERN_CHARACTERS:
        want = f"at most {MAX_PATTERN_CHARACTERS:,} characters"
        raise FormatError("the pattern is too long", want=want, got=f"{len(text):,}")
    try:
        _compile(text)
    except SchemaError as error:
        reason = str(error).strip().rpartition("\n")[2].strip().removeprefix("error: ")
        raise FormatError(
            "not a regular expression", want="one without back-references and look-around", got=reason
        ) from error
    return text


def parse_suffix(text: str) -> str:
    """Return a suffix as it is. Raises `FormatError` if no tag can end with it."""
    if not is_tag(f"1.0.0{text}"):
        raise FormatError("not the end of a tag", want="as in '-alpine'", got=repr(text))
    return text


def parse_latest(text: str) -> int:
    """Return the number of tags that a rule takes at most. Raises `FormatError` for 0 and for too many."""
    number = int(text) if re.fullmatch("[0-9]{1,9}", text, re.ASCII) else 0
    if not 0 < number <= MAX_TAGS_OF_RULE:
        raise FormatError("not a number of tags", want=f"1 to {MAX_TAGS_OF_RULE:,}", got=repr(text))
    return number


def _names_image(tag: str) -> bool:
    return is_tag(tag) and not is_fallback_tag(tag) and COSIGN_TAG.fullmatch(tag) is None


def _compile(pattern: str) -> SchemaValidator:
    """Return what matches the whole of a text. `pattern` must be an expression by itself: `a)|(b` is not."""
    SchemaValidator(core_schema.str_schema(pattern=pattern))
    return SchemaValidator(core_schema.str_schema(pattern=f"^(?:{pattern})$"))


def _matches(pattern: SchemaValidator, tag: str) -> bool:
    try:
        pattern.validate_python(tag)
    except ValidationError:
        return False
    return True


def _versions_of(tags: Iterable[str], suffix: str) -> list[tuple[semantic_version.Version, str]]:
    """Return the tags that are versions followed by `suffix`. Shorter tags come first."""
    found = []
    for tag in sorted(tags, key=len):
        match = _VERSION.fullmatch(tag.removesuffix(suffix)) if tag.endswith(suffix) else None
        if match is not None:
            found.append((match, tag))
    series = {(int(match[1]), int(match[2])) for match, _ in found if match[3]}
    versions = []
    for match, tag in found:
        numbers = int(match[1]), int(match[2])
        text = f"{numbers[0]}.{numbers[1]}.{int(match[3] or 0)}{match[4] or ''}"
        if (match[3] or numbers not in series) and semantic_version.validate(text):
            versions.append((semantic_version.Version(text), tag))
    return versions


def _natural(tag: str) -> tuple[list[tuple[int, str]], str]:
    """Return the sort key of a tag without a version: `1.9` is before `1.10`."""
    parts = _NUMBERS.split(tag)
    return [(int(part), "") if number % 2 else (-1, part) for number, part in enumerate(parts)], tag
