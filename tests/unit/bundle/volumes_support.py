"""What the tests of volumes share."""

from contextlib import suppress
from pathlib import Path

from airgap.bundle.volumes import (
    VolumeSet,
)
from airgap.carry.verify import verify, verify_content
from airgap.errors import (
    IntegrityError,
)
from airgap.progress import Silent
from tests.support.bundles import Gap


def proved(gap: Gap, paths, *, alone: bool = False) -> list[IntegrityError]:
    """All ten steps; what is wrong with the content."""
    with VolumeSet(paths, alone=alone) as found:
        return verify_content(verify(found, gap.receiver()), Silent(), 2)


def open_files(folder: Path) -> list[Path]:
    """The files and folders below `folder` that this process has open; those of other tests do not count."""
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            found.append(fd.readlink())
    return [path for path in found if path.is_relative_to(folder)]
