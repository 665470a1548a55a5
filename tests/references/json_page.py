"""The page about `--json`: docs/json.md."""

from collections.abc import Iterator

from airgap.cli.version import JSON_VERSION
from tests.references.json_keys import KEYS, Schema
from tests.references.json_output import OUTPUTS

HEAD = f"""# JSON output

With `--json`, a command writes one JSON object to standard output. A command that fails writes `{{"error": …}}`, which includes the
exit code. A command that did only part of its work writes its result, with a key `error` that is not null.

The schemas of all commands are in [airgap/schemas](../airgap/schemas) (JSON Schema 2020-12), and in the installed package. Their
version is {JSON_VERSION}: it is part of each `$id`, and `airgap version --json` reports it as `json_version`.

Within a version, keys may be added, and so may values of enumerations such as verdicts. Nothing is removed, renamed or given another
type or meaning; that would be a new version. So ignore keys and values that you do not know.

Times are RFC 3339 in UTC, sizes are in bytes, digests are `sha256:HEX`, and key ids and fingerprints are hex digits. Text from media
and registries has its logins masked.
"""


def page() -> str:
    """The page."""
    lines = [HEAD, "## Keys", "", "| key | meaning | commands |", "|---|---|---|"]
    used = {command: set(_keys(schema)) for command, schema in OUTPUTS.items()}
    for key, (_, meaning) in sorted(KEYS.items()):
        names = [command for command, keys in used.items() if key in keys]
        lines.append(f"| `{key}` | {meaning} | {_shortened(names)} |")
    lines += [
        "",
        "## Keys with another meaning in some commands",
        "",
        "| key | meaning | commands |",
        "|---|---|---|",
    ]
    others: dict[tuple[str, str], list[str]] = {}
    for command, schema in OUTPUTS.items():
        for item in dict.fromkeys(_other_meanings(schema)):
            others.setdefault(item, []).append(command)
    for (key, meaning), commands in sorted(others.items()):
        lines.append(f"| `{key}` | {meaning} | {', '.join(commands)} |")
    return "\n".join(lines) + "\n"


def _shortened(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 9 else f"{len(names)} commands"


def _properties(schema: Schema) -> Iterator[tuple[str, Schema]]:
    for key, inner in schema.get("properties", {}).items():
        yield key, inner
        yield from _properties(inner)
    for part in (schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", ())):
        if part:
            yield from _properties(part)


def _keys(schema: Schema) -> Iterator[str]:
    return (key for key, _ in _properties(schema))


def _other_meanings(schema: Schema) -> Iterator[tuple[str, str]]:
    for key, inner in _properties(schema):
        meaning = inner.get("description", "")
        if meaning and meaning != KEYS.get(key, ("", ""))[1]:
            yield key, meaning
