"""The person who works with a bundle on this machine, and the question for its next volume."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from airgap.bundle.volumes import BundleLocation, VolumeSet, missing_volumes, open_bundle, paths_of
from airgap.errors import AirgapError, IncompleteError
from airgap.progress import Progress
from airgap.site import Site
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class Wanted:
    """A volume that a person is asked to insert."""

    title: str
    number: int
    of: int
    near: Path
    """The folder that held the previous volume."""


Ask = Callable[[Wanted], BundleLocation | None]
"""Asks a person for a volume and returns its path; None if there is no person to ask."""


def never_ask(_: Wanted) -> None:
    """Return None: the `Ask` for a process without a terminal, where there is no person to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The site, the time, and the person who waits and can be asked for volumes."""

    site: Site
    now: datetime
    progress: Progress
    jobs: int = 2
    ask: Ask = never_ask
    allow_system: bool = False
    """Also write to folders on the system disk, where no medium is mounted."""
    accept_jump: bool = False
    """Accept a bundle however far its serial is above the last accepted one."""
    read_back: bool | None = None
    """Read everything back from the medium at the end. None: only if it is not the system disk."""

    def next_volume(
        self, last: BundleLocation, volumes: VolumeSet, title: str, wanted: Sequence[int], hint: str
    ) -> BundleLocation:
        """Ask for the first of the `wanted` volumes until it is inserted, and return its location. An answer
        that is not a volume of this bundle is reported. Raises `IncompleteError` if there is no answer.
        """
        of, sha256 = volumes.table.cut.of, volumes.table.statement_sha256
        question = Wanted(title, wanted[0], of, paths_of(last)[-1].parent)
        while (location := self.ask(question)) is not None:
            try:
                with open_bundle(location, alone=True) as folder:
                    if isinstance(folder, VolumeSet) and folder.table.statement_sha256 == sha256:
                        return location
                    raise IncompleteError("not a volume of this bundle", subject=folder.path, want=title)
            except AirgapError as error:
                self.progress.note(str(error))
        absent = [number for number in wanted if number not in volumes.folders]
        raise missing_volumes(title, absent or wanted, of, sorted(volumes.folders), hint)
