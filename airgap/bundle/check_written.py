"""What the media hold after the last write, read back from them (security.md of the design: media write
protocol): nothing is called done that only the kernel's cache was seen to hold.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from airgap.bundle.contents import FOLDERS
from airgap.bundle.files import Folder
from airgap.bundle.medium import Medium
from airgap.bundle.read_back import Written, read_back
from airgap.errors import IntegrityError, MediaError, UnlistedContentError
from airgap.oci.digest import Advance

OK, CACHED, SKIPPED = "ok", "cached", "skipped"
_HINT = (
    "`airgap pack`, `repack`, `repair` or `kit` writes it again; a medium that fails twice, or that is "
    "smaller than it says, cannot be used"
)


@dataclass(frozen=True, slots=True)
class OnMedia:
    """The media of a bundle, and whether they were seen to hold it."""

    media: tuple[Medium, ...]
    read_back: str
    """`ok`: every byte came from the media; `cached`: some may have come out of a cache, so it is not
    known what the media hold; `skipped`: nothing was read.
    """

    unread: tuple[Path, ...] = ()
    """Mount points of those that were not read back."""
    fresh: bool = field(default=False, compare=False)
    """It was written just now, so to read it once more, after it was unplugged, may show more."""

    def record(self) -> dict[str, object]:
        """What the ledger keeps."""
        media = [medium.record() | {"read": medium.mount_point not in self.unread} for medium in self.media]
        return {"media": media, "read_back": self.read_back}


def prove(
    written: Mapping[Path, Sequence[Written]],
    phase: Callable[[str, int], AbstractContextManager[Advance]],
    wanted: bool | None,
) -> OnMedia:
    """Read back all that was written, by the folder of each medium, in the order of the writes.

    `wanted` None leaves out what no one carries: the system's own disk, and memory. Raises
    `IntegrityError` for what the media do not hold.
    """
    media = {folder: Medium.of(folder) for folder in written}
    asked = [folder for folder in written if wanted or (wanted is None and media[folder].is_carried)]
    result = OK if asked else SKIPPED
    wrong: list[IntegrityError] = []
    if asked:
        total = sum(file.size for folder in asked for file in written[folder])
        with phase("reading back", total) as advance:
            for folder in asked:
                found = read_back(written[folder], media[folder], advance)
                wrong += found.wrong
                result = CACHED if found.cached else result
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
    unseal: Callable[[], None],
    folders: Collection[str] | None = FOLDERS,
) -> OnMedia:
    """As `prove`, of what was sealed: what the media do not hold, or of which that is not known, `unseal`
    makes unfinished again. `folders` as in `refuse_strays`; None where it has no folder of its own.
    """
    try:
        if folders is not None:
            refuse_strays(written, folders)
        return replace(prove(written, phase, wanted), fresh=True)
    except BaseException:
        with contextlib.suppress(MediaError):
            unseal()
        raise


def refuse_strays(written: Mapping[Path, Sequence[Written]], folders: Collection[str] = FOLDERS) -> None:
    """Raise `UnlistedContentError` where the folder of a bundle, or of a volume, holds more than was written:
    readers refuse a file too many, whoever put it there. `folders`: those that may be in it.
    """
    for path, files in written.items():
        names = {file.path.relative_to(path).as_posix() for file in files}
        with Folder(path) as folder:
            for found in folder.files(folders):
                if found.name not in names:
                    raise UnlistedContentError(
                        "a file that does not belong there",
                        subject=folder.where(found.name),
                        hint="remove it, then run the same command again",
                    )


def announce(folders: Iterable[Path], note: Callable[[str], object]) -> None:
    """Tell which media are about to be written to, before the first byte."""
    media = {medium.mount_point: medium for medium in map(Medium.of, folders) if medium.is_carried}
    for medium in media.values():
        note(f"writing to {medium.describe()}")


def _many(wrong: Sequence[IntegrityError]) -> IntegrityError:
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return IntegrityError(
        "the medium does not hold what was written", subject=f"{wrong[0].subject}{more}", hint=_HINT
    )
