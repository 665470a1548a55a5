"""Progress on stderr: live bars on a terminal, lines elsewhere."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from airgap.cli.console import say, size
from airgap.errors import printable
from airgap.oci.digest import Advance
from airgap.progress import Progress, Silent

_PLAIN_INTERVAL = 5.0
"""Seconds between two lines of progress when stderr is not a terminal."""
_MAX_STATE = 40
"""Characters of a host's state in the live table."""


def make_progress(*, quiet: bool) -> Progress:
    """Return live bars on a terminal, lines elsewhere, and notes only when quiet."""
    if quiet:
        return Notes()
    return Bars() if sys.stderr.isatty() else Lines(sys.stderr)


class Lines:
    """Progress as lines, each with `prefix`: when a phase starts, every few seconds, and when it ends."""

    def __init__(self, out: TextIO, prefix: str = "") -> None:
        self._out = out
        self._prefix = prefix
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """Write one line."""
        with self._lock:
            say(printable(self._prefix + text) + "\n", self._out)

    @contextlib.contextmanager
    def phase(self, title: str, total: int) -> Iterator[Advance]:
        """Report bytes, rate and time left."""
        start = reported = time.monotonic()
        done = 0
        goal = f" of {size(total)}" if total else ""
        self.note(f"{title}: {size(total)}" if total else title)

        def advance(count: int) -> None:
            nonlocal done, reported
            with self._lock:
                done = min(done + count, total or done + count)  # content may be sent twice
                now = time.monotonic()
                if now - reported < _PLAIN_INTERVAL:
                    return
                reported = now
            rate = done / (now - start)
            left = f", {max(total - done, 0) / rate:.0f} s left" if total and rate else ""
            self.note(f"{title}: {size(done)}{goal}, {size(rate)}/s{left}")

        try:
            yield advance
        except BaseException:
            reached = f" at {size(done)}{goal}" if done else ""
            self.note(f"{title}: not complete, stopped{reached}")
            raise
        seconds = time.monotonic() - start
        rate = size(done / max(seconds, 0.001))
        end = "done" if done >= total else "ended"
        counted = f", {size(done)} in {seconds:.1f} s ({rate}/s)" if done else f" in {seconds:.1f} s"
        self.note(f"{title}: {end}{counted}")


class Notes(Silent):
    """Notes without progress."""

    def note(self, text: str) -> None:
        """Write one line."""
        say(printable(text) + "\n")


class Bars:
    """A live bar with bytes, rate and time left for each phase."""

    def note(self, text: str) -> None:
        """Write one line above the bars."""
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
            yield lambda count: _advance(bars, task, count)
            if not total:  # the total is known only at the end
                bars.update(task, total=1, completed=1)


@contextlib.contextmanager
def host_board(hosts: Sequence[str], *, quiet: bool) -> Iterator[Callable[[str], Progress]]:
    """Yield a progress listener for each host: a table row on a terminal, else lines with its name."""
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
        """Show the host's state."""
        self._bars.update(self._task, description=_short(text))

    @contextlib.contextmanager
    def phase(self, title: str, total: int) -> Iterator[Advance]:
        """Use the row's bar for one phase."""
        self._bars.reset(self._task, total=total or None, description=_short(title))
        yield lambda count: _advance(self._bars, self._task, count)
        self._bars.update(self._task, total=max(total, 1), completed=max(total, 1))


def _advance(bars: Any, task: Any, count: int) -> None:
    """Move a bar on, but not beyond its end: content may be sent twice."""
    state = bars.tasks[bars.task_ids.index(task)]
    limit = count if state.total is None else max(state.total - state.completed, 0)
    bars.advance(task, min(count, limit))


def _short(text: str) -> str:
    """Return what fits beside the bar; the result has the whole text."""
    state = printable(text)
    return state if len(state) <= _MAX_STATE else f"{state[: _MAX_STATE - 1]}…"
