"""Ledgers for the tests of this folder."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airgap.audit.ledger import Ledger

START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
STATEMENT = "5" * 64
IMAGE = "sha256:" + "a" * 64


def ticking(step: timedelta = timedelta(seconds=1)) -> Callable[[], datetime]:
    """A clock that goes on by `step` at each look."""
    looks = 0

    def clock() -> datetime:
        nonlocal looks
        looks += 1
        return START + (looks - 1) * step

    return clock


def new_ledger(folder: Path, **about: object) -> Ledger:
    return Ledger(folder / "ledger.jsonl", site="plant-7", clock=ticking(), about=about)


def filled(folder: Path, count: int) -> Path:
    """A ledger of `count` notes."""
    ledger = new_ledger(folder)
    for number in range(count):
        ledger.append(
            "pack", "note", bundle={"stream": "edge", "serial": number, "statement_sha256": STATEMENT}
        )
    return ledger.path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1]


def records_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines_of(path)]
