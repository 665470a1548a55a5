"""Read a bundle from standard input into the site's folder, where it is verified and loaded.

A pipe can be read only once, but the whole bundle must be checked before any of it is loaded. The copy needs
as much space as the bundle on the disk of `AIRGAP_HOME`, and is removed afterwards. If a process was killed,
the next one removes its copy.
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
    """Yield the path of a private copy of `stream`, which exists while the context lasts."""
    folder = home / "staging"
    with media_errors("cannot write", folder):
        make_folder(folder, 0o700)
    with alone_in(folder), media_errors("cannot write", folder):
        _remove_abandoned(folder)
        fd, name = tempfile.mkstemp(".tar", dir=folder)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    path = Path(name)
    with closing_file(fd, path), _removed(path):
        with progress.phase("reading standard input", 0) as advance:
            while chunk := stream.read(CHUNK):
                with media_errors("cannot write", path):
                    write_all(fd, chunk)
                advance(len(chunk))
        with _name_standard_input(path):
            yield path


@contextlib.contextmanager
def _name_standard_input(path: Path) -> Iterator[None]:
    """Name standard input in errors instead of the copy, which no longer exists when a person reads them."""
    try:
        yield
    except AirgapError as error:
        for part in ("subject", "want", "got", "hint"):
            value = getattr(error, part)
            if value is not None and str(path) in str(value):
                setattr(error, part, str(value).replace(str(path), "standard input"))
        raise


@contextlib.contextmanager
def _removed(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with media_errors("cannot remove", path):
            path.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove the copies that no process has locked."""
    for path in folder.glob("*.tar"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with closing_file(fd, path):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
