"""Files of this machine that a manifest names: opened, hashed, and found by a pattern."""

import itertools
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from airgap.bundle.files import FileStream, media_errors
from airgap.errors import FormatError
from airgap.limits import MAX_ARTIFACT_FILES, MAX_FILE_NAME_PARTS, MAX_LISTED_NAMES, PROGRESS_FILE_BYTES
from airgap.oci.digest import Digest, copy
from airgap.oci.files_artifact import FileMode, check_file_name
from airgap.progress import Progress, Silent
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class FoundContent:
    """The content and the mode of a file when it was read."""

    digest: Digest
    size: int
    """The size in bytes."""
    mode: FileMode


def open_local(path: Path) -> FileStream:
    """Open a regular file; links are followed. Raises `FormatError` if there is none, and `MediaError`."""
    if not path.exists():
        raise FormatError("no such file", subject=path)
    with media_errors("cannot read", path):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        stream, status = FileStream(fd, str(path)), os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        stream.close()
        hint = "a folder is written as `folder:`, with `match:`" if path.is_dir() else None
        raise FormatError("not a regular file", subject=path, hint=hint)
    return stream


def read_local(path: Path, progress: Progress) -> FoundContent:
    """Read a whole file, and report that if it is large. Raises what `open_local` raises."""
    hasher = Digest.of(b"").hasher()
    with open_local(path) as stream:
        expected = path.stat().st_size
        reported = progress if expected >= PROGRESS_FILE_BYTES else Silent()
        with reported.phase(f"hash {path.name}", expected) as advance:
            size = copy(stream, hasher.update, advance)
    program = path.stat().st_mode & stat.S_IXUSR
    mode = FileMode.PROGRAM if program else FileMode.DATA
    return FoundContent(Digest("sha256", hasher.hexdigest()), size, mode)


def find_files(folder: Path, pattern: str) -> dict[str, Path]:
    """Return the files of a folder that match the pattern, by their name in the folder, sorted.

    Raises:
        FormatError: There is no such folder, no file matches, too many do, a name cannot be carried, or one
            of them is a link or a device.
    """
    if not folder.is_dir():
        raise FormatError("no such folder", subject=folder)
    found = itertools.islice(_matching(folder, pattern), MAX_ARTIFACT_FILES + 1)
    files = {check_file_name(path.relative_to(folder).as_posix(), folder): path for path in found}
    if not files:
        raise FormatError("no file matches", subject=folder, want=pattern)
    if len(files) > MAX_ARTIFACT_FILES:
        want = f"at most {MAX_ARTIFACT_FILES:,} files"
        raise FormatError("too many files match", subject=folder, want=want, got="more")
    return dict(sorted(files.items()))


def _matching(folder: Path, pattern: str) -> Iterator[Path]:
    for count, path in enumerate(_walk(folder, 1)):
        if count == MAX_LISTED_NAMES:
            raise FormatError("the folder has too many names", subject=folder, want=f"{MAX_LISTED_NAMES:,}")
        if _fits(path.relative_to(folder), pattern):
            if path.is_symlink() or not path.is_file():
                hint = "name the file that it leads to with `path:`, or choose another `match:`"
                raise FormatError("not a regular file", subject=path, hint=hint)
            yield path


def _walk(folder: Path, level: int) -> Iterator[Path]:
    """Yield what is in a folder and the folders below it; links to folders are not followed."""
    with media_errors("cannot read", folder):
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            yield folder / entry.name
        elif level < MAX_FILE_NAME_PARTS:
            yield from _walk(folder / entry.name, level + 1)


def _fits(path: Path, pattern: str) -> bool:
    """Return whether a path fits a pattern as a shell understands it: `*` stays in one folder, and `**/`
    stands for any folders.
    """
    patterns = tuple(pattern.split("/"))
    return _parts_fit(path.parts, (*patterns, "*") if patterns[-1] == "**" else patterns)


def _parts_fit(parts: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_parts_fit(parts[skipped:], patterns[1:]) for skipped in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _parts_fit(parts[1:], patterns[1:])
