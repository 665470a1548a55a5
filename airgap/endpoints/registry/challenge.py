"""The WWW-Authenticate header: the login that a server requires (RFC 9110 §11)."""

import re
from dataclasses import dataclass, field
from typing import Self

from airgap.errors import EndpointError

_MAX_LENGTH = 8192
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's name for a word
_SEPARATORS = re.compile(r"[ \t]*(?:,[ \t]*)*")
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))(?=[ \t]*(?:,|$))')
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t]*,|[ \t]*$|[ ])")
_TOKEN68 = re.compile(r" +[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in: the scheme and its parameters, names in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def parse_all(cls, text: str, subject: str) -> list[Self]:
        """Return all challenges in the header's value; several headers must be joined by commas first.

        Raises `EndpointError` unless the whole text follows the grammar.
        """
        found: list[Self] = []
        position = _skip(text, 0)
        while position < len(text) <= _MAX_LENGTH:
            if found and (match := _PARAMETER.match(text, position)):
                _add(found[-1].parameters, match, subject)
            elif match := _SCHEME.match(text, position):
                found.append(cls(match[1].lower()))
                match = _TOKEN68.match(text, match.end()) or match
            else:
                break
            position = _skip(text, match.end())
        if not found or position < len(text):
            raise _malformed(subject)
        return found


def _add(parameters: dict[str, str], match: re.Match[str], subject: str) -> None:
    name = match[1].lower()
    if name in parameters:
        raise _malformed(subject)
    parameters[name] = match[3] or _ESCAPE.sub(r"\1", match[2] or "")


def _skip(text: str, position: int) -> int:
    match = _SEPARATORS.match(text, position)
    return match.end() if match else position


def _malformed(subject: str) -> EndpointError:
    return EndpointError("malformed WWW-Authenticate header", subject=subject)
