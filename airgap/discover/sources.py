"""The files that a discovery may read: regular files below the given folders, within limits.

The files come from anywhere, and name other files: `include: ../../etc/shadow`. A name that leaves the
folders, also through a link, is refused, and nothing that could block or be endless is opened.
"""

import codecs
import os
import stat
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from airgap.errors import AirgapError, FormatError, MediaError, PolicyError, disk_failed
from airgap.limits import MAX_DEPLOYMENT_BYTES, MAX_DEPLOYMENT_FILE_BYTES, MAX_DEPLOYMENT_FILES
from airgap.values import dataclass

STDIN = Path("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that was read."""

    path: Path
    """The path by which it was found; `-` for standard input."""
    text: str
    """The characters, without a byte order mark."""
    byte_order_mark: bytes = b""
    """The mark at the beginning of the file; empty if it has none."""

    @property
    def name(self) -> str:
        """The name of the file in findings."""
        return "standard input" if self.path == STDIN else os.path.normpath(self.path)

    @property
    def folder(self) -> Path:
        """The folder that relative names in it start from."""
        return Path() if self.path == STDIN else self.path.parent


@dataclass(slots=True)
class Sources:
    """Reads files below `roots`."""

    roots: Sequence[Path]
    _read: dict[Path, SourceFile] = field(default_factory=dict)
    _bytes: int = 0

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """The files that were read."""
        return tuple(self._read.values())

    def add(self, file: SourceFile) -> None:
        """Add a file that was read elsewhere: standard input, or a member of an archive."""
        self._count(len(file.text), file.path)
        self._read[file.path] = file

    def check(self, path: Path) -> Path:
        """Return the real path. Raises `PolicyError` if it is not below one of the roots."""
        try:
            real = path.resolve()
        except (
            OSError,
            RuntimeError,
            ValueError,
        ) as error:  # Python before 3.13 raises RuntimeError for loops
            raise FormatError(
                "cannot be read", subject=path, got="a loop of links, or an invalid name"
            ) from error
        if not any(real.is_relative_to(root.resolve()) for root in self.roots):
            want = f"a file below {', '.join(str(root) for root in self.roots if root.is_dir())}"
            hint = "if it belongs to the deployment, name the folder that has all of it with --root"
            raise PolicyError("a file outside of the deployment's folder", subject=path, want=want, hint=hint)
        return real

    def exists(self, path: Path) -> bool:
        """Return whether there is a regular file below the roots."""
        try:
            return self.check(path).is_file()
        except (AirgapError, OSError, ValueError):
            return False

    def is_folder(self, path: Path) -> bool:
        """Return whether there is a folder below the roots."""
        try:
            return self.check(path).is_dir()
        except (AirgapError, OSError, ValueError):
            return False

    def read(self, path: Path) -> SourceFile:
        """Return the file at `path`.

        Raises:
            PolicyError: It is outside of the roots.
            FormatError: There is no such file, it is not a regular file, it is too large or not UTF-8.
            MediaError: The disk fails.
        """
        if path not in self._read:
            real = self.check(path)
            raw = self.read_bytes(real, path, MAX_DEPLOYMENT_FILE_BYTES)
            mark = codecs.BOM_UTF8 if raw.startswith(codecs.BOM_UTF8) else b""
            self._read[path] = SourceFile(path=path, text=decode(raw, path), byte_order_mark=mark)
        return self._read[path]

    def read_bytes(self, real: Path, name: Path, max_bytes: int) -> bytes:
        """Return the bytes of a regular file of at most `max_bytes`. Raises as `read`, without its check."""
        try:
            descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise FormatError("not a regular file", subject=name)
                raw = file.read(max_bytes + 1)
        except ValueError as error:
            raise FormatError("cannot be read", subject=name, got="an invalid path") from error
        except OSError as error:
            if disk_failed(error):
                raise MediaError.of(error, "cannot read", name) from error
            raise FormatError("cannot be read", subject=name, got=error.strerror) from error
        if len(raw) > max_bytes:
            raise FormatError("too large", subject=name, want=f"at most {max_bytes:,} bytes", got="more")
        self._count(len(raw), name)
        return raw

    def _count(self, size: int, name: Path) -> None:
        self._bytes += size
        if self._bytes > MAX_DEPLOYMENT_BYTES:
            want = f"at most {MAX_DEPLOYMENT_BYTES:,} bytes in all files"
            raise FormatError("too much to read", subject=name, want=want)
        if len(self._read) >= MAX_DEPLOYMENT_FILES:
            raise FormatError("too many files", subject=name, want=f"at most {MAX_DEPLOYMENT_FILES:,}")


def decode(raw: bytes, name: object) -> str:
    """Return the text of a file. Raises `FormatError` if it is not UTF-8."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        got = f"byte 0x{raw[error.start]:02x}"
        raise FormatError("not UTF-8", subject=f"{name}:{line}", got=got) from error
