"""Declares commands to the parser.

A command takes a group of options as one parameter, and `register` declares each option of the group:

    @register(app, "show")                # FILE, --json, --quiet and --debug
    def show(file: File, *, output: Output) -> None: ...
"""

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import typer

from airgap.cli import console

Command = Callable[..., None]


def format_help(docstring: str | None) -> str:
    """Return a docstring as help text. A mark before the examples makes the parser keep their lines."""
    return re.sub(r"(?m)^(?=Example: |.*:\n  )", "\b\n", inspect.cleandoc(docstring or ""))


def make_app(**settings: Any) -> typer.Typer:
    """Return an app for commands. Without a command, it shows its help."""
    return typer.Typer(invoke_without_command=True, rich_markup_mode=None, **settings)


def make_group() -> typer.Typer:
    """Return an app for the commands of a group."""
    app = make_app()
    app.callback()(show_if_alone)
    return app


def register(
    app: typer.Typer, name: str, *, help_text: str | None = None, panel: str | None = None
) -> Callable[[Command], Command]:
    """Return a decorator that adds a command to `app`.

    Args:
        app: The app.
        name: The name of the command.
        help_text: The text that its help shows; by default, its docstring.
        panel: The side of the gap where it is used.
    """

    def add(function: Command) -> Command:
        text = format_help(help_text or function.__doc__)
        app.command(name, help=text, rich_help_panel=panel)(with_groups(function))
        return function

    return add


def with_groups(function: Command) -> Command:
    """Return `function` with the options of its groups as parameters, as the parser reads them."""
    parameters = inspect.signature(function).parameters
    groups: dict[str, Any] = {
        name: p.annotation for name, p in parameters.items() if is_dataclass(p.annotation)
    }
    expanded = [
        option.replace(kind=option.KEYWORD_ONLY)
        for name, parameter in parameters.items()
        for option in (_options_of(groups[name]) if name in groups else [parameter])
    ]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{option.name: values.pop(option.name) for option in _options_of(group)})
        function(**values)

    vars(command)["__signature__"] = inspect.Signature(expanded)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in expanded}
    return command


def _options_of(group: Any) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=option.type
        )
        for option in fields(group)
    ]


def show_if_alone(context: typer.Context) -> None:
    """Show the help of a group, which needs a command after its name.

    Raises:
        typer.Exit: There is no other command; the exit code is 2.
    """
    if context.invoked_subcommand is None and not context.resilient_parsing:
        console.say(f"{context.get_help()}\n")
        raise typer.Exit(2)
