"""What the tests of volumes share."""

import gc
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


def open_files() -> int:
    gc.collect()  # what other tests have left open
    return len(list(Path("/proc/self/fd").iterdir()))
