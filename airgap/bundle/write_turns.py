"""Which thread may write to a medium."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from airgap.bundle.medium import Medium

Turn = AbstractContextManager[object]


class WriteTurns:
    """Lets one file at a time be written to each medium that can be carried away, because a stick or a disk
    that seeks between several files is slow; for several threads. On other media there are no turns to wait
    for.
    """

    def __init__(self, find_medium: Callable[[Path], Medium] = Medium.of) -> None:
        self._find_medium = find_medium
        self._lock = threading.Lock()
        self._by_folder: dict[Path, Turn] = {}
        self._by_medium: dict[Path, Turn] = {}

    def of(self, path: Path) -> Turn:
        """Return the turn for writing the file at `path`, to be held by one thread at a time.

        Raises `MediaError` if the medium cannot be read.
        """
        with self._lock:
            if path.parent not in self._by_folder:
                medium = self._find_medium(path.parent)
                turn = threading.Lock() if medium.is_carried else nullcontext()
                self._by_folder[path.parent] = self._by_medium.setdefault(medium.mount_point, turn)
            return self._by_folder[path.parent]
