"""Who works with a bundle here, and how; and the question for the next volume of one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airgap.bundle.volumes import Place, VolumeSet, missing_volumes, open_bundle, paths_of
from airgap.errors import AirgapError, IncompleteError
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


def never_ask(_: Wanted) -> None:
    """Where no person can be asked."""


@dataclass(frozen=True, slots=True)
class Operator:
    """The site, the time, and the person who waits and may be asked."""

    site: Site
    now: datetime
    progress: Progress
    jobs: int = 2
    ask: Ask = never_ask
    allow_system: bool = False
    """Write where nothing is mounted, and into the system's own folders, all the same."""
    accept_jump: bool = False
    """Take a bundle whose serial rises as far as it will."""
    read_back: bool | None = None
    """Read everything back from the medium at the end; None: unless it is the system's own disk."""

    def next_volume(
        self, last: Place, here: VolumeSet, title: str, wanted: Sequence[int], hint: str
    ) -> Place:
        """Where the first of the `wanted` volumes is, which a person has put in; what is no volume of
        the bundle is told, and asked for again. Raises `IncompleteError` when nobody answers.
        """
        of, sha256 = here.table.cut.of, here.table.statement_sha256
        question = Wanted(title, wanted[0], of, paths_of(last)[-1].parent)
        while (place := self.ask(question)) is not None:
            try:
                with open_bundle(place, alone=True) as folder:
                    if isinstance(folder, VolumeSet) and folder.table.statement_sha256 == sha256:
                        return place
                    raise IncompleteError("not a volume of this bundle", subject=folder.path, want=title)
            except AirgapError as error:
                self.progress.note(str(error))
        absent = [number for number in wanted if number not in here.folders]
        raise missing_volumes(title, absent or wanted, of, sorted(here.folders), hint)
