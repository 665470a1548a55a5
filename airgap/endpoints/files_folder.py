"""A folder that takes the files of a bundle (`files:DIR`)."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from airgap.audit.receipt import FILES_TARGET
from airgap.bundle.files import FileStream, closing_file, make_folder, media_errors, write_all
from airgap.durable import sync_names
from airgap.endpoints.ports import FilesTarget
from airgap.errors import MediaError, PolicyError, UnlistedContentError
from airgap.oci.digest import ByteStream, copy
from airgap.oci.files_artifact import PART_SUFFIX, CarriedFile, FileMode, FileState

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_MODES = frozenset({errno.EPERM, errno.ENOTSUP})
"""Errors of chmod on file systems without modes, such as FAT."""


@dataclass(slots=True)
class FilesFolder(FilesTarget):
    """The folder at `path`, which is made if it does not exist. It is opened once: if something replaces it
    later, files still go into the folder that was examined. No link below it is followed.
    """

    path: Path
    _opened: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{FILES_TARGET}{self.path}"

    def state_of(self, carried: CarriedFile) -> FileState:
        with contextlib.suppress(FileNotFoundError), self._parent(carried.name) as (parent, leaf):
            return self._compare(carried, parent, leaf)
        return FileState.ABSENT

    def put_file(self, carried: CarriedFile, stream: ByteStream, *, replace: bool) -> None:
        with self._parent(carried.name, make=True) as (parent, leaf):
            part = f".{leaf}{PART_SUFFIX}"
            try:
                self._write(carried, stream, parent, part)
                if not replace:
                    self._refuse_different(carried, parent, leaf)
                with media_errors("cannot write", self._where(carried)):
                    os.replace(part, leaf, src_dir_fd=parent, dst_dir_fd=parent)
                    sync_names(parent)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(part, dir_fd=parent)
                raise

    def _refuse_different(self, carried: CarriedFile, parent: int, leaf: str) -> None:
        """Refuse a file that another program has written since the folder was examined."""
        with contextlib.suppress(FileNotFoundError):
            if self._compare(carried, parent, leaf) is FileState.DIFFERENT:
                raise PolicyError("a different file has this name", subject=self._where(carried))

    def _compare(self, carried: CarriedFile, parent: int, leaf: str) -> FileState:
        """Compare an existing file. Raises `FileNotFoundError` if there is none."""
        where = self._where(carried)
        with _refusing_links(where):
            fd = os.open(leaf, _READ, dir_fd=parent)
        with FileStream(fd, where) as stream:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise _not_a_file(where)
            if status.st_size != carried.size or not _has_content(stream, carried):
                return FileState.DIFFERENT
        is_program = bool(status.st_mode & stat.S_IXUSR)
        same_mode = is_program is (carried.mode is FileMode.PROGRAM)
        return FileState.SAME if same_mode else FileState.OTHER_MODE

    def _write(self, carried: CarriedFile, stream: ByteStream, parent: int, part: str) -> None:
        where = self._where(carried)
        with media_errors("cannot write", where):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=parent)  # of any kind, from a load that was interrupted
            fd = os.open(part, _NEW, 0o600, dir_fd=parent)
        with closing_file(fd, where):
            copy(stream, lambda data: _write_some(fd, data, where))
            with media_errors("cannot write", where):
                _set_mode(fd, carried.mode)
                os.fsync(fd)

    def _root(self, *, make: bool) -> int:
        """Return the descriptor of the folder. Raises `FileNotFoundError` if there is none."""
        if not self._opened:
            if make:
                with media_errors("cannot create", self.path):
                    make_folder(self.path)
            # when it is made, it did not exist before, and a link to another folder is not it
            with _refusing_links(self.path):
                self._opened.append(os.open(self.path, _FOLDER | (os.O_NOFOLLOW if make else 0)))
        return self._opened[0]

    @contextlib.contextmanager
    def _parent(self, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder that holds a file. Raises `FileNotFoundError` if there is none."""
        *folders, leaf = name.split("/")
        where = f"{self.path}/{name}"
        with contextlib.ExitStack() as stack:
            fd = self._root(make=make)
            for folder in folders:
                if make:
                    with media_errors("cannot create", where), contextlib.suppress(FileExistsError):
                        os.mkdir(folder, 0o755, dir_fd=fd)
                        sync_names(fd)
                with _refusing_links(where):
                    fd = os.open(folder, _READ | os.O_DIRECTORY, dir_fd=fd)
                stack.enter_context(closing_file(fd, where, "cannot read"))
            yield fd, leaf

    def _where(self, carried: CarriedFile) -> str:
        return f"{self.path}/{carried.name}"


@contextlib.contextmanager
def _refusing_links(where: object) -> Iterator[None]:
    """Turn the errors of opening a name into ours, except that there is none."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise _not_a_file(where) from error
        raise MediaError.of(error, "cannot read", where) from error


def _not_a_file(where: object) -> UnlistedContentError:
    hint = "files are written into real folders and over regular files only: move the link or device away"
    return UnlistedContentError("not a regular file or folder", subject=where, hint=hint)


def _has_content(stream: FileStream, carried: CarriedFile) -> bool:
    hasher = carried.digest.hasher()
    copy(stream, hasher.update)
    return hasher.hexdigest() == carried.digest.hex


def _write_some(fd: int, data: memoryview, where: str) -> None:
    with media_errors("cannot write", where):
        write_all(fd, data)


def _set_mode(fd: int, mode: FileMode) -> None:
    try:
        os.fchmod(fd, mode.bits)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise
