"""The files of an OCI image layout: opened relative to the folder, following no link below it."""

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from airgap.bundle.files import FileStream, closing_file, make_folder, media_errors, write_file
from airgap.durable import sync_folder, sync_names
from airgap.errors import EndpointError, FormatError, NotFoundError
from airgap.limits import MAX_JSON_BYTES
from airgap.oci.digest import read_up_to
from airgap.oci.spelling import LAYOUT, check_spelling
from airgap.oci.strict_json import Fields, dump, parse_object

MARKER = "oci-layout"
VERSION = "1.0.0"

log = logging.getLogger(__name__)

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_FILE = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)


class LayoutFolder:
    """Raises `NotFoundError` for a missing file, `EndpointError` for a file that is not regular or is reached
    through a link, and `MediaError` if the disk fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> None:
        """Raise unless this is an OCI image layout of version 1.0.0."""
        where = f"{self.path}/{MARKER}"
        document = parse_object(self.read(MARKER), where)
        check_spelling(document, LAYOUT, where)
        version = Fields(document, where).text("imageLayoutVersion")
        if version != VERSION:
            raise FormatError("unknown version of the OCI layout", subject=where, want=VERSION, got=version)

    def create(self) -> None:
        """Make an empty layout if there is none. A folder with other content is refused."""
        try:
            self.check()
        except NotFoundError:
            self._require_empty()
            write_file(self.path / MARKER, dump({"imageLayoutVersion": VERSION}))

    def _require_empty(self) -> None:
        with _disk_errors("cannot write", self.path):
            make_folder(self.path)
            names = sorted(entry.name for entry in self.path.iterdir() if entry.suffix != ".part")
        if names:
            raise EndpointError(
                "neither empty nor an OCI image layout",
                subject=self.path,
                got=names[0],
                hint="name a folder that is new or empty",
            )

    def open(self, name: str) -> FileStream:
        """Open a regular file. Never blocks, not even on a FIFO."""
        where = self.path / name
        with _disk_errors("cannot read", where), self._parent(name) as (folder, leaf):
            fd = os.open(leaf, _READ, dir_fd=folder)
        stream = FileStream(fd, str(where))
        with contextlib.ExitStack() as refused:
            refused.enter_context(stream)
            with _disk_errors("cannot read", where):
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise EndpointError("not a regular file", subject=where)
            refused.pop_all()
        return stream

    def read(self, name: str) -> bytes:
        """Read a document of at most 4 MiB."""
        with contextlib.closing(self.open(name)) as stream:
            if stream.size > MAX_JSON_BYTES:
                raise FormatError(
                    "too large",
                    subject=self.path / name,
                    want=f"at most {MAX_JSON_BYTES:,} bytes",
                    got=f"{stream.size:,}",
                )
            return read_up_to(stream, stream.size)

    def identity(self, name: str) -> tuple[int, ...]:
        """Return numbers that change when the file is replaced or written."""
        where = self.path / name
        with _disk_errors("cannot read", where), self._parent(name) as (folder, leaf):
            state = os.stat(leaf, dir_fd=folder, follow_symlinks=False)
        return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns

    def write_blob(self, name: str, write: Callable[[int], None]) -> None:
        """Let `write` fill a file descriptor; afterwards the file is complete and durable, or absent."""
        where = self.path / name
        with _disk_errors("cannot write", where), self._parent(name, make=True) as (folder, leaf):
            part = f"{leaf}.{secrets.token_hex(4)}.part"
            try:
                with _created(part, folder, where) as fd:
                    write(fd)
                os.rename(part, leaf, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(part, dir_fd=folder)
                raise
            sync_folder(where.parent)

    def write_document(self, name: str, raw: bytes) -> None:
        """Replace a document at the top atomically."""
        write_file(self.path / name, raw)

    def sweep(self) -> None:
        """Remove unfinished blobs that no process is writing any more."""
        for path in self.path.glob("blobs/*/*.part"):
            with (
                _disk_errors("cannot remove", path),
                contextlib.suppress(FileNotFoundError, BlockingIOError),
                closing_file(os.open(path, _READ), path) as fd,
            ):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    def sync(self) -> None:
        """Make the names of all blobs durable, including those that an earlier, failed attempt left."""
        for path in (*self.path.glob("blobs/*"), self.path / "blobs", self.path, self.path.parent):
            with _disk_errors("cannot write", path):
                sync_folder(path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock out other writers of `index.json`, in this process and in others."""
        with _disk_errors("cannot lock", self.path / MARKER):
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with closing_file(os.open(self.path / MARKER, flags), self.path / MARKER) as fd:
                log.debug("waiting for the lock of %s", self.path)
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield

    @contextlib.contextmanager
    def _parent(self, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder that holds `name`; yields its descriptor and the last part of `name`."""
        *folders, leaf = name.split("/")
        where = self.path / name
        with contextlib.ExitStack() as opened:
            fd = opened.enter_context(closing_file(os.open(self.path, _FOLDER), where))
            for folder in folders:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(folder, dir_fd=fd)
                        sync_names(fd)
                below = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
                fd = opened.enter_context(closing_file(below, where))
            yield fd, leaf


@contextlib.contextmanager
def _created(name: str, folder: int, where: Path) -> Iterator[int]:
    """Create a file, durable at the end. It is locked: files without a lock may be removed by `sweep`."""
    with closing_file(os.open(name, _CREATE, 0o644, dir_fd=folder), where) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if not os.fstat(fd).st_nlink:  # removed by another process's `sweep` in between
            raise EndpointError(
                "another load is writing to this folder", subject=where, hint="run the command again"
            )
        yield fd
        os.fsync(fd)


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
            raise EndpointError("not a regular file, or reached through a link", subject=subject) from error
