"""Versions of charts: exact ones, and ranges as Helm writes them.

A range is read as npm reads it, after Helm's commas and the spaces behind operators are put in npm's form. A
prerelease is in a range only if the range names a prerelease of the same version. `!=` is not supported.
"""

import re
from collections.abc import Iterable

import semantic_version

from airgap.errors import FormatError
from airgap.manifest.tag_rule import parse_range

SEMVER = r"v?[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}(?:-[0-9A-Za-z.-]{1,40})?(?:\+[0-9A-Za-z.-]{1,40})?"
_MAX_CHARACTERS = 200
_AFTER_OPERATOR = re.compile(r"([<>=~^]) +")


def is_exact(text: str) -> bool:
    """Return whether a version is exact, and not a range."""
    return re.fullmatch(SEMVER, text, re.ASCII) is not None


def parse_chart_version(text: str) -> str:
    """Return an exact version as it is, and a range in npm's form. Raises `FormatError` for another text."""
    if is_exact(text):
        return text
    if not text.strip(", "):
        raise FormatError("there is no version", want="as in 4.11.3 or ^4.11")
    if len(text) > _MAX_CHARACTERS:
        want = f"at most {_MAX_CHARACTERS} characters"
        raise FormatError("the range of versions is too long", want=want, got=f"{len(text):,}")
    return parse_range(_AFTER_OPERATOR.sub(r"\1", " ".join(text.replace(",", " ").split())))


def newest_version(versions: Iterable[str], wanted: str) -> str | None:
    """Return the newest of some versions, as it is written there.

    Args:
        versions: Texts; those that are not versions are ignored.
        wanted: An exact version or a range, as `parse_chart_version` returns it.
    """
    if is_exact(wanted):
        return wanted if wanted in versions else None
    spec = semantic_version.NpmSpec(wanted)
    found = {text: semantic_version.Version(text.removeprefix("v")) for text in versions if _is_version(text)}
    fitting = [text for text, version in found.items() if version in spec]
    return max(fitting, key=lambda text: (found[text].precedence_key, text), default=None)


def _is_version(text: str) -> bool:
    return is_exact(text) and semantic_version.validate(text.removeprefix("v"))
