"""The files of an OCI image layout: opened relative to the folder, following no link below it."""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from airgap.bundle.files import FileStream, media_errors, sync_folder, write_file
from airgap.errors import EndpointError, FormatError, NotFoundError
from airgap.oci.strict_json import MAX_BYTES, Fields, dump, parse_object

MARKER = "oci-layout"
VERSION = "1.0.0"

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_FILE = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)


class LayoutFolder:
    """Raises `NotFoundError` for what is not there, `EndpointError` for what is no regular file or lies
    behind a link, and `MediaError` when the disk fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> None:
        """Raise unless this is an OCI image layout of version 1.0.0."""
        where = f"{self.path}/{MARKER}"
        version = Fields(parse_object(self.read(MARKER), where), where).text("imageLayoutVersion")
        if version != VERSION:
            raise FormatError("unknown version of the OCI layout", subject=where, want=VERSION, got=version)

    def create(self) -> None:
        """Make an empty layout where there is none. A folder that holds anything else is refused."""
        try:
            self.check()
        except NotFoundError:
            self._require_empty()
            write_file(self.path / MARKER, dump({"imageLayoutVersion": VERSION}))

    def _require_empty(self) -> None:
        with _disk_errors("cannot write", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            names = sorted(entry.name for entry in self.path.iterdir() if entry.suffix != ".part")
        if names:
            raise EndpointError(
                "neither empty nor an OCI image layout",
                subject=self.path,
                got=names[0],
                hint="name a folder that is new or empty",
            )

    def open(self, name: str) -> FileStream:
        """A regular file. Never waits, not even for a FIFO."""
        where = self.path / name
        with _disk_errors("cannot read", where), self._parent(name) as (folder, leaf):
            fd = os.open(leaf, _READ, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise EndpointError("not a regular file", subject=where)
        return FileStream(fd, str(where))

    def read(self, name: str) -> bytes:
        """The whole of a document of at most 4 MiB."""
        with contextlib.closing(self.open(name)) as stream:
            if stream.size > MAX_BYTES:
                raise FormatError(
                    "too large",
                    subject=self.path / name,
                    want=f"at most {MAX_BYTES:,} bytes",
                    got=f"{stream.size:,}",
                )
            return read_all(stream)

    def write_blob(self, name: str, write: Callable[[int], None]) -> None:
        """Let `write` fill a file descriptor; what is there afterwards is whole and durable, or absent."""
        where = self.path / name
        with _disk_errors("cannot write", where), self._parent(name, make=True) as (folder, leaf):
            part = f"{leaf}.{secrets.token_hex(4)}.part"
            try:
                with _created(part, folder) as fd:
                    write(fd)
                os.rename(part, leaf, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(part, dir_fd=folder)
                raise
            sync_folder(where.parent)

    def write_document(self, name: str, raw: bytes) -> None:
        """Replace a document at the top in one step."""
        write_file(self.path / name, raw)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers of `index.json` out, of this process and of others."""
        with _disk_errors("cannot lock", self.path / MARKER):
            fd = os.open(self.path / MARKER, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield
            finally:
                os.close(fd)

    @contextlib.contextmanager
    def _parent(self, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """A descriptor of the folder that holds `name`, and the last part of it."""
        *folders, leaf = name.split("/")
        fd = os.open(self.path, _FOLDER)
        try:
            for folder in folders:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(folder, dir_fd=fd)
                below = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd, leaf
        finally:
            os.close(fd)


def read_all(stream: FileStream) -> bytes:
    """The file, but at most what it had when it was opened."""
    buffer = memoryview(bytearray(stream.size))
    done = 0
    while done < len(buffer) and (got := stream.readinto(buffer[done:])):
        done += got
    return bytes(buffer[:done])


@contextlib.contextmanager
def _created(name: str, folder: int) -> Iterator[int]:
    """A new file, durable at the end."""
    fd = os.open(name, _CREATE, 0o644, dir_fd=folder)
    try:
        yield fd
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _disk_errors(what: str, subject: object) -> Iterator[None]:
    with media_errors(what, subject):
        try:
            yield
        except FileNotFoundError as error:
            raise NotFoundError("no such file", subject=subject) from error
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            raise EndpointError("not a regular file, or behind a link", subject=subject) from error
