"""Another machine, as `send` uses it: its files and its commands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from airgap.oci.digest import Advance, ByteStream


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What stands under a name on another machine; a symbolic link is itself, not what it points to."""

    name: str
    kind: str
    """`file`, `folder` or `other`."""
    size: int


@dataclass(frozen=True, slots=True)
class RemoteSpace:
    """The state of a file system on another machine."""

    free: int
    """Bytes that this user may still write."""
    read_only: bool


LONG_SILENCE = 3600.0
"""Seconds: a program that hashes or loads a large file says nothing meanwhile."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command on another machine ended; `code` is -1 when it was killed."""

    code: int
    out: bytes
    err: bytes
    """At most the first 16 KiB."""


class Host(Protocol):
    """Another machine: files and commands. Paths are absolute, or start at the login's folder.

    Raises `TransportError` for whatever fails. May be used by several threads.
    """

    name: str
    """How a person would call it: `user@host`."""

    def real_path(self, path: str) -> str:
        """The absolute form of a path."""

    def find(self, path: str) -> RemoteFile | None:
        """What stands there, or None."""

    def list(self, path: str) -> list[RemoteFile]:
        """All that is in a folder."""

    def make_folder(self, path: str) -> None:
        """Make one folder; its parent is there."""

    def remove(self, path: str) -> None:
        """Remove one file, or a link itself."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; what has it is replaced."""

    def space(self, path: str) -> RemoteSpace | None:
        """What the file system there has left, where that can be known."""

    def write(self, path: str, stream: ByteStream, offset: int, advance: Advance) -> None:
        """Write the rest of `stream` from `offset` on, and make it durable. With offset 0 nothing may
        stand there. What `stream` raises passes on, and the bytes before that stay.
        """

    def read(self, path: str, size: int, take: Callable[[bytes], object]) -> None:
        """Hand the first `size` bytes of a file to `take`, in order; fewer when it is shorter."""

    def run(self, argv: Sequence[str], limit: int, silence: float = LONG_SILENCE) -> CommandResult | None:
        """Run a program, without input and with at most `limit` bytes of output. None where commands are
        not allowed. A login that is bound to another program runs that one: the output is not trusted.
        """

    def close(self) -> None:
        """End the connection; calls that wait for an answer fail."""
