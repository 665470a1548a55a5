"""What the help of airgap and of each command shows."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from airgap.cli.app import app
from airgap.cli.commands import COMMANDS, RESUMING
from airgap.cli.overview import OPTIONS, overview
from tests.references.commands import all_commands


def _commands() -> dict[str, str]:
    return dict(_below(typer.main.get_command(app), ""))


def _below(group: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _below(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command.help


@pytest.mark.parametrize(("command", "help_text"), _commands().items(), ids=list(_commands()))
def test_each_command_gives_an_example(command, help_text):
    assert re.search(rf"Examples?:\s+airgap {command}\b", help_text)


def test_the_table_of_commands_agrees_with_their_help() -> None:
    """The overview is made from the table, without the commands."""
    airgap, *_ = commands = all_commands()
    top = [command for command in commands if command in airgap.subcommands]
    assert {c.name: (c.side, c.summary) for c in top} == {
        name: (listed.panel, listed.summary) for name, listed in COMMANDS.items()
    }
    assert set(RESUMING) <= set(COMMANDS)


def test_the_overview_has_each_option() -> None:
    parameters = typer.main.get_command(app).params
    names = [name for parameter in parameters for name in parameter.opts]
    assert sorted([*names, "-h", "--help"]) == sorted(", ".join(OPTIONS).split(", "))


@pytest.mark.parametrize("columns", ["20", "60", "80", "300"])
def test_the_overview_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    shown = overview()
    assert max(map(len, shown.splitlines())) <= min(max(int(columns) - 2, 52), 78)
    words = " ".join(shown.split())
    assert all(f"{name} {listed.summary}" in words for name, listed in COMMANDS.items())
