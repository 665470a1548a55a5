"""Ledgers that several processes write, and full disks."""

import json
import subprocess
import sys

import pytest

from airgap.audit.chain import check_ledger
from tests.unit.audit.ledgers import filled, lines_of, new_ledger, records_of, sha256

# --- in other processes

PRELUDE = """
import os, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from airgap.audit.ledger import Ledger
from airgap.errors import LedgerError
ledger = Ledger(Path(sys.argv[1]), site="plant-7", clock=lambda: datetime.now(UTC))
"""


def start(script, path):
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(script, path):
    process = start(script, path)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def test_several_writers_at_once(tmp_path):
    script = """
print("ready", flush=True)
sys.stdin.read()
for i in range(30): ledger.append("pack", "note", writer=os.getpid(), i=i)
"""
    path = tmp_path / "ledger.jsonl"
    writers = [start(script, path) for _ in range(4)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.close()
        writer.stdin = None
    for writer in writers:
        assert writer.communicate(timeout=600) == ("", "")
    state = check_ledger(path)
    assert (state.size, state.torn) == (120, ())
    for writer in writers:
        assert [r["i"] for r in records_of(path) if r["writer"] == writer.pid] == list(range(30))


def test_a_killed_attempt_stays_open(tmp_path):
    path = tmp_path / "ledger.jsonl"
    code, _, _ = run("with ledger.attempt('load'): os.kill(os.getpid(), 9)", path)
    assert code == -9
    state = check_ledger(path)
    assert [record.seq for record in state.open] == [1]
    assert json.loads(state.open[0].line)["event"] == "load"


FULL = """
size = os.path.getsize(ledger.path) + int(os.environ["ROOM"])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    with ledger.attempt("load", fill="x" * 300):
        print("side effect")
except LedgerError as error:
    print(error.exit_code, error, error.hint)
"""


@pytest.mark.parametrize(
    ("room", "message"),
    [
        (0, "File too large"),
        (1, "a part of the record"),
        (100, "a part of the record"),
        (500, "a part of the record"),
    ],
)
def test_a_full_disk(tmp_path, monkeypatch, room, message):
    monkeypatch.setenv("ROOM", str(room))
    path = filled(tmp_path, 2)
    code, out, err = run(FULL, path)
    assert (code, err) == (0, "")
    assert out.startswith("17 ")
    assert message in out
    assert "side effect" not in out
    assert check_ledger(path).torn == ((3,) if room else ())
    new_ledger(tmp_path).append("pack", "note")
    state = check_ledger(path)
    assert (state.size, state.torn) == ((5, (3,)) if room else (3, ()))


def test_a_disk_that_fills_up_between_begin_and_end(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOM", "700")
    path = filled(tmp_path, 2)
    _, out, _ = run(FULL, path)
    assert out.startswith("side effect\n17 ")
    state = check_ledger(path)
    assert [record.seq for record in state.open] == [3]


def test_a_disk_that_is_full_again_and_again(tmp_path, monkeypatch):
    """Each failed mending leaves its own part, and all parts are reported together."""
    path = filled(tmp_path, 2)
    for room in ("100", "1", "50", "0"):
        monkeypatch.setenv("ROOM", room)
        assert "17 " in run(FULL, path)[1]
    assert check_ledger(path).torn == (3, 4)
    assert new_ledger(tmp_path).append("pack", "note").seq == 6
    state = check_ledger(path)
    assert (state.size, state.torn) == (6, (3, 4))
    good = lines_of(path)
    torn = json.loads(good[4])
    assert torn["offset"] == len(good[0] + good[1]) + 2
    assert torn["sha256"] == sha256(good[2] + b"\n" + good[3])
    assert torn["size"] == len(good[2] + good[3]) + 1
