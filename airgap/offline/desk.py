"""Who works with a bundle here, and how; and the question for the next volume of one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airgap.bundle.files import Files
from airgap.bundle.volumes import Place, VolumeSet, missing_volumes, open_bundle, paths_of
from airgap.errors import AirgapError, AmbiguousError, IncompleteError
from airgap.progress import Progress
from airgap.site import Site


@dataclass(frozen=True, slots=True)
class Wanted:
    """A volume that has to be put in."""

    title: str
    number: int
    of: int
    near: Path
    """The folder in which the last one was."""


Ask = Callable[[Wanted], Place | None]
"""Asks a person for a volume: where it is, or None when nobody can be asked."""


def nobody(_: Wanted) -> None:
    """Where no person can be asked."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The site, the time, and the person who waits and may be asked."""

    site: Site
    now: datetime
    progress: Progress
    jobs: int = 2
    ask: Ask = nobody
    allow_system: bool = False
    """Write where nothing is mounted, and into the system's own folders, all the same."""
    read_back: bool | None = None
    """Read everything back from the medium at the end; None: unless it is the system's own disk."""

    def next_volume(
        self, last: Place, here: VolumeSet, title: str, wanted: Sequence[int], hint: str
    ) -> Place:
        """Where the first of the `wanted` volumes is, which a person has put in; what is no volume of
        the bundle is told, and asked for again. Raises `IncompleteError` when nobody answers.
        """
        of = here.table.cut.of
        question = Wanted(title, wanted[0], of, paths_of(last)[-1].parent)
        while (place := self.ask(question)) is not None:
            try:
                with open_bundle(place, alone=True) as folder:
                    _refuse_other(folder, here, title)
                    return place
            except AirgapError as error:
                self.progress.note(str(error))
        absent = [number for number in wanted if number not in here.folders]
        raise missing_volumes(title, absent or wanted, of, sorted(here.folders), hint)


def _refuse_other(folder: Files, here: VolumeSet, title: str) -> None:
    """Raise unless `folder` has volumes of the same bundle as `here`, and of the same cut."""
    if not isinstance(folder, VolumeSet) or folder.table.statement_sha256 != here.table.statement_sha256:
        raise IncompleteError("not a volume of this bundle", subject=folder.path, want=title)
    if folder.table.on(here.table.volume) != here.table:
        raise AmbiguousError("a volume of another cut of this bundle", subject=folder.path, want=title)
