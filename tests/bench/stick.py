"""A stick for measurements: a FUSE file system over a folder, as slow as a stick and as simple.

    with slow_stick(folder) as stick:
        stick.mount_point       # 30 MB/s of writing, 90 MB/s of reading
    stick.report()              # bytes, seeks and seconds that the medium was busy

There is one medium with one queue: whatever several programs read and write passes through it one after the
other. A change of the file or of the direction costs a seek. What is written goes to the medium in batches of
one file, as a kernel writes back; the writer waits when more than `buffer` bytes are on the way, and `fsync`
waits until the file is on the medium. A file that is opened is read from the medium, because FUSE drops its
cached pages then. Names and attributes cost no time. The queue is only a point in time until which the
medium is busy, so the server uses little of the processor.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support.mounted import Mounted

MIB = 1 << 20
_BATCH = MIB
"""Bytes of one file that are written without a seek, however many other files are written meanwhile."""
_IDLE_SECONDS = 0.010
"""Within a file the medium works ahead for so long, so that it is not slower because its server woke up late."""


@dataclass(frozen=True)
class Pace:
    """What the medium does at most. Bytes a second, seconds and bytes."""

    write: float = 30e6
    read: float = 90e6
    seek: float = 0.010
    buffer: int = 8 * MIB


@dataclass
class Medium:
    """The queue of the medium, and what passed through it."""

    pace: Pace
    clock: Callable[[], float] = time.monotonic
    busy_until: float = 0.0
    written: int = 0
    read: int = 0
    seeks: int = 0
    busy_seconds: float = 0.0
    _last: tuple[int, bool] | None = None
    _pending: dict[int, int] = field(default_factory=dict)
    _done: dict[int, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take_read(self, file: int, size: int) -> float:
        """Return the seconds until `size` bytes of a file have been read."""
        with self._lock:
            self.read += size
            return self._queue(file, size / self.pace.read, writing=False)

    def take_write(self, file: int, size: int) -> float:
        """Return the seconds that the writer of `size` bytes has to wait."""
        with self._lock:
            self.written += size
            self._pending[file] = self._pending.get(file, 0) + size
            if self._pending[file] >= _BATCH:
                self._flush(file)
            return self.busy_until - self.clock() - self.pace.buffer / self.pace.write

    def take_sync(self, file: int) -> float:
        """Return the seconds until all that was written to a file is on the medium."""
        with self._lock:
            self._flush(file)
            return self._done.get(file, 0.0) - self.clock()

    def _flush(self, file: int) -> None:
        if size := self._pending.pop(file, 0):
            self._queue(file, size / self.pace.write, writing=True)
            self._done[file] = self.busy_until

    def _queue(self, file: int, seconds: float, *, writing: bool) -> float:
        now = self.clock()
        earliest = now - _IDLE_SECONDS
        if self._last != (file, writing):
            self._last = (file, writing)
            self.seeks += 1
            seconds += self.pace.seek
            earliest = now
        self.busy_until = max(self.busy_until, earliest) + seconds
        self.busy_seconds += seconds
        return self.busy_until - now

    def report(self) -> dict[str, float]:
        """What passed through it so far."""
        names = ("written", "read", "seeks", "busy_seconds")
        return {name: getattr(self, name) for name in names}


def serve(folder: Path) -> None:
    """Mount `folder`/medium at `folder`/mnt until it is unmounted, and write the report."""
    import mfusepy

    medium = Medium(Pace(**json.loads((folder / "pace.json").read_text())))
    # The first generation of libfuse sends pages otherwise.
    options = {"big_writes": True} if mfusepy.fuse_version_major == 2 else {}
    mfusepy.FUSE(
        _operations(folder / "medium", medium), str(folder / "mnt"),
        foreground=True, fsname="stick", max_read=MIB // 8, default_permissions=True, **options,
    )  # fmt: skip
    (folder / "report.json").write_text(json.dumps(medium.report()))


def _wait(seconds: float) -> None:
    if seconds > 0:
        time.sleep(seconds)


def _operations(top: Path, medium: Medium) -> Any:
    import mfusepy

    def at(path: str) -> Path:
        return top / path.lstrip("/")

    class Stick(mfusepy.Operations):
        use_ns = True

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            found = os.lstat(at(path)) if fh is None else os.fstat(fh)
            names = ("mode", "nlink", "size", "uid", "gid", "blocks")
            times = {f"st_{name}": getattr(found, f"st_{name}_ns") for name in ("atime", "mtime", "ctime")}
            return times | {f"st_{name}": getattr(found, f"st_{name}") for name in names}

        def readdir(self, path: str, fh: int) -> list[str]:
            return [".", "..", *(found.name for found in at(path).iterdir())]

        def open(self, path: str, flags: int) -> int:
            return os.open(at(path), flags & ~os.O_DIRECT)

        def create(self, path: str, mode: int, fi: Any = None) -> int:
            return os.open(at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            data = os.pread(fh, size, offset)
            _wait(medium.take_read(os.fstat(fh).st_ino, len(data)))
            return data

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            _wait(medium.take_write(os.fstat(fh).st_ino, len(data)))
            return os.pwrite(fh, data, offset)

        def fsync(self, path: str, datasync: int, fh: int) -> int:
            _wait(medium.take_sync(os.fstat(fh).st_ino))
            return 0

        def release(self, path: str, fh: int) -> int:
            medium.take_sync(os.fstat(fh).st_ino)  # it is written later, without a wait
            os.close(fh)
            return 0

        def truncate(self, path: str, length: int, fh: int | None = None) -> int:
            os.truncate(at(path) if fh is None else fh, length)
            return 0

        def unlink(self, path: str) -> int:
            at(path).unlink()
            return 0

        def mkdir(self, path: str, mode: int) -> int:
            at(path).mkdir(mode)
            return 0

        def rmdir(self, path: str) -> int:
            at(path).rmdir()
            return 0

        def rename(self, old: str, new: str) -> int:
            at(old).rename(at(new))
            return 0

        def chmod(self, path: str, mode: int) -> int:
            at(path).chmod(mode)
            return 0

        def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
            os.utime(at(path), ns=times)
            return 0

        def statfs(self, path: str) -> dict[str, int]:
            found = os.statvfs(at(path))
            names = ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "namemax")
            return {f"f_{name}": getattr(found, f"f_{name}") for name in names}

    return Stick()


@dataclass
class SlowStick:
    """A mounted stick; its report is there when it was unmounted."""

    folder: Path
    mount_point: Path

    def report(self) -> dict[str, float]:
        """Bytes, seeks and busy seconds of the medium."""
        return json.loads((self.folder / "report.json").read_text())


@contextlib.contextmanager
def slow_stick(folder: Path, pace: Pace = Pace()) -> Iterator[SlowStick]:
    """Mount an empty stick below `folder`, which is made, until the block ends."""
    stick = SlowStick(folder, folder / "mnt")
    (folder / "medium").mkdir(parents=True)
    stick.mount_point.mkdir()
    (folder / "pace.json").write_text(json.dumps(asdict(pace)))
    mounted = Mounted(__name__, folder, stick.mount_point)
    try:
        yield stick
    finally:
        mounted.stop()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
