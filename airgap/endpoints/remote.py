"""Another machine, as `send` uses it: its files and its commands."""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol

from airgap.oci.digest import Advance, ByteStream
from airgap.values import dataclass


class FileKind(Enum):
    """What an entry of a remote folder is; a symbolic link is `OTHER`."""

    FILE = auto()
    FOLDER = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An entry of a folder on another machine; a symbolic link is not followed."""

    name: str
    kind: FileKind
    size: int


@dataclass(frozen=True, slots=True)
class RemoteSpace:
    """The free space of a file system on another machine."""

    free: int
    """Bytes that this user may still write."""
    read_only: bool


LONG_SILENCE = 3600.0
"""Seconds without output: a program that hashes or loads a large file prints nothing meanwhile."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a command on another machine; `code` is -1 if it was killed."""

    code: int
    out: bytes
    err: bytes
    """At most the first 16 KiB."""


class Host(Protocol):
    """Another machine: files and commands. Paths are absolute, or start at the login's folder.

    Raises `TransportError` for every failure. May be used by several threads.
    """

    name: str
    """The name shown to people: `user@host`."""

    def real_path(self, path: str) -> str:
        """Return the absolute form of a path."""

    def find(self, path: str) -> RemoteFile | None:
        """Return the entry at that path, or None."""

    def list(self, path: str) -> list[RemoteFile]:
        """Return all entries of a folder."""

    def make_folder(self, path: str) -> None:
        """Make one folder; its parent exists."""

    def remove(self, path: str) -> None:
        """Remove one file, or a link itself."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, replacing any file of that name."""

    def space(self, path: str) -> RemoteSpace | None:
        """Return the space left in the file system there, or None if it is not known."""

    def write(self, path: str, stream: ByteStream, offset: int, advance: Advance) -> None:
        """Write the rest of `stream` from `offset` on, and make it durable. With offset 0 the path must not
        exist. Exceptions of `stream` are passed on, and the bytes written before that stay.
        """

    def read(self, path: str, size: int, take: Callable[[bytes], object]) -> None:
        """Hand the first `size` bytes of a file to `take`, in order; fewer if it is shorter."""

    def run(self, argv: Sequence[str], limit: int, silence: float = LONG_SILENCE) -> CommandResult | None:
        """Run a program without input. Return None if commands are not allowed.

        A login with a forced command runs that one instead: the output is not trusted. `limit` is the most
        bytes of output, `silence` the longest time in seconds without any.
        """

    def close(self) -> None:
        """End the connection; calls that wait for an answer fail."""
