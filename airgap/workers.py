"""Running independent pieces of work on a few threads."""

import queue
import threading
from collections.abc import Callable, Sequence


def run_all(tasks: Sequence[Callable[[], None]], jobs: int) -> list[BaseException | None]:
    """Run every task, at most `jobs` at a time, in order of starting; what each raised, or None.

    The threads are daemons: an interrupt leaves at once, and a task that still waits for a network
    does not hold the process. Whatever a task does must therefore be safe to cut off anywhere.
    """
    results: list[BaseException | None] = [None] * len(tasks)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    finished: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(tasks)):
        waiting.put(number)

    def work() -> None:
        while True:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                tasks[number]()
            except BaseException as error:  # noqa: BLE001 - handed to the caller, who decides
                results[number] = error
            finished.put(number)

    for _ in range(min(jobs, len(tasks))):
        threading.Thread(target=work, daemon=True).start()
    for _ in tasks:
        finished.get()
    return results
