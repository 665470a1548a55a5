"""What the media hold after the last write, read back from them (security.md of the design: media write
protocol): nothing is called done that only the kernel's cache was seen to hold.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.medium import Medium
from airgap.bundle.readback import Written, read_back
from airgap.errors import IntegrityError
from airgap.oci.digest import Advance

OK, CACHED, SKIPPED = "ok", "cached", "skipped"
_HINT = (
    "`airgap pack`, `repack` or `repair` writes it again; a medium that fails twice, or that is smaller than "
    "it says, cannot be used"
)


@dataclass(frozen=True, slots=True)
class OnMedia:
    """The media of a bundle, and whether they were seen to hold it."""

    media: tuple[Medium, ...]
    read_back: str
    """`ok`: every byte came from the media; `cached`: some may have come out of a cache, so it is not
    known what the media hold; `skipped`: nothing was read.
    """

    def record(self) -> dict[str, object]:
        """What the ledger keeps."""
        return {"media": [medium.record() for medium in self.media], "read_back": self.read_back}


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
    return OnMedia(tuple(unique.values()), result)


def _many(wrong: Sequence[IntegrityError]) -> IntegrityError:
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return IntegrityError(
        "the medium does not hold what was written", subject=f"{wrong[0].subject}{more}", hint=_HINT
    )
