"""Checks what the media hold after the last write, by reading it back (FORMAT.md §6). A bundle is not
reported as written if only the kernel's cache is known to hold it.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import field, replace
from enum import StrEnum
from pathlib import Path

from airgap.bundle.files import BUNDLE_FOLDERS, Folder
from airgap.bundle.medium import Medium
from airgap.bundle.read_back import Written, read_back
from airgap.errors import IntegrityError, MediaError, UnlistedContentError
from airgap.oci.digest import Advance
from airgap.values import dataclass

_HINT = (
    "write it again with `airgap pack`, `repack`, `repair` or `kit`; do not use a medium that fails "
    "twice, or that is smaller than it claims"
)


class ReadBackResult(StrEnum):
    """What reading back has shown."""

    OK = "ok"
    """Every byte came from the media."""
    CACHED = "cached"
    """Some bytes may have come from a cache, so it is not known what the media hold."""
    SKIPPED = "skipped"
    """No byte was read."""


@dataclass(frozen=True, slots=True)
class OnMedia:
    """The media of a bundle, and whether reading back showed that they hold it."""

    media: tuple[Medium, ...]
    read_back: ReadBackResult
    unread: tuple[Path, ...] = ()
    """The mount points of media that were not read back."""
    fresh: bool = field(default=False, compare=False)
    """The bundle has just been written, so verifying it again after unplugging the media may reveal more."""

    def record(self) -> dict[str, object]:
        """Return the values for the ledger."""
        media = [medium.record() | {"read": medium.mount_point not in self.unread} for medium in self.media]
        return {"media": media, "read_back": str(self.read_back)}


def prove(
    written: Mapping[Path, Sequence[Written]],
    phase: Callable[[str, int], AbstractContextManager[Advance]],
    wanted: bool | None,
) -> OnMedia:
    """Read back all files in `written`, which lists them for each folder in the order of the writes.

    If `wanted` is None, media that cannot be carried away are skipped: the system's own disk, and memory.
    Raises `IntegrityError` if the media do not hold what was written.
    """
    media = {folder: Medium.of(folder) for folder in written}
    asked = [folder for folder in written if wanted or (wanted is None and media[folder].is_carried)]
    result = ReadBackResult.OK if asked else ReadBackResult.SKIPPED
    wrong: list[IntegrityError] = []
    if asked:
        total = sum(file.size for folder in asked for file in written[folder])
        with phase("reading back", total) as advance:
            for folder in asked:
                media_result = read_back(written[folder], media[folder], advance)
                wrong += media_result.wrong
                result = ReadBackResult.CACHED if media_result.cached else result
    if wrong:
        wrong[0].hint = _HINT
        raise wrong[0] if len(wrong) == 1 else _many(wrong)
    unique = {medium.mount_point: medium for medium in media.values()}
    unread = {media[folder].mount_point for folder in written if folder not in asked}
    return OnMedia(tuple(unique.values()), result, tuple(sorted(unread)))


def prove_sealed(
    written: Mapping[Path, Sequence[Written]],
    phase: Callable[[str, int], AbstractContextManager[Advance]],
    wanted: bool | None,
    mark_unfinished: Callable[[], None],
    folders: Collection[str] | None = BUNDLE_FOLDERS,
) -> OnMedia:
    """Do the same as `prove` for a sealed bundle, and call `mark_unfinished` if that raises. `folders` is
    passed to `refuse_unlisted_files`; None if the bundle has no folder of its own.
    """
    try:
        if folders is not None:
            refuse_unlisted_files(written, folders)
        return replace(prove(written, phase, wanted), fresh=True)
    except BaseException:
        with contextlib.suppress(MediaError):
            mark_unfinished()
        raise


def refuse_unlisted_files(
    written: Mapping[Path, Sequence[Written]], folders: Collection[str] = BUNDLE_FOLDERS
) -> None:
    """Raise `UnlistedContentError` if the folder of a bundle or volume holds files that were not written,
    because readers refuse any additional file. `folders` are the folders that may be in it.
    """
    for path, files in written.items():
        names = {written_file.path.relative_to(path).as_posix() for written_file in files}
        with Folder(path) as folder:
            for file in folder.files(folders):
                if file.name not in names:
                    raise UnlistedContentError(
                        "unexpected file",
                        subject=folder.where(file.name),
                        hint="remove it, then run the same command again",
                    )


def announce(folders: Iterable[Path], note: Callable[[str], object]) -> None:
    """Report which media will be written to, before the first byte."""
    media = {medium.mount_point: medium for medium in map(Medium.of, folders) if medium.is_carried}
    for medium in media.values():
        note(f"writing to {medium.describe()}")


def _many(wrong: Sequence[IntegrityError]) -> IntegrityError:
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return IntegrityError(
        "the medium does not hold what was written", subject=f"{wrong[0].subject}{more}", hint=_HINT
    )
