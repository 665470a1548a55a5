"""Variables in Compose files and in `.env` files (Compose specification, "Interpolation").

`$NAME`, `${NAME}`, `${NAME-default}`, `${NAME:-default}`, `${NAME?error}`, `${NAME:?error}`, `${NAME+other}`
and `${NAME:+other}`; what follows the operator may have variables itself. `$$` is a dollar.
"""

import re
from collections.abc import Mapping
from dataclasses import field

from airgap.discover.limits import MAX_EXPANDED_CHARACTERS, MAX_VARIABLE_DEPTH
from airgap.values import dataclass

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OPERATOR = re.compile(r":?[-?+]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpolated:
    """A text with its variables replaced."""

    text: str
    variables: tuple[str, ...] = ()
    """The variables that the text depends on."""
    unset: tuple[str, ...] = ()
    """The variables among them that have no value, and were replaced by nothing."""
    errors: tuple[str, ...] = ()
    """Why Compose would refuse the text."""


def interpolate(text: str, values: Mapping[str, str]) -> Interpolated:
    """Return `text` with its variables replaced by `values`."""
    if "$" not in text:
        return Interpolated(text=text)
    reader = _Interpolation(values)
    replaced = reader.expand(text, 0)
    return Interpolated(
        text=replaced,
        variables=tuple(dict.fromkeys(reader.variables)),
        unset=tuple(dict.fromkeys(reader.unset)),
        errors=tuple(reader.errors),
    )


@dataclass(slots=True)
class _Interpolation:
    values: Mapping[str, str]
    variables: list[str] = field(default_factory=list)
    unset: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def expand(self, text: str, depth: int) -> str:
        """Return `text` with its variables replaced; `depth` is that of the braces around it."""
        if depth > MAX_VARIABLE_DEPTH:
            self.errors.append("variables are nested too deeply")
            return ""
        done, length, start = [], 0, 0
        while (dollar := text.find("$", start)) >= 0:
            replaced, after = self._variable(text, dollar + 1, depth)
            done += [text[start:dollar], replaced]
            start, length = after, length + dollar - start + len(replaced)
            if length > MAX_EXPANDED_CHARACTERS:
                self.errors.append("the text is too long once its variables are replaced")
                return ""
        return "".join([*done, text[start:]])

    def _variable(self, text: str, start: int, depth: int) -> tuple[str, int]:
        """Return what replaces the variable after a dollar, and the offset after it."""
        if text.startswith("$", start):
            return "$", start + 1
        if text.startswith("{", start):
            end = _closing_brace(text, start)
            if end >= 0:
                return self._braced(text[start + 1 : end], depth), end + 1
        elif match := _NAME.match(text, start):
            return self._value(match[0]), match.end()
        self.errors.append(f"not a variable: {text[start - 1 : start + 30]!r}; $$ is a dollar")
        return "", len(text)

    def _braced(self, inner: str, depth: int) -> str:
        match = _NAME.match(inner)
        name = match[0] if match else ""
        rest = inner[len(name) :]
        operator = _OPERATOR.match(rest)
        if not name or (rest and not operator):
            self.errors.append(f"not a variable: {'${' + inner[:30] + '}'!r}")
            return ""
        if operator is None:
            return self._value(name)
        return self._operate(name, operator[0], rest[operator.end() :], depth)

    def _operate(self, name: str, operator: str, argument: str, depth: int) -> str:
        self.variables.append(name)
        value = self.values.get(name)
        is_there = bool(value) if operator.startswith(":") else value is not None
        if operator.endswith("+"):
            return self.expand(argument, depth + 1) if is_there else ""
        if is_there:
            return value or ""
        if operator.endswith("-"):
            return self.expand(argument, depth + 1)
        message = f": {argument[:200]}" if argument else ""
        self.errors.append(f"the required variable {name} has no value{message}")
        return ""

    def _value(self, name: str) -> str:
        self.variables.append(name)
        if name not in self.values:
            self.unset.append(name)
        return self.values.get(name, "")


def _closing_brace(text: str, start: int) -> int:
    """Return the offset of the brace that closes the one at `start`; -1 without one."""
    depth, position = 0, start - 1
    for match in re.compile(r"\$\{|\}").finditer(text, start - 1):
        depth += 1 if match[0] == "${" else -1
        if depth == 0:
            position = match.start()
            break
    return position if depth == 0 and position >= start else -1
