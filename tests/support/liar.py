"""A stick that lies: a FUSE file system whose names are right, and whose content is kept as the lie has it.

    with Liar(tmp_path / "stick", Lie(wraps_at=4 << 20)) as stick:
        stick.mount_point / "bundle"      # what is written past 4 MiB lands on what is there already
        stick.plug_in_again()             # nothing is cached any more

Content lies in numbered blocks that are given out one after the other, as on a new stick. The server is a
process of its own (mfusepy); what it holds outlives it, in a file, but for a stick that is gone.
"""

import dataclasses
import errno
import json
import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.support.mounted import Mounted

BLOCK = 4096
MIB = 1 << 20


@dataclass(frozen=True)
class Lie:
    """What the stick does other than it says. Bytes; None where it does not."""

    size: int = 64 * MIB
    """What it says it has."""
    wraps_at: int | None = None
    """It has so many only: what is written past them lands on what is there from the beginning."""
    drops_after: int | None = None
    """So many are stored; later writes are said to be done."""
    full_after: int | None = None
    """No space is left after so many, whatever it says is free."""
    flips_every: int | None = None
    """A bit of the content is read wrong in each such stretch."""
    fails_after: int | None = None
    """After so many were written, everything is an I/O error."""
    gone_after: int | None = None
    """After so many were written, it is gone."""
    gone_after_calls: int | None = None
    """After so many calls that change anything, it is gone."""
    forgets: bool = False
    """When it is pulled out, it has only what was synced: content by its file, names by their folder."""
    read_fails_after: int | None = None
    """After so many were read, everything is an I/O error."""
    short: bool = False
    """It takes about half of what is written at a time, and says so."""
    mangles: bool = False
    """It lists names as it likes, and finds files under any."""


@dataclass
class Node:
    """A file or a folder."""

    mode: int
    size: int = 0
    blocks: list[int] = field(default_factory=list)
    synced: bytes = b""
    """Content as it was when the file was synced; for a stick that forgets."""
    names: "dict[str, Node]" = field(default_factory=dict)
    """What was in the folder when it was synced."""


class Store:
    """Names, and content in blocks; no FUSE."""

    def __init__(self, lie: Lie, kept: Path = Path()) -> None:
        self.lie = lie
        self.kept = kept
        self.nodes: dict[str, Node] = {"/": Node(stat.S_IFDIR | 0o755)}
        self.content: dict[int, bytearray] = {}
        self.next = 0
        self.free: list[int] = []
        self.written = 0
        self.read_count = 0
        self.calls = 0

    # -- what stays

    def sync(self, path: str) -> None:
        """What the file holds now stays, or the names that the folder has now."""
        node = self.nodes[path]
        if stat.S_ISREG(node.mode):
            node.synced = self.read(node, node.size, 0)
        else:
            top = path.rstrip("/")
            found = [name for name in self.nodes if name != "/" and name.rpartition("/")[0] == top]
            node.names = {name.rpartition("/")[2]: self.nodes[name] for name in found}

    def remembered(self) -> "Store":
        """The stick after it was pulled out."""
        after = Store(dataclasses.replace(self.lie, gone_after=None, gone_after_calls=None))
        waiting = [("", self.nodes["/"])]
        while waiting:
            path, node = waiting.pop()
            kept = after.nodes[path or "/"] = Node(node.mode)
            if stat.S_ISREG(node.mode):
                after.write(kept, node.synced, 0)
            waiting += [(f"{path}/{name}", child) for name, child in node.names.items()]
        for path in after.nodes:
            after.sync(path)
        return after

    # -- content

    def write(self, node: Node, data: bytes, offset: int) -> int:
        if self.lie.short:
            data = data[: (len(data) + 1) // 2]
        done = 0
        while done < len(data):
            number, inside = divmod(offset + done, BLOCK)
            piece = data[done : done + BLOCK - inside]
            while len(node.blocks) <= number:
                node.blocks.append(self._new_block())
            self._put(node.blocks[number], inside, piece)
            done += len(piece)
            node.size = max(node.size, offset + done)
        return done

    def read(self, node: Node, size: int, offset: int) -> bytes:
        out = bytearray()
        end = min(offset + size, node.size)
        while offset < end:
            number, inside = divmod(offset, BLOCK)
            length = min(BLOCK - inside, end - offset)
            block = bytes(BLOCK)
            if number < len(node.blocks):
                block = bytes(self.content.get(self._place(node.blocks[number]), bytes(BLOCK)))
                block = self._flipped(block, node.blocks[number])
            out += block[inside : inside + length]
            offset += length
        self.read_count += len(out)
        return bytes(out)

    def truncate(self, node: Node, size: int) -> None:
        keep = -(-size // BLOCK)
        for number in node.blocks[keep:]:
            self.content.pop(self._place(number), None)
        self.free += node.blocks[keep:]
        del node.blocks[keep:]
        node.size = size

    def _new_block(self) -> int:
        if self.lie.full_after is not None and (self.next + 1) * BLOCK > self.lie.full_after:
            raise OSError(errno.ENOSPC, "full")
        if (self.next + 1) * BLOCK <= self.lie.size:
            self.next += 1
            return self.next - 1
        if not self.free:
            raise OSError(errno.ENOSPC, "full")
        return self.free.pop(0)

    def _place(self, number: int) -> int:
        return number if self.lie.wraps_at is None else number % max(self.lie.wraps_at // BLOCK, 1)

    def _put(self, number: int, inside: int, piece: bytes) -> None:
        self.written += len(piece)
        if self.lie.drops_after is None or self.written <= self.lie.drops_after:
            block = self.content.setdefault(self._place(number), bytearray(BLOCK))
            block[inside : inside + len(piece)] = piece

    def _flipped(self, block: bytes, number: int) -> bytes:
        every = self.lie.flips_every
        if every is None or number % max(every // BLOCK, 1):
            return block
        return bytes([block[0] ^ 1]) + block[1:]

    def dying(self) -> bool:
        """Whether nothing works any more."""
        lie = self.lie
        gone = lie.gone_after is not None and self.written > lie.gone_after
        if gone or (lie.gone_after_calls is not None and self.calls > lie.gone_after_calls):
            self.pulled_out()
            os._exit(0)
        read_dead = lie.read_fails_after is not None and self.read_count > lie.read_fails_after
        return read_dead or (lie.fails_after is not None and self.written > lie.fails_after)

    # -- to a file and back

    def pulled_out(self) -> None:
        """Keep what a stick that forgets has then."""
        if self.lie.forgets:
            self.remembered().dump(self.kept)

    def dump(self, path: Path) -> None:
        nodes = {
            name: {"mode": node.mode, "size": node.size, "blocks": node.blocks}
            for name, node in self.nodes.items()
        }
        content = {str(number): block.hex() for number, block in self.content.items()}
        path.write_text(
            json.dumps({"nodes": nodes, "content": content, "next": self.next, "free": self.free})
        )

    def load(self, path: Path) -> None:
        value = json.loads(path.read_text())
        self.nodes = {name: Node(**node) for name, node in value["nodes"].items()}
        self.content = {int(number): bytearray.fromhex(text) for number, text in value["content"].items()}
        self.next, self.free = value["next"], value["free"]
        for name in self.nodes:
            self.sync(name)


def serve(folder: Path) -> None:
    """Mount the stick that `folder` describes, until it is unmounted."""
    import mfusepy

    lie = Lie(**json.loads((folder / "lie.json").read_text()))
    store = Store(lie, folder / "content.json")
    if store.kept.exists():
        store.load(store.kept)

    class Stick(mfusepy.Operations):
        use_ns = True

        def _node(self, path: str) -> Node:
            if store.dying():
                raise mfusepy.FuseOSError(errno.EIO)
            node = store.nodes.get(path)
            if node is None and lie.mangles:
                found = [name for name in store.nodes if name.casefold() == path.casefold()]
                node = store.nodes[found[0]] if found else None
            if node is None:
                raise mfusepy.FuseOSError(errno.ENOENT)
            return node

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            node = self._node(path)
            links = 2 if stat.S_ISDIR(node.mode) else 1
            return {
                "st_mode": node.mode,
                "st_size": node.size,
                "st_nlink": links,
                "st_blocks": len(node.blocks) * 8,
            }

        def readdir(self, path: str, fh: int) -> list[str]:
            self._node(path)
            top = path.rstrip("/")
            names = [
                name[len(top) + 1 :] for name in store.nodes if name != "/" and name.rpartition("/")[0] == top
            ]
            if lie.mangles:
                names = [name.upper() for name in names]
            return [".", "..", *names]

        def _change(self) -> None:
            store.calls += 1

        def create(self, path: str, mode: int, fi: Any = None) -> int:
            self._change()
            self._node(path.rpartition("/")[0] or "/")
            store.nodes[path] = Node(stat.S_IFREG | (mode & 0o777))
            return 0

        def open(self, path: str, flags: int) -> int:
            self._node(path)
            return 0

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return store.read(self._node(path), size, offset)

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            self._change()
            done = store.write(self._node(path), data, offset)
            self._node(path)
            return done

        def truncate(self, path: str, length: int, fh: int | None = None) -> int:
            store.truncate(self._node(path), length)
            return 0

        def mkdir(self, path: str, mode: int) -> int:
            self._change()
            self._node(path.rpartition("/")[0] or "/")
            store.nodes[path] = Node(stat.S_IFDIR | (mode & 0o777))
            return 0

        def unlink(self, path: str) -> int:
            self._change()
            store.truncate(self._node(path), 0)
            del store.nodes[path]
            return 0

        def rmdir(self, path: str) -> int:
            self._node(path)
            if any(name.startswith(f"{path}/") for name in store.nodes):
                raise mfusepy.FuseOSError(errno.ENOTEMPTY)
            del store.nodes[path]
            return 0

        def rename(self, old: str, new: str) -> int:
            self._change()
            self._node(old)
            if new in store.nodes and stat.S_ISREG(store.nodes[new].mode):
                self.unlink(new)
            for name in [name for name in store.nodes if name == old or name.startswith(f"{old}/")]:
                store.nodes[new + name[len(old) :]] = store.nodes.pop(name)
            return 0

        def statfs(self, path: str) -> dict[str, int]:
            used = sum(len(node.blocks) for node in store.nodes.values())
            blocks = lie.size // BLOCK
            free = max(blocks - used, 0)
            return {
                "f_bsize": BLOCK,
                "f_frsize": BLOCK,
                "f_blocks": blocks,
                "f_bfree": free,
                "f_bavail": free,
            }

        def fsync(self, path: str, datasync: int, fh: int) -> int:
            self._change()
            self._node(path)
            store.sync(path)
            return 0

        fsyncdir = fsync

        def flush(self, path: str, fh: int) -> int:
            return 0

        def release(self, path: str, fh: int) -> int:
            return 0

        def chmod(self, path: str, mode: int) -> int:
            return 0

        def utimens(self, path: str, times: Any = None) -> int:
            return 0

    options = {"direct_io": True} if lie.short else {}
    mfusepy.FUSE(Stick(), str(folder / "mnt"), foreground=True, nothreads=True, fsname="liar", **options)
    (store.remembered() if lie.forgets else store).dump(store.kept)


class Liar:
    """A mounted stick that lies, in a folder of its own."""

    def __init__(self, folder: Path, lie: Lie) -> None:
        self.folder = folder
        self.mount_point = folder / "mnt"
        self.mount_point.mkdir(parents=True)
        self._plug_in(lie)

    def _plug_in(self, lie: Lie) -> None:
        (self.folder / "lie.json").write_text(json.dumps(dataclasses.asdict(lie)))
        self.mounted = Mounted(__name__, self.folder, self.mount_point)

    def plug_out(self) -> None:
        """Unmount; what the stick holds is kept, if it is not gone. Raises as `Mounted.stop`."""
        self.mounted.stop()

    def plug_in_again(self, lie: Lie | None = None) -> None:
        """Unplugged, and plugged in again: nothing is cached. It may have become honest meanwhile."""
        before = Lie(**json.loads((self.folder / "lie.json").read_text()))
        self.plug_out()
        self._plug_in(
            lie
            or dataclasses.replace(
                before, fails_after=None, gone_after=None, gone_after_calls=None, read_fails_after=None
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.plug_out()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
