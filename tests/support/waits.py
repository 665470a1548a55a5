"""Waiting for an event: bounded, so that nothing hangs for ever, and so generous that a slow machine never gets there."""

import time
from collections.abc import Callable, Iterator

GENEROUS = 600.0
"""Seconds for a step that takes less than ten on a machine with nothing else to do."""

_PAUSE = 0.02


def attempts(limit: float = GENEROUS) -> Iterator[None]:
    """Yield now and after each short pause, until the caller breaks off or `limit` seconds are over."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        yield
        time.sleep(_PAUSE)


def wait_until(happened: Callable[[], object], what: str, limit: float = GENEROUS) -> None:
    """Wait for an event; fails the test when it does not come."""
    for _ in attempts(limit):
        if happened():
            return
    raise AssertionError(f"still waiting after {limit:g} seconds: {what}")
