"""A bundle from standard input: kept in the site's own folder while it is verified and loaded.

A pipe can be read once only, but what is loaded must have been checked as a whole before. The copy
takes the bundle's size on the disk of `AIRGAP_HOME`, and is removed afterwards.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from airgap.bundle.files import media_errors, write_all
from airgap.oci.digest import CHUNK
from airgap.progress import Progress


@contextlib.contextmanager
def staged(stream: BinaryIO, home: Path, progress: Progress) -> Iterator[Path]:
    """The path of a private copy of `stream`, for as long as the context lasts."""
    path = home / "staging" / f"{os.getpid()}.tar"
    with media_errors("cannot write", path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            with progress.phase("reading standard input", 0) as advance:
                while chunk := stream.read(CHUNK):
                    with media_errors("cannot write", path):
                        write_all(fd, chunk)
                    advance(len(chunk))
        finally:
            os.close(fd)
        yield path
    finally:
        path.unlink(missing_ok=True)
