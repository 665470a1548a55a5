"""The entry point. It runs a command, prints each error in two lines, and returns the exit code."""

import gc
import signal
import sys
from collections.abc import Callable, Sequence

from airgap.cli import console
from airgap.cli.commands import RESUMING
from airgap.cli.overview import HELP_OPTIONS, overview
from airgap.errors import AirgapError, MediaError, UsageError, describe_cause, printable
from airgap.hiding import LOGIN_HINT, has_secret

INTERRUPTED = 130
_COLLECT_EVERY = 100_000
"""New objects between two collections of garbage. With Python's own number, 700, it would look sixty times
through what a command imports, none of which is garbage.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. No exception leaves this function.

    Args:
        arguments: The command line; None for that of this process, which ends after the command.
    """
    if arguments is not None:
        return _main(list(arguments))
    gc.set_threshold(_COLLECT_EVERY)
    code = _main(sys.argv[1:])
    gc.freeze()  # the collections at the end of a process take 30 ms, and the process ends anyway
    return code


def _main(words: list[str]) -> int:
    console.open_outputs()
    # SIGTERM ends a command as Ctrl-C does: the ledger gets its record, and servers are closed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _refuse_empty(words)
        _refuse_other_bytes(words)
        _refuse_secrets(words)
        code = _run(words)
    except AirgapError as error:
        return _report(error, words)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        console.discard_output(sys.stdout)
        return 1
    except OSError as error:  # a folder without permission, a stick that was pulled out
        return _report(MediaError.of(error), words)
    except (MemoryError, RuntimeError) as error:
        limit = _process_limit(error)
        return _report(limit, words) if limit else _report_other(error, words)
    except Exception as error:  # noqa: BLE001 - last resort: a defect must not look like a result
        return _report_other(error, words)
    if code == INTERRUPTED:  # newer versions of typer also return this code after Ctrl-C
        command = next((word for word in words if not word.startswith("-")), "")
        rest = "; run the same command again to resume" if command in RESUMING else ""
        console.say(f"interrupted{rest}\n")
    return _flushed(code)


def _run(words: list[str]) -> int:
    """Run the command. The help of airgap itself does not import the parser."""
    if len(words) == 1 and words[0] in HELP_OPTIONS:
        with console.result_output() as out:
            out.write(overview() + "\n")
        return 0
    from airgap.cli.app import run_command

    return run_command(words)


def _flushed(code: int, show: Callable[[], None] = lambda: None) -> int:
    """Write the result and return the exit code. The code of a failed command takes precedence over that of a
    failed write.
    """
    try:
        show()
        with console.result_output() as out:
            out.flush()
    except BrokenPipeError:
        console.discard_output(sys.stdout)
        return code or 1
    except AirgapError as error:
        console.show_error(error, debug=False)
        return code or error.exit_code
    return code


def _refuse_empty(words: Sequence[str]) -> None:
    """Refuse an empty argument: an unset shell variable gives one, and as a path it is the current folder."""
    for word in words:
        if not word or (word.startswith("--") and word.endswith("=")):
            raise UsageError(
                "empty argument",
                got=" ".join(word or "''" for word in words),
                hint="is a shell variable unset?",
            )


def _refuse_other_bytes(words: Sequence[str]) -> None:
    """Refuse arguments that are not UTF-8 before any work starts: a ledger or receipt cannot hold them."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            hint = "rename the file or folder, or mount the medium elsewhere"
            if sys.getfilesystemencoding() != "utf-8":
                hint = "this locale does not use UTF-8: set LC_ALL=C.UTF-8, or another UTF-8 locale"
            raise UsageError("not UTF-8", subject=word, hint=hint) from error


def _refuse_secrets(words: Sequence[str]) -> None:
    """Refuse logins on the command line: they are in the shell's history and in the list of processes, and
    would be copied to ledgers and receipts, which leave this side. The error does not show it.
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
        return _flushed(error.exit_code, lambda: console.write_json(value))
    return _flushed(error.exit_code)


def _process_limit(error: Exception) -> AirgapError | None:
    """Return the error for a resource limit of this process, as containers and `ulimit` set it; else None."""
    if isinstance(error, MemoryError):
        hint = "see `ulimit -v` and the memory limit of the container or unit"
        return AirgapError("there is not enough memory", hint=hint)
    if "can't start new thread" in str(error):
        hint = "see `ulimit -u` and `ulimit -v`, and the process (pids) and memory limits of the container"
        return AirgapError("cannot start more threads", got="a limit of this user or container", hint=hint)
    return None


def _report_other(error: Exception, words: Sequence[str]) -> int:
    """Report a defect in airgap."""
    if "--debug" in words:
        console.say(console.trace(error))
    console.say(f"error: unexpected failure: {printable(describe_cause(error))}\n")
    console.say("hint: this is a defect in airgap; --debug shows where\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
