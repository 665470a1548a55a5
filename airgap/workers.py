"""Runs independent pieces of work on a few threads."""

import queue
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from airgap.errors import AirgapError

Item = TypeVar("Item")
CacheKey = TypeVar("CacheKey", bound=Hashable)
Expected = TypeVar("Expected", bound=AirgapError)


class Memo(Generic[CacheKey, Item]):
    """A cache for several threads that makes each value once: a thread that needs a value that another
    thread is making waits for it. An exception of `make` is not cached.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[CacheKey, threading.Lock] = {}
        self._values: dict[CacheKey, Item] = {}

    def get(self, key: CacheKey, make: Callable[[], Item]) -> Item:
        """Return the value of `key`; the first call makes it with `make`."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._values:
                self._values[key] = make()
            return self._values[key]


def run_all(do: Callable[[Item], object], items: Sequence[Item], jobs: int) -> list[AirgapError | None]:
    """Call `do` for every item, at most `jobs` at a time, started in order. Return the error of each item, or
    None.

    An exception other than `AirgapError` is a defect; it is raised here when all items are finished. The
    threads are daemons: Ctrl-C ends the process at once, even while an item waits for a network. It must
    therefore be safe to interrupt `do` at any point.
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


def errors_of(kind: type[Expected], errors: Iterable[AirgapError | None]) -> list[Expected]:
    """Return the errors of a `kind` among the results of `run_all`; raise the first error of another kind."""
    matching = []
    for error in errors:
        if isinstance(error, kind):
            matching.append(error)
        elif error is not None:
            raise error
    return matching


def run_each(do: Callable[[Item], object], items: Sequence[Item], jobs: int) -> None:
    """Do the same as `run_all`, and raise the error of the first item that failed."""
    for error in run_all(do, items, jobs):
        if error is not None:
            raise error
