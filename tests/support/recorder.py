"""A FUSE file system that keeps account of what is called, for tests/support/power.py."""

import errno
import stat
import sys
from pathlib import Path
from typing import Any

from tests.support.mounted import Mounted
from tests.support.power import PAGE, Change, Names, Recording, Size, Sync, Tree, Write

_BLOCKS = (256 << 20) // PAGE
"""What it says it has."""


def serve(folder: Path) -> None:
    """Mount what `folder` has in `recording`, until it is unmounted, and add what was called."""
    import mfusepy

    recording = Recording.load(folder / "recording")
    tree = recording.beginning.copy()

    def do(change: Change) -> None:
        tree.apply(change)
        recording.add(change)

    def at(path: str) -> int:
        if (node := tree.find(path)) is None:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return node

    def split(path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        return at(above), name

    def add(path: str, mode: int) -> int:
        above, name = split(path)
        node = tree.new(mode)
        do(Names(above, {name: node}))
        return node

    class Disk(mfusepy.Operations):
        use_ns = True

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            node = at(path)
            size = len(tree.content.get(node, b""))
            links = 2 if stat.S_ISDIR(tree.modes[node]) else 1
            blocks = -(-size // 512)
            return {"st_mode": tree.modes[node], "st_size": size, "st_nlink": links, "st_blocks": blocks}

        def readdir(self, path: str, fh: int) -> list[str]:
            return [".", "..", *tree.names.get(at(path), {})]

        def open(self, path: str, flags: int) -> int:
            return at(path)

        def opendir(self, path: str) -> int:
            return at(path)

        def create(self, path: str, mode: int, fi: Any = None) -> int:
            return add(path, stat.S_IFREG | (mode & 0o777))

        def mkdir(self, path: str, mode: int) -> int:
            add(path, stat.S_IFDIR | (mode & 0o777))
            return 0

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return tree.content.get(fh, b"")[offset : offset + size]

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            do(Write(fh, offset, bytes(data)))
            return len(data)

        def truncate(self, path: str, length: int, fh: int | None = None) -> int:
            do(Size(at(path), length))
            return 0

        def unlink(self, path: str) -> int:
            above, name = split(path)
            do(Names(above, {name: None}))
            return 0

        def rmdir(self, path: str) -> int:
            if tree.names.get(at(path)):
                raise mfusepy.FuseOSError(errno.ENOTEMPTY)
            return self.unlink(path)

        def rename(self, old: str, new: str) -> int:
            node, (above, name), (below, other) = at(old), split(old), split(new)
            if above != below:  # airgap renames within a folder, and what is left of half of one is not told
                raise mfusepy.FuseOSError(errno.EXDEV)
            do(Names(above, {name: None, other: node}))
            return 0

        def fsync(self, path: str, datasync: int, fh: int) -> int:
            recording.add(Sync(fh))
            return 0

        fsyncdir = fsync

        def statfs(self, path: str) -> dict[str, int]:
            free = _BLOCKS - sum(map(len, tree.content.values())) // PAGE
            names = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail")
            return dict(zip(names, (PAGE, PAGE, _BLOCKS, free, free), strict=True))

        def chmod(self, path: str, mode: int) -> int:
            tree.modes[at(path)] = mode
            return 0

        def utimens(self, path: str, times: Any = None) -> int:
            return 0

    mfusepy.FUSE(Disk(), str(recording.mount_point), foreground=True, nothreads=True, fsname="recorder")
    recording.dump(folder / "recording")


class Recorder:
    """What is in a folder, mounted in its place and recorded until `stop`."""

    def __init__(self, work: Path, folder: Path) -> None:
        work.mkdir(exist_ok=True)
        self._file = work / "recording"
        Recording(folder, Tree.read_from(folder)).dump(self._file)
        Tree().write_to(folder)  # libfuse 2 mounts over an empty one only
        self._mounted = Mounted(__name__, work, folder)

    def stop(self) -> Recording:
        """Unmount; what was called. Raises as `Mounted.stop`."""
        self._mounted.stop()
        return Recording.load(self._file)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
