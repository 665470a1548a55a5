"""A far machine in memory, which can lie, break off, and have a disk that is too small."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from airgap.endpoints.remote import LONG_SILENCE, CommandResult, FileKind, RemoteFile, RemoteSpace
from airgap.errors import LinkError
from airgap.oci.digest import Advance, ByteStream

STEP = 1000


@dataclass
class MemoryHost:
    """A `Host`. Folders hold None, files their bytes, anything else a word."""

    name: str = "plant"
    tree: dict[str, bytes | str | None] = field(default_factory=lambda: {"/home": None})
    programs: dict[str, Callable[[Sequence[str]], CommandResult | None]] = field(default_factory=dict)
    free: int | None = None
    read_only: bool = False
    breaks_after: int | None = None
    """Bytes that are written until the link breaks."""
    breaks: int = 0
    """How often it did."""
    spoils: str | None = None
    """The end of a file's name whose bytes are stored wrong."""
    log: list[str] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self.programs.setdefault("sha256sum", self._sha256sum)

    def _path(self, path: str) -> str:
        return path if path.startswith("/") else f"/home/{path}".removesuffix("/.")

    def real_path(self, path: str) -> str:
        return self._path(path)

    def find(self, path: str) -> RemoteFile | None:
        path = self._path(path)
        return self._entry(path) if path in self.tree else None

    def _entry(self, path: str) -> RemoteFile:
        found = self.tree[path]
        name = path.rpartition("/")[2]
        if isinstance(found, bytes):
            return RemoteFile(name, FileKind.FILE, len(found))
        return RemoteFile(name, FileKind.FOLDER if found is None else FileKind.OTHER, 0)

    def list(self, path: str) -> list[RemoteFile]:
        top = self._path(path)
        return [self._entry(each) for each in sorted(self.tree) if each.rpartition("/")[0] == top]

    def make_folder(self, path: str) -> None:
        path = self._path(path)
        assert path not in self.tree
        assert (path.rpartition("/")[0] or "/home") in self.tree, path
        self.tree[path] = None

    def remove(self, path: str) -> None:
        self.log.append(f"remove {path.rpartition('/')[2]}")
        del self.tree[self._path(path)]

    def rename(self, old: str, new: str) -> None:
        self.log.append(f"rename {new.rpartition('/')[2]}")
        self.tree[self._path(new)] = self.tree.pop(self._path(old))

    def space(self, path: str) -> RemoteSpace | None:
        return None if self.free is None else RemoteSpace(self.free, self.read_only)

    def write(self, path: str, stream: ByteStream, offset: int, advance: Advance) -> None:
        path = self._path(path)
        before = self.tree.get(path, b"")
        assert isinstance(before, bytes)
        assert len(before) == offset, "gone on with elsewhere"
        assert offset or path not in self.tree, "something stands there"
        self.tree[path] = before
        buffer = memoryview(bytearray(STEP))
        while got := stream.readinto(buffer):
            if self.breaks_after is not None:
                self.breaks_after -= got
                if self.breaks_after <= 0:
                    self.breaks += 1
                    raise LinkError("cannot write", subject=path, got="the link broke off")
            piece = bytes(buffer[:got])
            self.tree[path] += bytes(got) if self.spoils and path.endswith(self.spoils) else piece
            advance(got)
        self.log.append(f"write {path.rpartition('/')[2]} from {offset}")

    def read(self, path: str, size: int, take: Callable[[bytes], object]) -> None:
        found = self.tree[self._path(path)]
        assert isinstance(found, bytes)
        take(found[:size])

    def run(self, argv: Sequence[str], limit: int, silence: float = LONG_SILENCE) -> CommandResult | None:
        assert silence
        program = self.programs.get(argv[0])
        if program is None:
            return CommandResult(127, b"", f"{argv[0]}: not found".encode())
        ran = program(argv)
        assert ran is None or len(ran.out) <= limit
        return ran

    def _sha256sum(self, argv: Sequence[str]) -> CommandResult:
        assert argv[1] == "--"
        lines = []
        for path in argv[2:]:
            found = self.tree.get(self._path(path))
            if not isinstance(found, bytes):
                return CommandResult(1, b"", b"no such file")
            lines.append(f"{hashlib.sha256(found).hexdigest()}  {path}\n")
        return CommandResult(0, "".join(lines).encode(), b"")

    def close(self) -> None:
        self.closed = True

    def files(self, folder: str) -> dict[str, bytes]:
        """The files below a folder, by their names there."""
        return {
            path.removeprefix(f"{folder}/"): raw
            for path, raw in self.tree.items()
            if path.startswith(f"{folder}/") and isinstance(raw, bytes)
        }
