"""A disk whose power is cut: it has what was synced, and of the rest what chance, or a choice, leaves of it.

    recorder = Recorder(work, folder)       # what is in the folder is the beginning
    ...                                     # write there
    recording = recorder.stop()
    state = State(recording.beginning)
    for call in recording.calls:            # each that changed something, or synced it
        state.take(call)
        state.tree(lambda change: Survives("nothing"), chance).write_to(folder)

`fsync` of a file keeps its content, `fsync` of a folder keeps the names in it: no more, as POSIX has it. What
was not synced may be there all the same, in part, and in any order (see `Survives`). A renaming happens as a
whole or not at all: on FAT it may not; airgap says so of no file system.

The calls are recorded by a FUSE file system in a process of its own (mfusepy), with nothing of airgap in it.
"""

import pickle
import random
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PAGE = 4096
_LARGEST = 1 << 16
TOP = 0
"""The number of the folder that is mounted."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names in one folder that mean other files or folders now (their numbers), or nothing: all or none."""

    folder: int
    means: Mapping[str, int | None]

    @property
    def node(self) -> int:
        """Whose syncing keeps it."""
        return self.folder


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes that were written."""

    node: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Size:
    """A size that was given."""

    node: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """Of a file or a folder."""

    node: int


Change = Names | Write | Size


@dataclass
class Tree:
    """Files and folders by number. Content is never changed, only replaced, so copies share it."""

    modes: dict[int, int] = field(default_factory=lambda: {TOP: stat.S_IFDIR | 0o755})
    names: dict[int, dict[str, int]] = field(default_factory=lambda: {TOP: {}})
    content: dict[int, bytes] = field(default_factory=dict)

    def copy(self) -> "Tree":
        names = {number: dict(names) for number, names in self.names.items()}
        return Tree(self.modes, names, dict(self.content))

    def new(self, mode: int) -> int:
        """The number of a file or folder that has no name yet."""
        number = len(self.modes)
        self.modes[number] = mode
        return number

    def find(self, path: str) -> int | None:
        """The number of what is at a path that begins with `/`."""
        number: int | None = TOP
        for name in path.split("/"):
            if name and number is not None:
                number = self.names.get(number, {}).get(name)
        return number

    def apply(self, change: Change) -> None:
        if isinstance(change, Names):
            names = self.names.setdefault(change.folder, {})
            for name, number in change.means.items():
                names.pop(name, None)
                if number is not None:
                    names[name] = number
            return
        old = self.content.get(change.node, b"")
        if isinstance(change, Size):
            self.content[change.node] = old[: change.size].ljust(change.size, b"\0")
        elif change.offset == len(old):
            self.content[change.node] = old + change.data
        else:
            old = old.ljust(change.offset, b"\0")
            end = change.offset + len(change.data)
            self.content[change.node] = old[: change.offset] + change.data + old[end:]

    def paths(self, top: int = TOP) -> Iterator[tuple[str, int]]:
        """Everything below, folders before what is in them: paths without `/` in front, and numbers."""
        for name, number in self.names.get(top, {}).items():
            yield name, number
            if stat.S_ISDIR(self.modes[number]):
                yield from ((f"{name}/{below}", each) for below, each in self.paths(number))

    def write_to(self, folder: Path) -> None:
        """Make `folder` anew, with this in it."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, number in self.paths():
            path = folder / name
            if stat.S_ISDIR(self.modes[number]):
                path.mkdir()
            else:
                path.write_bytes(self.content.get(number, b""))
            path.chmod(stat.S_IMODE(self.modes[number]))

    def state(self) -> int:
        """The same for the same names and contents."""
        return hash(frozenset((name, self.content.get(number)) for name, number in self.paths()))

    @classmethod
    def read_from(cls, folder: Path) -> "Tree":
        """What is in a folder."""
        tree = cls()
        numbers = {folder: TOP}
        for path in sorted(folder.rglob("*")):
            number = numbers[path] = tree.new(path.stat().st_mode)
            tree.names[numbers[path.parent]][path.name] = number
            if path.is_dir():
                tree.names[number] = {}
            else:
                tree.content[number] = path.read_bytes()
        return tree


@dataclass(frozen=True, slots=True)
class Survives:
    """What outlives the cut of that which was not synced.

    `nothing`; `names` without content, so that a new file is empty; names and sizes, and `zeros` for
    content; `some` names, and some pages of content, at random; `everything`, as when only the process ends.
    """

    what: str

    def of(self, change: Change, chance: random.Random) -> Iterator[Change]:
        """What of a change there is afterwards."""
        match self.what, change:
            case ("everything", _) | ("names" | "zeros", Names()) | ("zeros", Size()):
                yield change
            case "zeros", Write(node, offset, data):
                yield Write(node, offset, bytes(len(data)))
            case "some", Write(node, offset, data):
                for at in range(0, len(data), PAGE):
                    if chance.random() < 0.5:
                        yield Write(node, offset + at, data[at : at + PAGE])
            case "some", _ if chance.random() < 0.5:
                yield change


class State:
    """A disk at one moment: what is durable, and what was changed since."""

    def __init__(self, beginning: Tree) -> None:
        self.durable = beginning.copy()
        self.pending: list[Change] = []

    def take(self, done: Change | Sync) -> None:
        """A call was made."""
        if not isinstance(done, Sync):
            self.pending.append(done)
            return
        for change in self.pending:
            if change.node == done.node:
                self.durable.apply(change)
        self.pending = [change for change in self.pending if change.node != done.node]

    def tree(self, survives: Callable[[Change], Survives], chance: random.Random) -> Tree:
        """What is there when the power comes back; `survives` says what is left of a change."""
        tree = self.durable.copy()
        for change in self.pending:
            for left in survives(change).of(change, chance):
                tree.apply(left)
        return tree


@dataclass
class Recording:
    """The beginning of a disk, and all calls that changed it, or synced something, in order."""

    mount_point: Path
    beginning: Tree
    calls: list[Change | Sync] = field(default_factory=list)

    def add(self, call: Change | Sync) -> None:
        """Keep account of a call; writes that go on where the one before ended are one, as large as those of a
        program: the kernel cuts them into pages.
        """
        before = self.calls[-1] if self.calls else None
        match before, call:
            case Write(node, offset, data), Write(other, at, more) if (
                node == other and offset + len(data) == at and len(data) < _LARGEST
            ):
                self.calls[-1] = Write(node, offset, data + more)
            case _:
                self.calls.append(call)

    def tops(self) -> dict[int, str]:
        """Which of the topmost names each file and folder is, or is below of."""
        names = [Names(folder, names) for folder, names in self.beginning.names.items()]
        found: dict[int, str] = {}
        for change in (*names, *self.calls):
            if isinstance(change, Names):
                for name, node in change.means.items():
                    if node is not None:
                        found[node] = name if change.folder == TOP else found[change.folder]
        return found

    def dump(self, path: Path) -> None:
        path.write_bytes(pickle.dumps(self))

    @staticmethod
    def load(path: Path) -> "Recording":
        recording = pickle.loads(path.read_bytes())
        assert isinstance(recording, Recording)
        return recording
