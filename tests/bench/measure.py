"""What a command costs: time, processor, memory and disk, of its whole process tree and of a server's."""

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_INTERVAL = 0.02
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Sample:
    """One run of one command. Seconds and bytes."""

    wall: float
    cpu: float
    """User and system time of the command and all that it started."""
    daemon_cpu: float
    rss: int
    """The highest sum of the peaks (VmHWM) of the command's processes that lived at one time."""
    daemon_rss: int
    disk: int
    """By how much the file system's free space shrank at most: whatever else writes there counts too."""
    kept: int
    """By how much it was smaller at the end."""
    temporary: int
    """The most that was seen in the daemon's temporary folders."""
    result: int = 0


@dataclass(frozen=True)
class Daemon:
    """A server that works for the commands: its first process and where it keeps temporary files."""

    pid: int
    temporary: tuple[Path, ...] = ()


class CommandError(Exception):
    """A command failed; the message ends with the end of its output."""


def measure(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    disk: Path,
    daemon: Daemon | None = None,
    cwd: Path | None = None,
    memory: int = 0,
) -> Sample:
    """Run a command to its end and watch it.

    `disk` is on the file system whose space is watched; `memory` is about what the command will fill,
    files in the page cache included.
    """
    settle(disk)
    servers = list(tree(daemon.pid)) if daemon else []
    for pid in servers:
        _forget_peak(pid)
    _touch(disk, memory)
    before, free = processor(servers), _free(disk)
    with log.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
        with _Watch(process.pid, disk, daemon) as watch:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(errors="replace")[-2000:]
        raise CommandError(f"{' '.join(argv)[:300]}: exit {process.returncode}\n{tail}")
    servers = list(tree(daemon.pid)) if daemon else []
    return Sample(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        daemon_cpu=processor(servers) - before,
        rss=watch.rss,
        daemon_rss=sum(map(_peak, servers)),
        disk=max(free - watch.free, 0),
        kept=max(free - _free(disk), 0),
        temporary=watch.temporary,
    )


def settle(disk: Path) -> None:
    """Wait until nothing of an earlier run is still being written or freed."""
    os.sync()
    last, same = -1, 0
    for _ in range(50):
        free = _free(disk)
        same = same + 1 if abs(free - last) < 1 << 20 else 0
        if same == 3:
            return
        last = free
        time.sleep(0.1)


def _touch(folder: Path, size: int) -> None:
    """Fill so much of the page cache and free it.

    A virtual machine may have given its free memory back to its host. Whoever writes files next pays for
    getting it again, which can double the time of a download: here nobody does. Only a real file
    helps, memory of a process's own does not.
    """
    block = bytes(_BLOCK)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(size // _BLOCK):
            file.write(block)


class _Watch:
    """Looks at a running command every few milliseconds."""

    def __init__(self, pid: int, disk: Path, daemon: Daemon | None) -> None:
        self._pid, self._disk, self._daemon = pid, disk, daemon
        self.rss, self.temporary, self.free = 0, 0, _free(disk)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._stop.wait(_INTERVAL)

    def _look(self) -> None:
        self.rss = max(self.rss, sum(map(_peak, tree(self._pid))))
        self.free = min(self.free, _free(self._disk))
        if self._daemon:
            self.temporary = max(self.temporary, sum(map(used, self._daemon.temporary)))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.free = min(self.free, _free(self._disk))


def tree(pid: int) -> Iterator[int]:
    """A process and all that descend from it, as far as they live."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


def used(folder: Path) -> int:
    """Bytes on disk of all files below a folder that others may be changing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118 - called often
    return total


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(found.lstat().st_size for found in path.rglob("*") if not found.is_dir())


def _peak(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def _forget_peak(pid: int) -> None:
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def processor(pids: Sequence[int]) -> float:
    """Seconds of processor time of processes and of their children that have ended."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS


def _free(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bfree * found.f_frsize
