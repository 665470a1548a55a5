"""The entry point: commands by name, errors as two lines, exit codes as a property of the error."""

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from airgap.cli import (
    audit,
    console,
    init,
    inspect,
    key,
    kit,
    load,
    lock,
    pack,
    plan,
    receipt,
    receive,
    repack,
    repair,
    send,
    serve,
    sign,
    trust,
    verify,
)
from airgap.cli.options import help_text
from airgap.errors import AirgapError, MediaError, UsageError, describe_cause, printable
from airgap.hiding import LOGIN_HINT, has_secret

INTERRUPTED = 130

_RESUMING = [[module.NAME] for module in (pack, receive, load, send, repack, repair)]
"""The commands that find what they did before; the others begin anew."""

app = typer.Typer(
    name="airgap",
    help="Carry container images across an air gap in signed, checksummed, audited bundles.",
    epilog=help_text("""
Online, once and then for each transfer:
  airgap init --owner alice --site hq
  airgap pack stack.yaml --to /media/stick

Offline, once and then for each transfer:
  airgap trust install 1.root.json --site plant-7
  airgap load /media/stick/stack-0001 --to docker
"""),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(value: bool) -> None:
    if value:
        from airgap import __version__

        console.show_result({}, [f"airgap {__version__}"], as_json=False)
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


for module in (init, lock, plan, pack, sign, inspect, verify, receive, load, send, serve, repack, repair):
    app.command(module.NAME, help=help_text(module.__doc__), rich_help_panel=module.PANEL)(module.run)
for group in (key, trust, receipt, audit):
    for command in group.app.registered_commands:
        command.help = help_text(command.callback.__doc__)
    app.add_typer(group.app, name=group.NAME, help=group.__doc__)


app.add_typer(kit.app, name=kit.NAME, help=help_text(kit.__doc__), rich_help_panel=kit.PANEL)
for command in kit.app.registered_commands:
    command.help = help_text(command.callback.__doc__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing but the code, stdout and stderr leaves it."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    console.open_outputs()
    # A polite kill ends like Ctrl-C: with a record, and with servers closed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _refuse_empty(words)
        _refuse_other_bytes(words)
        _refuse_secrets(words)
        code = int(app(args=words, prog_name="airgap", standalone_mode=False) or 0)
    except AirgapError as error:
        return _report(error, words)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        console.drop(sys.stdout)
        return 1
    except OSError as error:  # a folder that may not be entered, a stick that was pulled out
        return _report(MediaError.of(error), words)
    except (MemoryError, RuntimeError) as error:
        limit = _process_limit(error)
        return _report(limit, words) if limit else _report_other(error, words)
    except Exception as error:  # noqa: BLE001 - the last door: a defect must not look like an answer
        return _report_other(error, words)
    if code == INTERRUPTED:  # also how newer versions of typer answer Ctrl-C
        rest = ": running the same command again goes on from here" if words[:1] in _RESUMING else ""
        console.say(f"interrupted{rest}\n")
    return _flushed(code)


def _flushed(code: int, show: Callable[[], None] = lambda: None) -> int:
    """The exit code when the result has left this process: a failure of the command counts more."""
    try:
        show()
        with console.result_output() as out:
            out.flush()
    except BrokenPipeError:
        console.drop(sys.stdout)
        return code or 1
    except AirgapError as error:
        console.show_error(error, debug=False)
        return code or error.exit_code
    return code


def _refuse_empty(words: Sequence[str]) -> None:
    """A variable of the shell that is not set is an empty word, and as a path the current folder."""
    for word in words:
        if not word or (word.startswith("--") and word.endswith("=")):
            raise UsageError(
                "an empty word on the command line",
                got=" ".join(each or "''" for each in words),
                hint="is a variable of the shell not set?",
            )


def _refuse_other_bytes(words: Sequence[str]) -> None:
    """What is no UTF-8 cannot stand in a ledger, a receipt or a document: said before anything is begun."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            hint = "give the file or folder another name, or mount the medium elsewhere"
            if sys.getfilesystemencoding() != "utf-8":
                hint = (
                    "names are read as this locale encodes them: set LC_ALL=C.UTF-8, or another one of UTF-8"
                )
            raise UsageError("not UTF-8", subject=word, hint=hint) from error


def _refuse_secrets(words: Sequence[str]) -> None:
    """A login on the command line is in the shell's history and the list of processes, and would go on to
    ledgers and receipts, which leave this side. Which argument it is is told, and not what is in it.
    """
    for number, word in enumerate(words):
        if has_secret(word):
            option = word.partition("=")[0] if word.startswith("--") else ""
            before = words[number - 1] if number and words[number - 1].startswith("-") else ""
            raise UsageError(
                "a password or token on the command line",
                subject=option or before or f"argument {number + 1}",
                want="names and addresses without a login",
                hint=LOGIN_HINT,
            )


def _report(error: AirgapError, words: Sequence[str]) -> int:
    console.show_error(error, debug="--debug" in words)
    if "--json" in words:
        value = {"error": console.error_value(error)}
        return _flushed(error.exit_code, lambda: console.show_result(value, (), as_json=True))
    return _flushed(error.exit_code)


def _usage_error(error: Exception, message: str) -> UsageError:
    """What the parser says, in our form, with the help of the command that it was about."""
    said = " ".join(message.split()).rstrip(".")
    command = getattr(getattr(error, "ctx", None), "command_path", "airgap")
    return UsageError(said[:1].lower() + said[1:], hint=f"{command} --help")


def _process_limit(error: Exception) -> AirgapError | None:
    """What a limit of this process has stopped, as containers and `ulimit` set them."""
    if isinstance(error, MemoryError):
        hint = "see `ulimit -v` and the memory limit of the container or unit"
        return AirgapError("there is not enough memory", hint=hint)
    if "can't start new thread" in str(error):
        hint = (
            "see `ulimit -u` and `ulimit -v`, and the limits of processes (pids) and memory of the container"
        )
        return AirgapError(
            "no more threads can be started", got="a limit of this user or container", hint=hint
        )
    return None


def _report_other(error: Exception, words: Sequence[str]) -> int:
    """Usage errors of the parser are told like our own; anything else is a defect of ours."""
    show, told = getattr(error, "show", None), getattr(error, "format_message", None)
    if callable(show) and type(error).__name__ == "NoArgsIsHelpError":
        show()
        return int(getattr(error, "exit_code", 2))
    if callable(told):
        return _report(_usage_error(error, told()), words)
    if "--debug" in words:
        console.say(console.trace(error))
    console.say(f"error: unexpected failure: {printable(describe_cause(error))}\n")
    console.say("hint: this is a defect in airgap; --debug shows where\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
