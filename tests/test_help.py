"""What `airgap --help` imports, and what the help of each command shows."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from airgap.cli.main import app

HELP_OURS = re.compile(
    r"airgap(\.cli(\.\w+)?|\.errors|\.hiding|\.durable|\.limits|\.progress|\.oci(\.digest)?)?"
)
HELP_FOREIGN = {"typer", "annotated_doc", "shellingham"}
HELP_WITHOUT = {
    "asyncio",
    "ssl",
    "socket",
    "http",
    "email",
    "xml",
    "multiprocessing",
    "concurrent",
    "sqlite3",
    "unittest",
}
"""Of the standard library: what takes long to import."""
HELP_MODULES = 200
"""The most modules that `airgap --help` may import beyond a bare Python; 149 on 3.11. How long that takes is measured by tests.bench."""

HELP = """
import sys
before = set(sys.modules)
from airgap.cli.main import main
code = main(["--help"])
print(*set(sys.modules) - before)
sys.exit(code)
"""


@pytest.fixture
def imported_by_help(unmeasured) -> set[str]:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_only_what_it_shows(imported_by_help):
    packages = {name.partition(".")[0] for name in imported_by_help}
    foreign = packages - set(sys.stdlib_module_names) - {"airgap"}
    assert foreign == HELP_FOREIGN
    ours = [name for name in imported_by_help if name.partition(".")[0] == "airgap"]
    assert [name for name in ours if not HELP_OURS.fullmatch(name)] == []


def test_help_imports_little_of_the_standard_library(imported_by_help):
    assert {name.partition(".")[0] for name in imported_by_help} & HELP_WITHOUT == set()
    assert len(imported_by_help) < HELP_MODULES


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
