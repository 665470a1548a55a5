from datetime import timedelta

import pytest

from airgap.audit.report import OPEN, UNREADABLE, entries
from airgap.errors import LedgerError, PolicyError
from tests.unit.audit.ledgers import IMAGE, START, STATEMENT, new_ledger

BUNDLE = {"stream": "edge", "serial": 7, "statement_sha256": STATEMENT}


@pytest.fixture
def path(tmp_path):
    """Line 1-2: init; 3, 5: load with a note (4) within; 6-7: refused; 8: open."""
    ledger = new_ledger(tmp_path)
    with ledger.attempt("init"):
        pass
    with ledger.attempt("load", bundle=BUNDLE, target="docker") as attempt:
        ledger.append("override", "note", reason="late", bundle={**BUNDLE, "stream": "core"})
        attempt.add(images=[{"reference": "a.example/b:1", "digest": IMAGE}], target="docker 28")
    with pytest.raises(PolicyError), ledger.attempt("load", bundle=BUNDLE):
        raise PolicyError("tag is taken")
    ledger.append("pack", "begin")
    return ledger.path


def test_begin_and_end_are_one_entry(path):
    found = entries(path)
    assert [(e.seq, e.event, e.result, e.exit_code) for e in found] == [
        (1, "init", "ok", 0), (3, "load", "ok", 0), (4, "override", "note", None),
        (6, "load", "refused", 16), (8, "pack", OPEN, None),
    ]  # fmt: skip
    load = found[1]
    assert load.time == START + timedelta(seconds=2)
    assert load.duration == timedelta(seconds=2)
    assert load.bundle == BUNDLE
    assert load.images == ({"reference": "a.example/b:1", "digest": IMAGE},)
    assert load.details == {
        "bundle": BUNDLE, "target": "docker 28", "images": list(load.images), "result": "ok", "exit_code": 0,
    }  # fmt: skip
    assert load.user
    assert found[3].details["error"] == "tag is taken"
    assert (found[4].duration, found[4].bundle, found[4].images) == (None, {}, ())


@pytest.mark.parametrize(
    ("conditions", "seqs"),
    [
        ({"event": "load"}, [3, 6]),
        ({"event": "none"}, []),
        ({"since": START + timedelta(seconds=3)}, [4, 6, 8]),
        ({"since": START}, [1, 3, 4, 6, 8]),
        ({"since": START + timedelta(days=1)}, []),
        ({"stream": "edge"}, [3, 6]),
        ({"stream": "core"}, [4]),
        ({"digest": IMAGE}, [3]),
        ({"digest": "a" * 12}, [3]),
        ({"digest": STATEMENT}, [3, 4, 6]),
        ({"digest": "0" * 64}, []),
        ({"event": "load", "stream": "edge", "digest": IMAGE}, [3]),
    ],
)
def test_conditions(path, conditions, seqs):
    assert [entry.seq for entry in entries(path, **conditions)] == seqs


def test_unreadable_lines_are_never_left_out(path, tmp_path):
    with path.open("ab") as stream:
        stream.write(b'{"seq":9,')
    *_, last = entries(path, event="load", digest=IMAGE)
    assert (last.seq, last.event, last.result, last.time) == (9, "torn", UNREADABLE, None)
    assert "not JSON" in last.details["problem"]
    new_ledger(tmp_path).append("pack", "note")
    assert [(e.seq, e.event, e.result) for e in entries(path)[-3:]] == [
        (9, "torn", UNREADABLE), (10, "torn", "note"), (11, "pack", "note"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "details",
    [
        {"begin": 1}, {"begin": 99}, {"begin": True}, {"begin": "1"}, {"bundle": "edge", "images": "a"},
        {"bundle": [1], "images": [1, None]}, {"exit_code": "0", "result": 5}, {"images": {"a": 1}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("phase", ["begin", "end", "note"])
def test_odd_records_are_shown_as_far_as_they_are_understood(tmp_path, phase, details):
    ledger = new_ledger(tmp_path)
    ledger.append("load", phase, **details)
    (entry,) = entries(ledger.path)
    assert (entry.seq, entry.event, entry.exit_code) == (1, "load", None)
    assert entry.result == {"begin": OPEN}.get(phase, phase)
    assert (entry.bundle, entry.images) == ({}, ())
    assert entries(ledger.path, stream="edge") == []


def test_a_second_end_is_an_entry_of_its_own(tmp_path):
    ledger = new_ledger(tmp_path)
    ledger.append("load", "begin")
    ledger.append("load", "end", begin=1, result="ok")
    ledger.append("load", "end", begin=1, result="failed")
    assert [(e.seq, e.result) for e in entries(ledger.path)] == [(1, "ok"), (3, "failed")]


def test_no_ledger(tmp_path):
    with pytest.raises(LedgerError, match="No such file"):
        entries(tmp_path / "none")
