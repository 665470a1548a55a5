"""All that a person or a script sees: results on stdout, everything else on stderr."""

import contextlib
import io
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from airgap.errors import AirgapError, PartialError, printable
from airgap.hiding import hide
from airgap.oci.digest import Advance
from airgap.progress import Progress, Silent

if TYPE_CHECKING:
    from airgap.bundle.check_written import OnMedia

_PLAIN_INTERVAL = 5.0
"""Seconds between two lines of progress where there is no terminal."""
_MAX_STATE = 40
"""Characters of a host's state in the live table."""


def show_result(value: dict[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """The result of a command: one JSON object, or lines to read."""
    with result_output() as out:
        if as_json:
            out.write(json.dumps(_hidden(value), indent=2) + "\n")
        else:
            out.writelines(printable(line) + "\n" for line in lines)


def _hidden(value: Any) -> Any:
    """`value` without logins: what comes off a medium may have some."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {hide(key): _hidden(inner) for key, inner in value.items()}
    return [_hidden(inner) for inner in value] if isinstance(value, list | tuple) else value


def open_outputs() -> None:
    """Where the shell closed them (`>&-`) there are none: what nobody wants to read is thrown away. Opening
    takes the free descriptors too, so that no file of a bundle becomes one of the standard streams.

    What they cannot encode (LANG=C, a latin-1 terminal) is written as an escape: text is never the reason why
    a command fails.
    """
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as we run
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def result_output() -> Iterator[TextIO]:
    """Standard output. Raises `AirgapError` when it takes nothing, and `BrokenPipeError` when nobody reads:
    what the command did is done, whether it can be told or not.
    """
    try:
        yield sys.stdout
    except BrokenPipeError:
        raise
    except OSError as error:
        drop(sys.stdout)
        raise AirgapError(
            "cannot write the result to standard output",
            got=error.strerror or error,
            hint="what the command did is done all the same: `airgap audit log` tells",
        ) from error


def drop(stream: TextIO) -> None:
    """Let what is still to be written go nowhere: Python would try again at its end, and complain."""
    with contextlib.suppress(OSError):  # a stand-in that has no descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def show_error(error: AirgapError, *, debug: bool) -> None:
    """What went wrong and what to do, on stderr; with `debug`, also where."""
    if debug:
        say(trace(error))
    if isinstance(error, PartialError):
        for name, reason in error.failures.items():
            say(printable(f"failed: {name}: {reason}") + "\n")
    say(f"error: {error}\n")
    if error.hint:
        say(f"hint: {printable(error.hint)}\n")


def trace(error: BaseException) -> str:
    """The traceback, with control characters of foreign text escaped line by line."""
    lines = "".join(traceback.format_exception(error)).split("\n")
    return "\n".join(map(printable, lines))


def say(text: str, out: TextIO | None = None) -> None:
    """On standard error. Where it takes nothing, nobody can be told of that; the work goes on, and the exit
    code is that of the work.
    """
    out = out or sys.stderr
    try:
        out.write(text)
        out.flush()
    except OSError:
        drop(out)


def error_value(error: AirgapError) -> dict[str, Any]:
    """An error in the JSON of a command."""
    value: dict[str, Any] = {
        "kind": type(error).__name__,
        "message": str(error),
        "hint": error.hint,
        "exit_code": error.exit_code,
    }
    if isinstance(error, PartialError):
        value["failures"] = {name: error_value(reason) for name, reason in error.failures.items()}
    return value


def proof_value(proof: "OnMedia") -> dict[str, Any]:
    """In the JSON of a command that writes or reads media."""
    return proof.record()


def proof_lines(proof: "OnMedia") -> list[str]:
    """What the media are, and were seen to hold; nothing for what no one carries away."""
    lines = [f"medium: {medium.describe()}" for medium in proof.media if medium.is_carried]
    if proof.read_back == "ok":
        lines.append("read back from the medium: every byte is right")
    if proof.read_back != "skipped":
        lines += [f"not read back: what is on {path}" for path in proof.unread]
    if proof.read_back == "cached":
        cached = "read back: right, but some of it may have come out of the cache; "
        again = "unplug the medium, plug it in again, and run `airgap verify --media`"
        never = (
            "if it was plugged in anew before this, this system cannot show more: what counts then is "
            "`airgap verify` on the receiving machine"
        )
        lines.append(cached + (again if proof.fresh else never))
    return lines


def bundle_lines(verb: str, title: str, paths: Sequence[Path], figures: str) -> list[str]:
    """Where a bundle is now: its folder or its tar, or one line for each of its volumes."""
    if len(paths) == 1:
        return [f"{verb}: {paths[0]} ({figures})"]
    volumes = [f"  volume {number}: {path}" for number, path in enumerate(paths, 1)]
    return [f"{verb}: {title} on {len(paths)} volumes ({figures})", *volumes]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows in columns, aligned by blanks, so that it reads in a mail as well as on a terminal."""
    texts = [list(header)] + [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    ]


def marked(digest: object, kind: str) -> str:
    """A digest in a table; an `image_id` is marked, for it never equals the digest in the papers."""
    return f"image id {digest}" if kind == "image_id" else str(digest)


def size(count: float) -> str:
    """Bytes for people, in decimal units: `1.2 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def make_progress(*, quiet: bool) -> Progress:
    """Live bars on a terminal, lines elsewhere; when quiet, only what has to be known."""
    if quiet:
        return Notes()
    return Bars() if sys.stderr.isatty() else Lines(sys.stderr)


class Lines:
    """One line when a phase starts, one every few seconds, one at its end; `prefix` begins each."""

    def __init__(self, out: TextIO, prefix: str = "") -> None:
        self._out = out
        self._prefix = prefix
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """A line of its own."""
        with self._lock:
            say(printable(self._prefix + text) + "\n", self._out)

    @contextlib.contextmanager
    def phase(self, title: str, total: int) -> Iterator[Advance]:
        """Report bytes, rate and time left."""
        start = said = time.monotonic()
        done = 0
        goal = f" of {size(total)}" if total else ""
        self.note(f"{title}: {size(total)}" if total else title)

        def advance(count: int) -> None:
            nonlocal done, said
            with self._lock:
                done += count
                now = time.monotonic()
                if now - said < _PLAIN_INTERVAL:
                    return
                said = now
            rate = done / (now - start)
            left = f", {max(total - done, 0) / rate:.0f} s left" if total and rate else ""
            self.note(f"{title}: {size(done)}{goal}, {size(rate)}/s{left}")

        yield advance
        seconds = time.monotonic() - start
        rate = size(done / max(seconds, 0.001))
        end = "done" if done >= total else "ended"
        counted = f", {size(done)} in {seconds:.1f} s ({rate}/s)" if done else f" in {seconds:.1f} s"
        self.note(f"{title}: {end}{counted}")


class Notes(Silent):
    """What has to be known, and no progress."""

    def note(self, text: str) -> None:
        """A line of its own."""
        say(printable(text) + "\n")


class Bars:
    """A live bar with bytes, rate and time left for each phase."""

    def note(self, text: str) -> None:
        """A line above the bars."""
        say(printable(text) + "\n")

    @contextlib.contextmanager
    def phase(self, title: str, total: int) -> Iterator[Advance]:
        """Draw a bar while the phase lasts."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import (
            Progress as RichProgress,
        )

        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        text = TextColumn("{task.description}", markup=False)
        with RichProgress(text, *columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(printable(title), total=total or None)
            yield lambda count: bars.advance(task, count)
            if not total:  # how much there was to do is only known now
                bars.update(task, total=1, completed=1)


@contextlib.contextmanager
def host_board(hosts: Sequence[str], *, quiet: bool) -> Iterator[Callable[[str], Progress]]:
    """A listener for each host: a row of a live table on a terminal, lines with the host's name elsewhere."""
    if quiet:
        yield lambda _: Silent()
    elif not sys.stderr.isatty():
        listeners = {host: Lines(sys.stderr, f"{host}: ") for host in hosts}
        yield listeners.__getitem__
    else:
        with _live_table(hosts) as rows:
            yield rows.__getitem__


@contextlib.contextmanager
def _live_table(hosts: Sequence[str]) -> Iterator[dict[str, "Row"]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column

    name = TextColumn("{task.fields[host]}", markup=False, table_column=Column(no_wrap=True))
    state = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))
    figures = (DownloadColumn(table_column=Column(no_wrap=True)), TransferSpeedColumn(Column(no_wrap=True)))
    columns = (name, BarColumn(20), *figures, state)
    with RichProgress(*columns, console=Console(stderr=True)) as bars:
        yield {
            host: Row(bars, bars.add_task("waiting", host=printable(host), start=False, total=None))
            for host in hosts
        }


class Row:
    """A host's row in the live table."""

    def __init__(self, bars: Any, task: Any) -> None:
        self._bars = bars
        self._task = task

    def note(self, text: str) -> None:
        """The host's state, as long as it lasts."""
        self._bars.update(self._task, description=_short(text))

    @contextlib.contextmanager
    def phase(self, title: str, total: int) -> Iterator[Advance]:
        """The bar is the phase's."""
        self._bars.reset(self._task, total=total or None, description=_short(title))
        yield lambda count: self._bars.advance(self._task, count)
        self._bars.update(self._task, total=max(total, 1), completed=max(total, 1))


def _short(text: str) -> str:
    """What fits beside the bar; the whole of it comes with the result."""
    found = printable(text)
    return found if len(found) <= _MAX_STATE else f"{found[: _MAX_STATE - 1]}…"
