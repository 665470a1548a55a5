"""All output: results go to stdout, everything else to stderr."""

import contextlib
import io
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from airgap.cli.error_parts import part_lines, wrong_value
from airgap.errors import AirgapError, IntegrityError, PartialError, TrustError, printable
from airgap.hiding import hide

if TYPE_CHECKING:
    from airgap.bundle.check_written import OnMedia
    from airgap.bundle.statement import Statement
    from airgap.cli.options import Output
    from airgap.cli.tables import Table


def show_result(value: dict[str, Any], lines: "Sequence[str | Table]", output: "Output") -> None:
    """Write the result of a command to standard output.

    Args:
        value: The JSON object for `--json`.
        lines: The lines and tables to read.
        output: The options of the command.
    """
    if output.json:
        write_json(value)
        return
    is_whole = not sys.stdout.isatty() or getattr(output, "wide", False)
    width = None if is_whole else shutil.get_terminal_size().columns
    with result_output() as out:
        for item in lines:
            for line in wrapped(printable(item), width) if isinstance(item, str) else item.lines(width):
                out.write(line + "\n")


def wrapped(line: str, width: int | None) -> list[str]:
    """Return the line, broken between words where it is wider than a terminal of `width` columns."""
    if width is None or len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    broken = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return broken or [line]


def write_json(value: dict[str, Any]) -> None:
    """Write one JSON object to standard output, without logins."""
    with result_output() as out:
        out.write(json.dumps(_hidden(value), indent=2) + "\n")


def show_partial_result(
    value: dict[str, Any],
    lines: "Sequence[str | Table]",
    output: "Output",
    failures: Sequence[AirgapError],
    *,
    alarmed: bool = False,
) -> None:
    """Write a result whose key `error` is the first of `failures`, then the failures.

    Raises:
        typer.Exit: The result has an alarm: 13; or there are failures: the exit code is that of the first.
    """
    import typer

    value["error"] = error_value(failures[0]) if failures else None
    show_result(value, lines, output)
    for failure in failures:
        show_error(failure, debug=output.debug)
    if alarmed:
        raise typer.Exit(TrustError.exit_code)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _hidden(value: Any) -> Any:
    """Return `value` without logins: text from a medium may contain some."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {hide(key): _hidden(inner) for key, inner in value.items()}
    return [_hidden(inner) for inner in value] if isinstance(value, list | tuple) else value


def open_outputs() -> None:
    """Open stdout and stderr on the null device if the shell closed them (`>&-`). This also takes their
    descriptors, so that no file of a bundle becomes one of the standard streams.

    Characters that they cannot encode (LANG=C, a latin-1 terminal) are written as escapes, so that no command
    fails because of them.
    """
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as we run
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def result_output() -> Iterator[TextIO]:
    """Yield standard output. Raises `AirgapError` if it cannot be written, and `BrokenPipeError` if its
    reader has gone. The command's work is done in either case.
    """
    try:
        yield sys.stdout
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output(sys.stdout)
        raise AirgapError(
            "cannot write the result to standard output",
            got=error.strerror or error,
            hint="the command did its work; `airgap audit log` shows what it did",
        ) from error


def discard_output(stream: TextIO) -> None:
    """Discard all further output of `stream`: Python would try to write it again at exit, and fail."""
    with contextlib.suppress(OSError):  # a substitute without a descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def show_error(error: AirgapError, *, debug: bool) -> None:
    """Write an error and its hint to stderr; with `debug`, also the traceback."""
    if debug:
        say(trace(error))
    for line in part_lines(error):
        say(printable(line) + "\n")
    say(f"error: {error}\n")
    if error.hint:
        width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
        say("\n".join(wrapped(f"hint: {printable(error.hint)}", width)) + "\n")


def trace(error: BaseException) -> str:
    """Return the traceback, with control characters of foreign text escaped."""
    import traceback

    lines = "".join(traceback.format_exception(error)).split("\n")
    return "\n".join(map(printable, lines))


def say(text: str, out: TextIO | None = None) -> None:
    """Write to standard error. If that fails, the failure cannot be reported: the work continues, and the
    exit code is that of the work.
    """
    out = out or sys.stderr
    try:
        out.write(text)
        out.flush()
    except OSError:
        discard_output(out)


def error_value(error: AirgapError) -> dict[str, Any]:
    """Return an error as it appears in the JSON output of a command."""
    value: dict[str, Any] = {
        "kind": type(error).__name__,
        "message": str(error),
        "hint": error.hint,
        "exit_code": error.exit_code,
    }
    if isinstance(error, IntegrityError):
        value |= wrong_value(error)
    if isinstance(error, PartialError):
        value["failures"] = {name: error_value(reason) for name, reason in error.failures.items()}
    return value


def proof_lines(proof: "OnMedia") -> list[str]:
    """Return lines about the media and whether they were read back; none for disks that stay here."""
    lines = [f"medium: {medium.describe()}" for medium in proof.media if medium.is_carried]
    if proof.read_back == "ok":
        lines.append("read back from the medium: every byte is correct")
    if proof.read_back != "skipped":
        lines += [f"not read back: what is on {path}" for path in proof.unread]
    if proof.read_back == "cached":
        cached = "read back: correct, but some of it may have come from the cache; "
        again = "unplug the medium, plug it in again, and run `airgap verify --media`"
        never = (
            "if you had just plugged it in again, this system cannot prove more: "
            "rely on `airgap verify` on the receiving machine"
        )
        lines.append(cached + (again if proof.fresh else never))
    return lines


def bundle_lines(verb: str, title: str, paths: Sequence[Path], figures: str) -> list[str]:
    """Return the location of a bundle: its folder or its tar, or one line for each volume.

    Args:
        verb: What was done with it: `sealed`, `complete`.
        title: Its title, which a bundle in volumes is called by.
        paths: Its folder or tar, or the folders of its volumes.
        figures: Its size and number of files.
    """
    if len(paths) == 1:
        return [f"{verb}: {paths[0]} ({figures})"]
    volumes = [f"  volume {number}: {path}" for number, path in enumerate(paths, 1)]
    return [f"{verb}: {title} on {len(paths)} volumes ({figures})", *volumes]


def marked(digest: object, kind: str) -> str:
    """Return a digest for a table. An `image_id` is marked: it never equals the digest of the bundle."""
    return f"image id {digest}" if kind == "image_id" else str(digest)


def size(count: float) -> str:
    """Return a number of bytes in decimal units: `1.2 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def requires_value(statement: "Statement") -> dict[str, int]:
    """Return the number and the bytes of the blobs that a delta bundle leaves out."""
    return {"count": len(statement.requires), "bytes": sum(item.size for item in statement.requires)}


def of_sender(sender: str) -> str:
    """Return the words that name the sender of a bundle; empty if the site has only one."""
    return f" of {sender}" if sender else ""


def requires_lines(statement: "Statement") -> list[str]:
    """Return a line about the blobs that a delta bundle leaves out; none for a bundle that has all."""
    needed = requires_value(statement)
    if not (count := needed["count"]):
        return []
    return [f"needs {count} blob{'s' * (count > 1)} ({size(needed['bytes'])}) that earlier bundles brought"]
