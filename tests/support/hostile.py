"""A hostile medium: a FUSE file system over a good folder, some of whose names are not what they seem.

    with hostile(tmp_path / "medium", good, {"kit/install.sh": turns(b"evil")}) as medium:
        medium / "kit"

Names are relative to the folder; each has one `Trick`. Nothing is cached, so that every read asks the medium.
"""

import base64
import contextlib
import dataclasses
import errno
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.mounted import Mounted

_SPECIAL = {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK, "zeros": stat.S_IFCHR, "link": stat.S_IFLNK}


@dataclass(frozen=True)
class Trick:
    """What the medium does with a name."""

    kind: str
    """`fifo`, `socket`, `zeros` (the device /dev/zero), `link`, `folder`, `turns`, `endless` or `more`."""
    text: str = ""
    """Where the link leads to; else content, in base64."""
    after: int = 1
    """From which open on a file that `turns` gives the other content, counted from 0."""


def link(to: object) -> Trick:
    """A symbolic link."""
    return Trick("link", str(to))


def turns(content: bytes, after: int = 1) -> Trick:
    """The good content at first; other content from open number `after` on."""
    return Trick("turns", base64.b64encode(content).decode(), after)


def endless() -> Trick:
    """The good content, and then zeros without end, whatever size the file is said to have."""
    return Trick("endless")


def more(content: bytes = b"") -> Trick:
    """A file that the good folder does not have, or has with other content."""
    return Trick("more", base64.b64encode(content).decode())


def serve(folder: Path) -> None:
    """Mount the medium that `folder` describes, until it is unmounted."""
    import mfusepy

    setting = json.loads((folder / "setting.json").read_text())
    good = Path(setting["good"])
    tricks = {f"/{name}": Trick(**trick) for name, trick in setting["tricks"].items()}
    opens: dict[str, int] = {}
    handles: dict[int, bytes] = {}

    class Medium(mfusepy.Operations):
        use_ns = True

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            trick = tricks.get(path)
            if trick is not None and trick.kind in _SPECIAL:
                device = os.makedev(1, 5) if trick.kind == "zeros" else 0
                return {"st_mode": _SPECIAL[trick.kind] | 0o777, "st_nlink": 1, "st_rdev": device}
            if trick is not None and trick.kind == "folder":
                return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
            if trick is not None and trick.kind == "more":
                size = len(base64.b64decode(trick.text))
                return {"st_mode": stat.S_IFREG | 0o755, "st_nlink": 1, "st_size": size}
            try:
                found = os.lstat(f"{good}{path}")
            except OSError as error:
                raise mfusepy.FuseOSError(error.errno or errno.EIO) from error
            return {"st_mode": found.st_mode, "st_nlink": found.st_nlink, "st_size": found.st_size}

        def readdir(self, path: str, fh: int) -> list[str]:
            top = path.rstrip("/")
            names = {name.rpartition("/")[2] for name in tricks if name.rpartition("/")[0] == top}
            with contextlib.suppress(OSError):
                names |= {each.name for each in Path(f"{good}{path}").iterdir()}
            return [".", "..", *sorted(names)]

        def readlink(self, path: str) -> str:
            return tricks[path].text

        def open(self, path: str, flags: int) -> int:
            trick = tricks.get(path)
            number = opens[path] = opens.get(path, -1) + 1
            if trick is not None and (
                trick.kind == "more" or (trick.kind == "turns" and number >= trick.after)
            ):
                content = base64.b64decode(trick.text)
            else:
                content = Path(f"{good}{path}").read_bytes()
            handle = len(handles) + 1
            handles[handle] = content
            return handle

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            found = handles[fh][offset : offset + size]
            trick = tricks.get(path)
            if trick is not None and trick.kind == "endless":
                return found.ljust(size, b"\0")
            return found

    mfusepy.FUSE(
        Medium(), str(folder / "mnt"), foreground=True, nothreads=True, fsname="hostile", dev=True,
        direct_io=True, attr_timeout=0, entry_timeout=0,
    )  # fmt: skip


@contextlib.contextmanager
def hostile(folder: Path, good: Path, tricks: Mapping[str, Trick]) -> Iterator[Path]:
    """The mount point of the medium, until the block ends."""
    mount_point = folder / "mnt"
    mount_point.mkdir(parents=True)
    setting = {"good": str(good), "tricks": {name: dataclasses.asdict(each) for name, each in tricks.items()}}
    (folder / "setting.json").write_text(json.dumps(setting))
    mounted = Mounted(__name__, folder, mount_point)
    try:
        yield mount_point
    finally:
        mounted.abandon()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
