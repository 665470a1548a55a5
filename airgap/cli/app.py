"""The commands as the parser knows them. A command's module is imported when the command is looked up."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from airgap.cli.commands import COMMANDS
from airgap.cli.overview import EXAMPLES, HELP_OPTIONS, TITLE, VERBOSE_HELP, VERSION_HELP, overview
from airgap.cli.register import format_help, make_app, register, show_if_alone
from airgap.errors import UsageError

_ParserError = cast("type[Exception]", typer.BadParameter.__bases__[0])
"""The parser's base class of usage errors; typer exports only this subclass of it."""


class _Commands(Mapping[str, Any]):
    """The parser's commands by name, each of which is made when it is looked up first."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _make_command(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _make_command(name: str) -> Any:
    """Return the parser's command or group of this name. Raises `KeyError` if there is none."""
    listed = COMMANDS[name]
    module = importlib.import_module(f"airgap.cli.{listed.module or name}")
    parent = make_app(add_completion=False)
    if hasattr(module, "app"):
        text = format_help(module.__doc__)
        parent.add_typer(module.app, name=name, help=text, rich_help_panel=listed.panel)
    else:
        register(parent, name, help_text=module.__doc__, panel=listed.panel)(module.run)
    return typer.main.get_group(parent).commands[name]


class _AllCommands(TyperGroup):
    """airgap itself."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Commands()

    def get_help(self, ctx: Any) -> str:  # noqa: ARG002 - the parser passes it
        return overview()


app = make_app(
    name="airgap",
    cls=_AllCommands,
    help=TITLE,
    epilog=format_help(EXAMPLES),
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": HELP_OPTIONS},
)


def _show_version(value: bool) -> None:
    if value:
        from airgap.cli import version
        from airgap.cli.options import Output

        version.run(output=Output())
        raise typer.Exit


@app.callback()
def _top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help=VERSION_HELP)
    ] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, show_default=False, help=VERBOSE_HELP)
    ] = 0,
) -> None:
    """Accept the options that come before the command."""
    show_if_alone(context)
    if verbose:
        from airgap.cli.logs import start_logging

        start_logging(verbose)


def run_command(words: Sequence[str]) -> int:
    """Parse the command line, run its command, and return the exit code.

    Raises:
        AirgapError: The command failed, or the parser refuses the command line (`UsageError`).
        KeyboardInterrupt: The command was interrupted, or a person did not confirm.
    """
    try:
        return int(app(args=list(words), prog_name="airgap", standalone_mode=False) or 0)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except _ParserError as error:
        raise _usage_error(error) from error


def _usage_error(error: Any) -> UsageError:
    """Return the parser's error in our form, with the command whose help explains it."""
    text = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if error.ctx else "airgap"
    return UsageError(text[:1].lower() + text[1:], hint=f"{command} --help")
