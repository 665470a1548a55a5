r"""Reads strict YAML, without the surprising parts (YAML 1.1 as PyYAML parses it).

Each scalar is the text in the file, so `1.10` and `no` remain text. Surprising or expensive features of YAML
are refused while the parser produces events, before any value is built: anchors, aliases, tags, merge keys,
duplicate keys, directives, further documents, control characters (also written as `"\x07"`), deep nesting.
PyYAML's parser in Python is used: the parser in C has other error messages and is not installed everywhere.
"""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, cast

import yaml

from airgap.errors import FormatError, MediaError, disk_failed
from airgap.limits import MAX_YAML_BYTES, MAX_YAML_DEPTH, MAX_YAML_VALUES
from airgap.values import dataclass

Value: TypeAlias = "str | list[Value] | dict[str, Value]"
YamlPath: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the document down to a value."""

_UNFIT = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # controls
    r"|\r(?!\n)|[\u2028\u2029]"  # line ends that editors count differently
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # bidirectional overrides
    r"|[\ud800-\udfff\ufeff\ufffe\uffff]"
)


@dataclass(frozen=True, slots=True)
class Position:
    """A position in the file; lines and columns count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """The value in a YAML file, with the positions of its parts."""

    name: str
    """The name of the file in errors."""
    value: Value
    values: dict[YamlPath, Position]
    """The start of each value."""
    keys: dict[YamlPath, Position]
    """The position of the key of each value in a mapping."""

    def line(self, yaml_path: YamlPath) -> int:
        """Return the line on which the value at `yaml_path` begins."""
        return self.values[yaml_path].line

    def find(self, yaml_path: YamlPath) -> Value:
        """Return the value at `yaml_path`, which is one of `values`."""
        value: Any = self.value
        for step in yaml_path:
            value = value[step]
        return cast(Value, value)

    def at(self, yaml_path: YamlPath, *, key: bool = False) -> str:
        """Return `FILE:LINE:COLUMN` of a value, or of its key."""
        position = (self.keys if key else self.values)[yaml_path]
        return f"{self.name}:{position.line}:{position.column}"


def read_yaml_file(path: Path, max_bytes: int = MAX_YAML_BYTES) -> bytes:
    """Return the file's bytes, at most one more than `max_bytes`. Raises `FormatError`, and `MediaError` if
    the disk fails.
    """
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and disk_failed(error):
            raise MediaError.of(error, "cannot read", path) from error
        if isinstance(error, FileNotFoundError):
            raise FormatError("no such file", subject=path) from error
        why = error.strerror if isinstance(error, OSError) else "an invalid path"
        raise FormatError("cannot be read", subject=path, got=why) from error


def parse_yaml(
    raw: bytes,
    name: str,
    max_bytes: int = MAX_YAML_BYTES,
    *,
    max_values: int = MAX_YAML_VALUES,
    fast: bool = False,
) -> Document:
    """Return the document in `raw`; errors name the file `name`.

    Raises `FormatError` with the position of text that is not strict YAML. The keys and types of the
    document are not checked. `fast` uses the parser in C where it is installed, for large files that no
    person wrote, so that its other messages do not matter.
    """
    if len(raw) > max_bytes:
        raise FormatError("too large", subject=name, want=f"at most {max_bytes:,} bytes", got="more")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader) if fast else yaml.SafeLoader
    return _Reader(_decode(raw, name), name, max_values, loader).document()


def dump_yaml(value: object) -> bytes:
    """Return readable YAML for `parse_yaml`: one value on each line, keys in their order, no aliases."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=MAX_YAML_BYTES, encoding="utf-8")


def describe_value(value: Value) -> str:
    """Return the description of a value for the `got` of an error."""
    if isinstance(value, str):
        return repr(value if len(value) <= 80 else f"{value[:79]}…") if value else "nothing"
    return "a list" if isinstance(value, list) else "a mapping"


def _decode(raw: bytes, name: str) -> str:
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise FormatError(
            "not UTF-8", subject=f"{name}:{line}", got=f"byte 0x{raw[error.start]:02x}"
        ) from error
    if unfit := _UNFIT.search(text):
        line, last = text.count("\n", 0, unfit.start()) + 1, text.rfind("\n", 0, unfit.start())
        raise FormatError(
            "control character", subject=f"{name}:{line}:{unfit.start() - last}", got=f"U+{ord(unfit[0]):04X}"
        )
    return text


class _Reader:
    """Builds values directly from the parser's events; its recursion is at most `MAX_YAML_DEPTH` deep."""

    def __init__(self, text: str, name: str, max_values: int, loader: Any) -> None:
        self._text = text
        self._max_values = max_values
        self._loader = loader
        self._name = name
        self._events = self._checked_events()
        self._values: dict[YamlPath, Position] = {}
        self._keys: dict[YamlPath, Position] = {}

    def document(self) -> Document:
        next(self._events)
        first = next(self._events)
        if isinstance(first, yaml.StreamEndEvent):
            self._refuse("empty document", None, want="a mapping")
        value = self._value(next(self._events), ())
        next(self._events)
        further = next(self._events)
        if not isinstance(further, yaml.StreamEndEvent):
            self._refuse("more than one document", further.start_mark)
        return Document(self._name, value, self._values, self._keys)

    def _checked_events(self) -> Iterator[yaml.Event]:
        mark: Any = None
        try:
            for event in yaml.parse(self._text, Loader=self._loader):
                mark = event.end_mark
                self._check(event)
                yield event
        except yaml.MarkedYAMLError as error:
            self._refuse(
                "not YAML",
                error.problem_mark or error.context_mark,
                got=", ".join(filter(None, (error.context, error.problem))),
                hint="indent with spaces" if "\\t" in (error.problem or "") else None,
                cause=error,
            )
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # PyYAML does not catch Python's errors for numbers that are not characters: "\U00110000".
            self._refuse("not YAML", mark, got="a number out of range", cause=error)

    def _check(self, event: yaml.Event) -> None:
        start: Any = event.start_mark
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor is not None:
            sigil = "*" if isinstance(event, yaml.AliasEvent) else "&"
            self._refuse(
                "YAML anchors and aliases are not allowed",
                start,
                got=f"{sigil}{anchor}",
                hint="write the value out where it is needed",
            )
        if tag is not None:
            self._refuse("YAML tags are not allowed", start, got=tag)
        if isinstance(event, yaml.DocumentStartEvent) and self._text.startswith("%", start.index):
            self._refuse("YAML directives are not allowed", start)

    def _value(self, event: yaml.Event, yaml_path: YamlPath) -> Value:
        self._values[yaml_path] = _position(event.start_mark)
        if len(self._values) > self._max_values:
            self._refuse("too many values", event.start_mark, want=f"at most {self._max_values:,}")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if len(yaml_path) >= MAX_YAML_DEPTH:
            self._refuse("nested too deeply", event.start_mark, want=f"at most {MAX_YAML_DEPTH} levels")
        return (
            self._items(yaml_path) if isinstance(event, yaml.SequenceStartEvent) else self._pairs(yaml_path)
        )

    def _scalar(self, event: yaml.ScalarEvent) -> str:
        if unfit := _UNFIT.search(event.value):
            self._refuse("control character", event.start_mark, got=f"U+{ord(unfit[0]):04X}")
        return str(event.value)

    def _items(self, yaml_path: YamlPath) -> Value:
        items: list[Value] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*yaml_path, len(items))))
        return items

    def _pairs(self, yaml_path: YamlPath) -> Value:
        pairs: dict[str, Value] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, yaml_path)
            pairs[key] = self._value(next(self._events), (*yaml_path, key))
        return pairs

    def _key(self, event: yaml.Event, yaml_path: YamlPath) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse("not a key", event.start_mark, want="text", got="a list or a mapping")
        key = self._scalar(event)
        if key == "<<":
            self._refuse("YAML merge keys are not allowed", event.start_mark, got=repr(key))
        if first := self._keys.get((*yaml_path, key)):
            self._refuse(
                "duplicate key", event.start_mark, got=f"{describe_value(key)}, as on line {first.line}"
            )
        self._keys[*yaml_path, key] = _position(event.start_mark)
        return key

    def _refuse(
        self,
        what: str,
        mark: Any,
        *,
        want: str | None = None,
        got: str | None = None,
        hint: str | None = None,
        cause: Exception | None = None,
    ) -> NoReturn:
        where = _position(mark) if mark else Position(1, 1)
        subject = f"{self._name}:{where.line}:{where.column}"
        raise FormatError(what, subject=subject, want=want, got=got, hint=hint) from cause


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)
