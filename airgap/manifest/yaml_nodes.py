"""Reads the YAML that other tools use (Compose, Kubernetes, Helm) into nodes with their places in the file.

Unlike `strict_yaml`, this takes several documents, anchors, aliases, merge keys and tags, because real
deployment files have them. A document that cannot be read is a problem with its line, and the other documents
are still read. Scalars are the text in the file: nothing becomes a number or a boolean. Values that aliases
repeat are counted as often as they are repeated, and the nodes are shared, so that a small file cannot become
a large value.
PyYAML's parser in C is used where there is one, because files of several megabytes occur.
"""

import bisect
import re
from collections.abc import Collection, Iterator
from dataclasses import field
from typing import Any, NoReturn, TypeAlias

import yaml

from airgap.limits import MAX_DEPLOYMENT_DEPTH, MAX_DEPLOYMENT_DOCUMENTS, MAX_DEPLOYMENT_VALUES
from airgap.values import dataclass

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DOCUMENT_MARK = re.compile(r"^---(?=[\s#]|\Z)", re.MULTILINE)
"""Where a document begins, also as Helm writes it: `---# Source: …`."""
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+")
"""An anchor and a tag before a value."""
_NULL = {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A text; an alias has the place of the text that it repeats."""

    text: str
    line: int
    """Lines count from 1."""
    start: int
    """The offset of its first character in the text of the file, with its quotes."""
    end: int
    """The offset after its last character."""
    is_plain: bool = True
    """Whether it is written without quotes, and not as a block."""
    tag: str | None = None
    size: int = 1
    height: int = 0

    @property
    def is_null(self) -> bool:
        """Whether YAML reads it as no value: `image:` or `image: null`."""
        return self.is_plain and self.text in _NULL


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A list."""

    items: "tuple[Node, ...]"
    line: int
    tag: str | None = None
    size: int = 1
    """The number of values in it, with itself and with those that aliases repeat."""
    height: int = 1
    """The levels of lists and mappings, with itself and with those that aliases repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Keys and values; those of merge keys (`<<`) are included, after its own."""

    pairs: "dict[str, Node]"
    key_lines: dict[str, int]
    line: int
    tag: str | None = None
    size: int = 1
    height: int = 1

    def get(self, key: str) -> "Node | None":
        """Return the value of `key`; None without it, and for an empty value."""
        node = self.pairs.get(key)
        return None if isinstance(node, Scalar) and node.is_null else node

    def scalar(self, key: str) -> Scalar | None:
        """Return the text at `key`; None if there is none."""
        node = self.get(key)
        return node if isinstance(node, Scalar) else None

    def text(self, key: str) -> str:
        """Return the characters of the text at `key`; empty if there is none."""
        node = self.scalar(key)
        return node.text if node else ""

    def mapping(self, key: str) -> "Mapping":
        """Return the mapping at `key`; an empty one if there is none."""
        node = self.get(key)
        return node if isinstance(node, Mapping) else Mapping(pairs={}, key_lines={}, line=self.line)

    def items(self, key: str) -> "tuple[Node, ...]":
        """Return the items of the list at `key`; empty if there is none."""
        node = self.get(key)
        return node.items if isinstance(node, Sequence) else ()


Node: TypeAlias = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class YamlProblem:
    """What could not be read, and where."""

    line: int
    what: str
    got: str | None = None


@dataclass(frozen=True, slots=True)
class YamlStream:
    """The documents of a file that could be read, and what could not."""

    documents: tuple[Node, ...]
    problems: tuple[YamlProblem, ...]


def parse_nodes(text: str, loader: Any = None) -> YamlStream:
    """Return the documents in `text`, which is a whole file. The keys and types are not checked.

    Args:
        text: The file, without a byte order mark.
        loader: The loader of PyYAML whose parser is used; by default the fastest one.
    """
    reader = _Reader(text, loader or _LOADER)
    documents: list[Node] = []
    for number, (start, end) in enumerate(_chunks(text)):
        if number >= MAX_DEPLOYMENT_DOCUMENTS:
            got = f"more than {MAX_DEPLOYMENT_DOCUMENTS:,}; the rest is not read"
            reader.problems.append(YamlProblem(reader.line_at(start), "too many documents", got))
            break
        try:
            documents += reader.documents(start, end)
        except _UnreadableError as error:
            reader.problems.append(error.problem)
    return YamlStream(tuple(documents), tuple(reader.problems))


def iterate_nodes(node: Node) -> Iterator[Node]:
    """Yield `node` and all nodes below it, in the order of the file."""
    yield node
    below = node.items if isinstance(node, Sequence) else ()
    for child in node.pairs.values() if isinstance(node, Mapping) else below:
        yield from iterate_nodes(child)


def _chunks(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each document, without its `---`.

    At the beginning of a line, `---` begins a document wherever it stands, also inside quotes (YAML 1.2, rule
    c-forbidden), so that a document that cannot be parsed does not hide the next one.
    """
    marks = list(_DOCUMENT_MARK.finditer(text))
    first_end = marks[0].start() if marks else len(text)
    if not _is_prologue(text[:first_end]):
        yield 0, first_end
    for number, mark in enumerate(marks):
        yield mark.end(), marks[number + 1].start() if number + 1 < len(marks) else len(text)


def _is_prologue(text: str) -> bool:
    """Return whether there are only comments and directives."""
    return all(
        not line.strip() or line.lstrip().startswith("#") or line[0] == "%" for line in text.splitlines()
    )


class _UnreadableError(Exception):
    def __init__(self, problem: YamlProblem) -> None:
        super().__init__(problem.what)
        self.problem = problem


@dataclass(slots=True)
class _Reader:
    text: str
    loader: Any
    problems: list[YamlProblem] = field(default_factory=list)
    _count: int = 0
    _base: int = 0
    _line_starts: list[int] = field(default_factory=list)
    _anchors: dict[str, Node | None] = field(default_factory=dict)
    """The values with a name; None while one is being built."""

    def __post_init__(self) -> None:
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", self.text))]

    def documents(self, start: int, end: int) -> Iterator[Node]:
        self._base = start
        events = self._events(self.text[start:end])
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                yield self._node(next(events), events, 0)

    def _events(self, text: str) -> Iterator[yaml.Event]:
        mark: Any = None
        try:
            for event in yaml.parse(text, Loader=self.loader):
                mark = event.end_mark
                yield event
        except yaml.MarkedYAMLError as error:
            self._refuse("not YAML", error.problem_mark or error.context_mark, error.problem)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            self._refuse("not YAML", mark, "a character that YAML does not allow" if error else None)

    def _node(self, event: Any, events: Iterator[yaml.Event], depth: int) -> Node:
        self._add(1, event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif depth >= MAX_DEPLOYMENT_DEPTH:
            self._refuse_depth(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, events, depth)
        else:
            node = self._mapping(event, events, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _add(self, count: int, event: Any) -> None:
        self._count += count
        if self._count > MAX_DEPLOYMENT_VALUES:
            self._refuse(
                "too many values", event.start_mark, f"more than {MAX_DEPLOYMENT_VALUES:,}, with aliases"
            )

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            what = (
                "an alias inside the value it repeats"
                if event.anchor in self._anchors
                else "an unknown alias"
            )
            self._refuse(what, event.start_mark, f"*{event.anchor}")
        self._add(node.size, event)
        return node

    def _scalar(self, event: Any) -> Scalar:
        start, end = self._base + event.start_mark.index, self._base + event.end_mark.index
        if (event.anchor or event.tag) and (properties := _PROPERTIES.match(self.text, start, end)):
            start = properties.end()
        # A number that is not a character (`"\U00110000"`) or half of one would break what prints it.
        text = event.value.encode("utf-8", "replace").decode("utf-8")
        return Scalar(
            text=text, line=self._line(event.start_mark), start=start, end=end,
            is_plain=not event.style, tag=event.tag,
        )  # fmt: skip

    def _sequence(self, event: Any, events: Iterator[yaml.Event], depth: int) -> Sequence:
        items: list[Node] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(self._node(item, events, depth + 1))
        size, height = self._measure(items, event, depth)
        return Sequence(
            items=tuple(items), line=self._line(event.start_mark), tag=event.tag, size=size, height=height
        )

    def _mapping(self, event: Any, events: Iterator[yaml.Event], depth: int) -> Mapping:
        pairs: dict[str, Node] = {}
        lines: dict[str, int] = {}
        merged: list[Node] = []
        while not isinstance(first := next(events), yaml.MappingEndEvent):
            key = self._key(first)
            value = self._node(next(events), events, depth + 1)
            if key.text == "<<" and key.is_plain:
                merged.append(value)
                continue
            if key.text in pairs and not _is_same(pairs[key.text], value):
                self.problems.append(
                    YamlProblem(key.line, "a key that occurs twice; the last one is used", key.text)
                )
            pairs[key.text], lines[key.text] = value, key.line
        for node in merged:
            self._merge(node, pairs, lines, event)
        size, height = self._measure(pairs.values(), event, depth)
        return Mapping(
            pairs=pairs, key_lines=lines, line=self._line(event.start_mark), tag=event.tag,
            size=size, height=height,
        )  # fmt: skip

    def _measure(self, children: Collection[Node], event: Any, depth: int) -> tuple[int, int]:
        """Return the size and the height of a value; aliases make it larger than its text."""
        height = 1 + max((child.height for child in children), default=0)
        if depth + height > MAX_DEPLOYMENT_DEPTH:
            self._refuse_depth(event)
        return 1 + sum(child.size for child in children), height

    def _refuse_depth(self, event: Any) -> NoReturn:
        self._refuse("nested too deeply", event.start_mark, f"more than {MAX_DEPLOYMENT_DEPTH} levels")

    def _merge(self, node: Node, pairs: dict[str, Node], lines: dict[str, int], event: Any) -> None:
        """Add the pairs of a merge key that are not there yet: the first of several mappings wins."""
        if isinstance(node, Sequence):
            for item in node.items:
                self._merge(item, pairs, lines, event)
        elif isinstance(node, Mapping):
            self._add(len(node.pairs), event)
            for key in [key for key in node.pairs if key not in pairs]:
                pairs[key], lines[key] = node.pairs[key], node.key_lines[key]
        elif not node.is_null:
            self.problems.append(YamlProblem(node.line, "a merge key without a mapping", node.text[:80]))

    def _key(self, event: Any) -> Scalar:
        node: Node | None = None
        if isinstance(event, yaml.AliasEvent):
            node = self._anchors.get(str(event.anchor))
        if node is None and isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
            if event.anchor is not None:
                self._anchors[event.anchor] = node
        if not isinstance(node, Scalar):
            self._refuse("not a key", event.start_mark, "a list, a mapping or an unknown alias")
        return node

    def line_at(self, offset: int) -> int:
        return bisect.bisect_right(self._line_starts, offset)

    def _line(self, mark: Any) -> int:
        return self.line_at(self._base + mark.index)

    def _refuse(self, what: str, mark: Any, got: str | None = None) -> NoReturn:
        line = self._line(mark) if mark else self.line_at(self._base)
        raise _UnreadableError(YamlProblem(line, what, got))


def _is_same(one: Node, other: Node) -> bool:
    return isinstance(one, Scalar) and isinstance(other, Scalar) and one.text == other.text
