"""Files on media: written whole or not at all, and read without following links.

Every `OSError` becomes a `MediaError` or `NoSpaceError` here.
"""

import contextlib
import errno
import io
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from airgap.bundle.mounts import has_one_name
from airgap.durable import sync_folder
from airgap.errors import (
    AirgapError,
    FormatError,
    MediaError,
    MissingContentError,
    SizeMismatchError,
    UnlistedContentError,
)
from airgap.oci.digest import Advance, ByteStream
from airgap.values import dataclass

BUNDLE_FOLDERS = ("blobs", "blobs/sha256", "blobs/sha512", "sig", "trust")
"""The folders in the folder of a bundle."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextlib.contextmanager
def media_errors(what: str, subject: object) -> Iterator[None]:
    """Turn an `OSError` into a `MediaError`. `what` says what failed, and `subject` is its file or folder."""
    try:
        yield
    except OSError as error:
        raise MediaError.of(error, what, subject) from error


@contextlib.contextmanager
def closing_file(fd: int, subject: object, what: str = "cannot write") -> Iterator[int]:
    """Yield a descriptor, and close it once at the end. The system may report a failed write only when the
    file is closed (close(2)); an earlier error takes precedence.
    """
    try:
        yield fd
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(fd)
        raise
    with media_errors(what, subject):
        os.close(fd)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder and its parents durably; an existing folder is left unchanged. Raises `OSError`."""
    try:
        path.mkdir(mode)
    except FileNotFoundError:
        make_folder(path.parent)
        make_folder(path, mode)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        sync_folder(path.parent)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`, with as many calls as it needs. Raises `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` to `path`, whole or not at all, and durably. A file with the same content is left
    unchanged, because its content is durable; only its name is made durable again.
    """
    with media_errors("cannot write", path):
        make_folder(path.parent)
        part = path.with_name(path.name + ".part")
        part.unlink(missing_ok=True)
        if not holds(path, data):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with closing_file(os.open(part, flags, mode), path) as fd:
                write_all(fd, data)
                os.fsync(fd)
            part.replace(path)
        sync_folder(path.parent)


def write_stream(path: Path, chunks: Iterable[bytes], *, mode: int = 0o644) -> None:
    """Write `chunks` to `path`, whole or not at all, and durably: if `chunks` raises, `path` is unchanged."""
    part = path.with_name(path.name + ".part")
    with media_errors("cannot write", path):
        make_folder(path.parent)
        part.unlink(missing_ok=True)  # of any kind: opening a pipe would wait
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with closing_file(fd, part):
            for chunk in chunks:
                with media_errors("cannot write", part):
                    write_all(fd, chunk)
            with media_errors("cannot write", part):
                os.fsync(fd)
        with media_errors("cannot write", path):
            part.replace(path)
            sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def is_absent(path: Path) -> bool:
    """Return whether `path` does not exist. Other errors count as existing: opening the file reports them."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def holds(path: Path, data: bytes) -> bool:
    """Return whether `path` is a regular file with exactly this content. Raises `OSError`."""
    try:
        status = path.lstat()
        return stat.S_ISREG(status.st_mode) and status.st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


class Closing:
    """The base of classes that are closed at the end of a `with` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        raise NotImplementedError


class FileStream(Closing):
    """A regular file as a `ByteStream`."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name
        try:
            with media_errors("cannot read", name):
                self.size = os.fstat(fd).st_size
        except MediaError:
            self.close()
            raise

    def readinto(self, buffer: memoryview, /) -> int:
        with media_errors("cannot read", self._name):
            return os.readv(self._fd, [buffer])

    def seek(self, offset: int) -> None:
        """Continue reading at `offset` bytes from the start."""
        os.lseek(self._fd, offset, os.SEEK_SET)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with media_errors("cannot read", self._name):
                os.close(fd)


def read_small(stream: ByteStream, subject: object, limit: int) -> bytes:
    """Read all of a stream. Raises `SizeMismatchError` for more than `limit` bytes."""
    out = bytearray()
    buffer = memoryview(bytearray(1 << 16))
    while count := stream.readinto(buffer):
        out += buffer[:count]
        if len(out) > limit:
            want = f"at most {limit:,} bytes"
            raise SizeMismatchError("too large", subject=subject, want=want, got="more")
    return bytes(out)


def unlisted(kind: str, subject: object) -> UnlistedContentError:
    """Return the error for a file or folder that is not signed."""
    return UnlistedContentError(
        f"{kind} that the statement does not list",
        subject=subject,
        hint="only listed files are allowed; desktops add others, such as .DS_Store, ._NAME and "
        "System Volume Information: remove those that you recognise",
    )


def not_plain(subject: object) -> UnlistedContentError:
    """Return the error for a link, a pipe, a device, or a file with a second name."""
    return UnlistedContentError(
        "not a regular file with one link",
        subject=subject,
        hint="a bundle must not contain links, and a file with a hard link can be changed under its other "
        "name: copy the folder with `cp -r`, and use the copy",
    )


class SeekableStream(ByteStream, Protocol):
    """A `ByteStream` that can seek."""

    def seek(self, offset: int, /) -> object:
        """Continue reading at `offset` bytes from the start."""


class FileSlice(io.RawIOBase):
    """A part of an open file as a `ByteStream`, read by position, so that several can be read together."""

    def __init__(self, fd: int, name: object, offset: int, size: int, advance: Advance | None = None) -> None:
        super().__init__()
        self._fd = fd
        self._name = name
        self.start = self._position = offset
        self._end = offset + size
        self._advance = advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")[: self._end - self._position]
        with media_errors("cannot read", self._name):
            count = os.preadv(self._fd, [view], self._position) if view else 0
        self._position += count
        if self._advance is not None:
            self._advance(count)
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Continue reading at `offset` bytes from the start of the part."""
        if whence != os.SEEK_SET:
            raise io.UnsupportedOperation
        self._position = min(self.start + offset, self._end)
        return self._position - self.start

    def skip(self, size: int) -> None:
        """Skip `size` bytes. Raises `FormatError` if that is beyond the end."""
        self._position += size
        if self._position > self._end:
            raise FormatError("truncated archive", subject=self._name, got=f"{self._end:,} bytes")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file seen in a folder: its name below it, with `/`, and its size in bytes."""

    name: str
    size: int


class Files(Protocol):
    """The files of a bundle, whatever its form."""

    @property
    def path(self) -> Path:
        """The folder, or the tar."""

    def where(self, name: str) -> str:
        """Return where people find the file: its path, or the paths of its parts."""

    def open(self, name: str) -> SeekableStream:
        """Open a file. Raises `MissingContentError` if there is no file of that name."""

    def read(self, name: str, limit: int) -> bytes:
        """Read all of a small file. Raises `SizeMismatchError` for more than `limit` bytes."""

    def has(self, name: str) -> bool:
        """Return whether the name exists."""

    def files(self, folders: Collection[str]) -> Iterator[FoundFile]:
        """Yield every file, in any order. Raises `UnlistedContentError` for anything else."""


class Folder(Closing):
    """A folder on a medium. Everything in it is opened relative to it, and no link is followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingContentError("no such folder", subject=path) from error
        except OSError as error:
            raise MediaError.of(error, "cannot open", path) from error

    def where(self, name: str) -> str:
        return f"{self.path}/{name}"

    def open(self, name: str) -> FileStream:
        """Open the regular file `name`, which must have one link and no symbolic link in its path."""
        with self._parent(name) as (parent, leaf), media_errors("cannot read", f"{self.path}/{name}"):
            try:
                fd = os.open(leaf, _READ, dir_fd=parent)
            except OSError as error:
                raise self._refusal(error, name) from error
        stream = FileStream(fd, f"{self.path}/{name}")
        with contextlib.ExitStack() as refused:
            refused.enter_context(stream)
            with media_errors("cannot read", f"{self.path}/{name}"):
                status = os.fstat(fd)
            if not (stat.S_ISREG(status.st_mode) and has_one_name(status)):
                raise not_plain(f"{self.path}/{name}")
            refused.pop_all()
        return stream

    def read(self, name: str, limit: int) -> bytes:
        """Read all of a small file. Raises `SizeMismatchError` for more than `limit` bytes."""
        with self.open(name) as stream:
            return read_small(stream, f"{self.path}/{name}", limit)

    def has(self, name: str) -> bool:
        """Return whether the name exists, of any kind."""
        try:
            with self._parent(name) as (parent, leaf):
                try:
                    os.stat(leaf, dir_fd=parent, follow_symlinks=False)
                except OSError as error:
                    raise self._refusal(error, name) from error
        except MissingContentError:
            return False
        return True

    def files(self, folders: Collection[str]) -> Iterator[FoundFile]:
        """Yield every file below, in any order. Raises `UnlistedContentError` for anything but a regular file
        with one link, and for a folder that is not one of `folders`.
        """
        yield from self._walk("", self._fd, folders)

    def _walk(self, prefix: str, fd: int, folders: Collection[str]) -> Iterator[FoundFile]:
        with media_errors("cannot read", f"{self.path}/{prefix}"), os.scandir(fd) as entries:
            for entry in entries:
                name = prefix + entry.name
                status = entry.stat(follow_symlinks=False)
                if name in folders and stat.S_ISDIR(status.st_mode):
                    below = os.open(entry.name, _READ | os.O_DIRECTORY, dir_fd=fd)
                    with closing_file(below, f"{self.path}/{name}", "cannot read"):
                        yield from self._walk(f"{name}/", below, folders)
                elif stat.S_ISREG(status.st_mode) and has_one_name(status):
                    yield FoundFile(name, status.st_size)
                elif stat.S_ISDIR(status.st_mode):
                    raise unlisted("folder", f"{self.path}/{name}")
                else:
                    raise not_plain(f"{self.path}/{name}")

    @contextlib.contextmanager
    def _parent(self, name: str) -> Iterator[tuple[int, str]]:
        """Open the folder that holds `name`, without following a link."""
        *folders, leaf = name.split("/")
        with contextlib.ExitStack() as opened:
            fd = self._fd
            for folder in folders:
                try:
                    fd = os.open(folder, _READ | os.O_DIRECTORY, dir_fd=fd)
                except OSError as error:
                    raise self._refusal(error, name) from error
                opened.enter_context(closing_file(fd, f"{self.path}/{name}", "cannot read"))
            yield fd, leaf

    def _refusal(self, error: OSError, name: str) -> AirgapError:
        subject = f"{self.path}/{name}"
        if error.errno == errno.ENOENT:
            return MissingContentError("missing file", subject=subject)
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            return UnlistedContentError("not a regular file", subject=subject)
        return MediaError.of(error, "cannot read", subject)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with media_errors("cannot read", self.path):
                os.close(fd)
