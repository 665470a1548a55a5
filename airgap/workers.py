"""Running independent pieces of work on a few threads."""

import queue
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from airgap.errors import AirgapError

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


class Memo(Generic[Key, Item]):
    """Values that are made once, for several threads: who wants one that is being made waits for it. What
    `make` raises is not kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[Key, threading.Lock] = {}
        self._values: dict[Key, Item] = {}

    def get(self, key: Key, make: Callable[[], Item]) -> Item:
        """The value of `key`, made by `make` when it is wanted for the first time."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._values:
                self._values[key] = make()
            return self._values[key]


def run_all(do: Callable[[Item], object], items: Sequence[Item], jobs: int) -> list[AirgapError | None]:
    """Do every item, at most `jobs` at a time, started in order; for each the error it raised, or None.

    An exception that is not ours is a defect, and raised here when all is done. The threads are
    daemons: Ctrl-C leaves at once, and an item that still waits for a network does not hold the
    process. Whatever `do` does must therefore be safe to cut off anywhere.
    """
    results: list[AirgapError | None] = [None] * len(items)
    defects: list[BaseException] = []
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    finished: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(items)):
        waiting.put(number)

    def work() -> None:
        while True:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                do(items[number])
            except AirgapError as error:
                results[number] = error
            except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
                defects.append(error)
            finished.put(number)

    for _ in range(min(jobs, len(items))):
        threading.Thread(target=work, daemon=True).start()
    for _ in items:
        finished.get()
    if defects:
        raise defects[0]
    return results


def run_each(do: Callable[[Item], object], items: Sequence[Item], jobs: int) -> None:
    """As `run_all`, and raise the first item's error."""
    for error in run_all(do, items, jobs):
        if error is not None:
            raise error
