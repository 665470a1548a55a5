"""Whether a ledger can have records of an event."""

from pathlib import Path

import pytest

from airgap.audit.files import may_have_event
from airgap.audit.ledger import Ledger
from airgap.audit.record import MEDIUM, NOTE
from airgap.errors import MediaError


def test_an_event_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    assert not may_have_event(path, MEDIUM)
    Ledger(path).append("pack", NOTE)
    assert not may_have_event(path, MEDIUM)
    Ledger(path).append(MEDIUM, NOTE, change="lost")
    assert may_have_event(path, MEDIUM)


def test_a_ledger_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.mkdir()
    with pytest.raises(MediaError, match=r"^cannot read the ledger: .+/ledger\.jsonl, got Is a directory"):
        may_have_event(path, MEDIUM)
