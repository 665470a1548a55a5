"""The references in docs/ and airgap/schemas agree with the program that they describe."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.references import FOLDERS, REPOSITORY, make_references
from tests.references.commands import Documented, all_commands
from tests.references.json_output import OUTPUTS, schema_of
from tests.support.json_schema import faults
from tests.support.parts import require_tool

REFERENCES = make_references()
PAGES = sorted(path for path in REFERENCES if path.suffix == ".1")
COMMANDS = all_commands()


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_reference_is_up_to_date(path: Path) -> None:
    assert path.read_text("utf-8") == REFERENCES[path], "run python -m tests.references"


def test_no_reference_is_left_from_earlier() -> None:
    written = {path for folder in FOLDERS for path in (REPOSITORY / folder).iterdir()}
    assert written <= set(REFERENCES)


# -- commands


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.title)
def test_every_part_of_a_command_is_explained(command: Documented) -> None:
    assert command.summary.endswith(".")
    assert all(item.help and item.help.endswith(".") for item in (*command.arguments, *command.options))
    assert command.examples or command.subcommands


def test_every_command_that_has_json_has_a_schema() -> None:
    found = {
        command.name for command in COMMANDS if any(option.text == "--json" for option in command.options)
    }
    assert found == set(OUTPUTS)


# -- schemas


def _properties(schema: Any) -> Iterator[tuple[str, Any]]:
    for key, inner in schema.get("properties", {}).items():
        yield key, inner
        yield from _properties(inner)
    for part in (schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", ())):
        if part:
            yield from _properties(part)


@pytest.mark.parametrize("command", OUTPUTS)
def test_every_key_has_a_meaning(command: str) -> None:
    assert [key for key, inner in _properties(schema_of(command)) if not inner.get("description")] == []


FAILED = {"error": {"kind": "UsageError", "message": "m", "hint": None, "exit_code": 2}}
SHOWN = {"owner": "alice", "algorithm": "ed25519", "keyid": "00", "pem": "-----"}


@pytest.mark.parametrize("value", [FAILED, SHOWN], ids=["failed", "shown"])
def test_good_output_fits_its_schema(value: Any) -> None:
    assert list(faults(value, schema_of("key show"))) == []


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({}, "is missing"),
        (SHOWN | {"owner": None}, ".owner: None is not of type string"),
        (SHOWN | {"more": 1}, ".more is not in the schema"),
        ({"error": FAILED["error"] | {"exit_code": True}}, ".error.exit_code: True is not of type integer"),
        ({"error": None}, "is not of type object"),
    ],
)
def test_other_output_does_not_fit(value: Any, fault: str) -> None:
    found = list(faults(value, schema_of("key show")))
    assert any(fault in text for text in found), found


def test_the_schemas_are_json() -> None:
    for path in REFERENCES:
        if path.suffix == ".json":
            assert json.loads(path.read_text("utf-8"))["$id"].startswith("urn:airgap:json:v1:")


# -- man pages

MACROS = {".TH", ".SH", ".TP", ".PP", ".B", ".BR", ".nf", ".fi"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_man_page_has_known_macros_and_escapes(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].startswith(".TH ")
    assert {line.split()[0] for line in lines if line.startswith(".")} <= MACROS
    assert not [line for line in lines if line.startswith("'") or not line]
    assert set(re.findall(r"\\(?:\(..|.)", "\n".join(lines))) <= {
        r"\-", r"\e", r"\&", r"\(aq", r"\(ga", r"\(ti", r"\(ha"
    }  # fmt: skip
    assert "\n".join(lines).isascii()
    assert lines.count(".nf") == lines.count(".fi")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_man_shows_a_page_without_warnings(path: Path) -> None:
    command = [require_tool("man"), "--warnings", "--encoding=UTF-8", "-l", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    assert "SYNOPSIS" in re.sub(".\b", "", done.stdout)
