"""Reads `.env` files as Compose does: `NAME=value`, `export NAME=value`, quotes, comments and variables."""

import re
from collections import ChainMap
from collections.abc import MutableMapping
from dataclasses import dataclass, field

from airgap.discover.interpolation import interpolate
from airgap.discover.limits import MAX_VARIABLES_CHARACTERS

_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z0-9_.\-\[\]]+)[ \t]*(?P<sign>[=:]?)[ \t]*")
_QUOTED = {
    '"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL),
    "'": re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL),
}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "$": "$$"}
_COMMENT = re.compile(r"(?:^|\s)#.*")


@dataclass(slots=True)
class Variables:
    """The variables of a file, and what could not be read: the line and the reason."""

    values: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    size: int = 0
    """The characters of all values."""

    def set(self, name: str, value: str) -> None:
        """Set a variable."""
        self.values[name] = value
        self.size += len(value)


def parse_dotenv(text: str, above: MutableMapping[str, str]) -> Variables:
    """Return the variables in `text`.

    Args:
        text: The file.
        above: Variables with precedence, which the values in the file may use.
    """
    found = Variables()
    start, line = 0, 1
    while start < len(text):
        if found.size > MAX_VARIABLES_CHARACTERS:
            found.problems.append((line, "too many characters in all variables; the rest is not read"))
            break
        end = _entry(text, start, line, found, above)
        line += text.count("\n", start, end)
        start = end
    return found


def _entry(text: str, start: int, line: int, found: Variables, above: MutableMapping[str, str]) -> int:
    """Add the variable on the line at `start`. Returns the start of the next line."""
    line_end = text.find("\n", start) + 1 or len(text)
    content = text[start:line_end].strip()
    if not content or content.startswith("#"):
        return line_end
    match = _LINE.match(text, start, line_end)
    if match is None:
        found.problems.append((line, "not a variable, want NAME=VALUE"))
        return line_end
    if not match["sign"]:  # a name alone is a variable of the environment
        if match["name"] in above:
            found.set(match["name"], above[match["name"]])
        return line_end
    pattern = _QUOTED.get(text[match.end() : match.end() + 1])
    quoted = pattern.match(text, match.end()) if pattern else None
    if pattern and not quoted:
        found.problems.append((line, f"{match['name']}: a quote that is not closed"))
        return line_end
    if quoted is None:
        raw = _COMMENT.sub("", text[match.end() : line_end].rstrip("\r\n")).strip()
        _set(found, match["name"], raw, above)
        return line_end
    if quoted[0][0] == "'":
        found.set(match["name"], quoted[1])
    else:
        _set(found, match["name"], _ESCAPE.sub(_unescape, quoted[1]), above)
    return text.find("\n", quoted.end()) + 1 or len(text)


def _unescape(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[1], match[1])


def _set(found: Variables, name: str, raw: str, above: MutableMapping[str, str]) -> None:
    value = interpolate(raw, ChainMap(found.values, above))
    # `$(id -u)` is not a variable: Compose keeps the text.
    found.set(name, raw if value.errors else value.text)
