"""The requests of clients: paths, queries, ranges (OCI distribution-spec 1.1; RFC 9110, 14.2). No I/O."""

import re
from enum import Enum
from urllib.parse import parse_qs, unquote

from airgap.values import dataclass

_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


class RouteKind(Enum):
    """What a path of the API asks for."""

    BASE = "base"
    CATALOG = "catalog"
    TAGS = "tags"
    MANIFEST = "manifests"
    BLOB = "blobs"
    REFERRERS = "referrers"


@dataclass(frozen=True, slots=True)
class Route:
    """A path of the API. `name` is the text in the position of a repository's name, and `reference` that of a
    tag or digest: they are looked up, never used as file names.
    """

    kind: RouteKind
    name: str = ""
    reference: str = ""
    query: str = ""

    def argument(self, key: str) -> str | None:
        """Return the first value of `key` in the query."""
        try:
            return parse_qs(self.query, errors="strict", max_num_fields=16).get(key, [None])[0]
        except ValueError:
            return None


def parse_path(target: str) -> Route | None:
    """Return the route of a request's target; None if there is no such route."""
    path, _, query = target.partition("?")
    try:
        parts = unquote(path, errors="strict").split("/")
    except UnicodeDecodeError:
        return None
    if parts[:2] != ["", "v2"] or "%2f" in path.lower():  # proxies treat an escaped slash as either
        return None
    match parts[2:]:
        case [] | [""]:
            return Route(RouteKind.BASE)
        case ["_catalog"]:
            return Route(RouteKind.CATALOG, query=query)
        case [*name, "tags", "list"] if all(name) and name:
            return Route(RouteKind.TAGS, "/".join(name), query=query)
        case [*name, ("manifests" | "blobs" | "referrers") as kind, reference] if all(name) and name:
            return Route(RouteKind(kind), "/".join(name), reference, query) if reference else None
    return None


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes of a blob from `start` to before `end`."""

    start: int
    end: int


def parse_range(header: str | None, size: int) -> Span | None:
    """Return the requested range of a blob of `size` bytes. None means the whole blob: there is no range, or
    several, or one in an unknown unit. Raises `ValueError` for a range beyond the blob.
    """
    if header is None or not header.startswith("bytes=") or "," in header:
        return None
    match = _RANGE.fullmatch(header)
    if match is None or not (match[1] or match[2]):
        raise ValueError(header)
    if not match[1]:
        span = Span(max(0, size - int(match[2])), size)
    else:
        span = Span(int(match[1]), min(size, int(match[2]) + 1) if match[2] else size)
    if span.start >= span.end:
        raise ValueError(header)
    return span


def select_page(names: list[str], count: str | None, last: str | None) -> tuple[list[str], bool]:
    """Return at most `count` of the sorted `names` after `last`, and whether more follow. Raises
    `ValueError`.
    """
    if count is not None and not _NUMBER.fullmatch(count):
        raise ValueError(count)
    rest = [name for name in names if last is None or name > last]
    if count is None:
        return rest, False
    names_on_page = rest[: int(count)]
    return names_on_page, 0 < len(names_on_page) < len(rest)
