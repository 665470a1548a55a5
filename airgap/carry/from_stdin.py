"""A bundle from standard input: kept in the site's own folder while it is verified and loaded.

A pipe can be read once only, but what is loaded must have been checked as a whole before. The copy
takes the bundle's size on the disk of `AIRGAP_HOME`, and is removed afterwards; what a process that
was killed has left is removed by the next one.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from airgap.bundle.files import closing_file, make_folder, media_errors, write_all
from airgap.bundle.locks import alone_in
from airgap.errors import AirgapError
from airgap.oci.digest import CHUNK
from airgap.progress import Progress


@contextlib.contextmanager
def staged(stream: BinaryIO, home: Path, progress: Progress) -> Iterator[Path]:
    """The path of a private copy of `stream`, for as long as the context lasts."""
    folder = home / "staging"
    with media_errors("cannot write", folder):
        make_folder(folder, 0o700)
    with alone_in(folder), media_errors("cannot write", folder):
        _remove_left(folder)
        fd, name = tempfile.mkstemp(".tar", dir=folder)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    path = Path(name)
    with closing_file(fd, path), _removed(path):
        with progress.phase("reading standard input", 0) as advance:
            while chunk := stream.read(CHUNK):
                with media_errors("cannot write", path):
                    write_all(fd, chunk)
                advance(len(chunk))
        with _called_standard_input(path):
            yield path


@contextlib.contextmanager
def _called_standard_input(path: Path) -> Iterator[None]:
    """Errors name the pipe: the copy is gone when they are read."""
    try:
        yield
    except AirgapError as error:
        for part in ("subject", "want", "got", "hint"):
            said = getattr(error, part)
            if said is not None and str(path) in str(said):
                setattr(error, part, str(said).replace(str(path), "standard input"))
        raise


@contextlib.contextmanager
def _removed(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with media_errors("cannot remove", path):
            path.unlink(missing_ok=True)


def _remove_left(folder: Path) -> None:
    """Remove the copies that no process holds a lock on."""
    for path in folder.glob("*.tar"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with closing_file(fd, path):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
