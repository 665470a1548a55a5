"""Checks values against the JSON schemas of `--json`: the part of JSON Schema that those use."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import airgap

FOLDER = Path(airgap.__file__).parent / "schemas"
_TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "null": type(None)}


@cache
def schema_for(words: tuple[str, ...]) -> Any:
    """The schema of the command that these words of a command line call; None for a command without one."""
    for count in (3, 2, 1):
        path = FOLDER / f"{'-'.join(words[:count])}.schema.json"
        if len(words) >= count and path.exists():
            return json.loads(path.read_text("utf-8"))
    return None


def faults(value: Any, schema: Any, where: str = "") -> Iterator[str]:
    """What of `value` the schema does not allow. A key that the schema does not name is a fault too."""
    if "anyOf" in schema:
        branches = [list(faults(value, part, where)) for part in schema["anyOf"]]
        if all(branches):
            yield from min(branches, key=len)
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is not one of {schema['enum']}"
    if "type" in schema and not _has_type(value, schema["type"]):
        yield f"{where}: {value!r} is not of type {schema['type']}"
    elif isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from faults(item, schema["items"], f"{where}[{number}]")
    elif isinstance(value, dict):
        yield from _faults_of_keys(value, schema, where)


def _has_type(value: Any, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and not (name == "integer" and isinstance(value, bool))


def _faults_of_keys(value: dict[str, Any], schema: Any, where: str) -> Iterator[str]:
    known = schema.get("properties", {})
    yield from (f"{where}.{key} is missing" for key in schema.get("required", ()) if key not in value)
    for key, inner in value.items():
        if key in known:
            yield from faults(inner, known[key], f"{where}.{key}")
        elif "additionalProperties" in schema:
            yield from faults(inner, schema["additionalProperties"], f"{where}.{key}")
        elif schema.get("type") == "object":
            yield f"{where}.{key} is not in the schema"
