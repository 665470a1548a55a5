"""The commands of airgap as plain values, read from the parser."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

import airgap
from airgap.cli.app import app

_OF_THE_PARSER = {"help", "install_completion", "show_completion"}
"""Options whose texts differ between versions of the parser; the pages describe them in their own words."""


@dataclass(frozen=True)
class Parameter:
    """An argument or an option, as people write it."""

    text: str
    help: str
    required: bool
    default: str


@dataclass(frozen=True)
class Documented:
    """A command."""

    name: str
    """Without `airgap`; empty for airgap itself."""
    side: str
    paragraphs: tuple[str, ...]
    examples: tuple[str, ...]
    arguments: tuple[Parameter, ...]
    options: tuple[Parameter, ...]
    subcommands: tuple["Documented", ...]

    @property
    def title(self) -> str:
        return f"airgap {self.name}".strip()

    @property
    def usage(self) -> str:
        words = [self.title, "[OPTIONS]", *(argument.text for argument in self.arguments)]
        if self.subcommands:
            words.append("COMMAND …" if self.name != "kit" else "[COMMAND …]")
        return " ".join(words)

    @property
    def summary(self) -> str:
        """The first sentence of the help."""
        return re.split(r"(?<=\.)\s", self.paragraphs[0])[0]


def all_commands() -> list[Documented]:
    """airgap itself and every command, in the order of `airgap --help`."""
    return list(_flat(_documented(typer.main.get_command(app), "")))


def _flat(command: Documented) -> Iterator[Documented]:
    yield command
    for inner in command.subcommands:
        yield from _flat(inner)


def _documented(command: Any, name: str) -> Documented:
    text = f"{command.help or ''}\n\n{command.epilog or ''}"
    paragraphs, examples = [], []
    for paragraph in filter(None, map(str.strip, re.split(r"\n\s*\n", text.replace("\b\n", "\n\n")))):
        lines = [line.strip() for line in paragraph.splitlines()]
        found = [line.removeprefix("Example: ") for line in lines if re.match(r"(Example: )?airgap ", line)]
        if len(found) == len(lines) or (found and lines[0].endswith(":")):
            examples += found
        else:
            paragraphs.append(" ".join(lines))
    given = [parameter for parameter in command.params if parameter.name not in _OF_THE_PARSER]
    arguments = tuple(_argument(p) for p in given if p.param_type_name == "argument")
    options = tuple(_option(p) for p in given if p.param_type_name == "option")
    below = tuple(
        _documented(inner, f"{name} {word}".strip())
        for word, inner in getattr(command, "commands", {}).items()
    )
    return Documented(
        name, command.rich_help_panel or "", tuple(paragraphs), tuple(examples), arguments, options, below
    )


def _argument(parameter: Any) -> Parameter:
    text = parameter.metavar + (" …" if parameter.nargs != 1 else "")
    return Parameter(text if parameter.required else f"[{text}]", parameter.help, parameter.required, "")


def _option(parameter: Any) -> Parameter:
    names = ", ".join(sorted(parameter.opts, key=len)) + "".join(
        f", {name}" for name in parameter.secondary_opts
    )
    metavar = "" if parameter.is_flag or parameter.count else f" {parameter.metavar}"
    default = parameter.default
    shown = isinstance(default, str | int) and not isinstance(default, bool) and not parameter.count
    return Parameter(
        names + metavar, parameter.help, parameter.required, str(default) if shown and default != "" else ""
    )


def exit_codes() -> list[tuple[str, str]]:
    """The exit codes with their meanings, as in docs/exit-codes.md."""
    page = (Path(airgap.__file__).parents[1] / "docs" / "exit-codes.md").read_text("utf-8")
    return re.findall(r"^\| (\d+) \| ([^|]+) \|", page, re.MULTILINE)
