"""What a ledger says of the files of its site, read at once or in two parts."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airgap.audit import forms
from airgap.audit.facts import LedgerFacts, Mark, read_facts
from airgap.audit.forms import KnownForms
from airgap.audit.ledger import Ledger
from airgap.audit.search import entries_of, entries_on
from airgap.errors import AirgapError, LedgerError
from tests.unit.audit.ledgers import new_ledger

START = datetime(2026, 1, 1, tzinfo=UTC)


def place(serial, epoch=1, stream="edge", sha256="a" * 64):
    return {"stream": stream, "epoch": epoch, "serial": serial, "statement_sha256": sha256}


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.jsonl", site="plant-7", clock=Clock())


def end(ledger, event, error=None, **details):
    try:
        with ledger.attempt(event) as attempt:
            attempt.add(**details)
            if error:
                raise error
    except AirgapError:
        pass


def filled(ledger):
    end(ledger, "trust-change", root_version=1, fingerprint="f1")
    end(ledger, "load", accepted=place(3))
    end(ledger, "load", accepted=place(2))
    end(ledger, "load", AirgapError("the engine is gone"), accepted=place(4))
    end(ledger, "verify", bundle=place(9))
    end(ledger, "serve", accepted=place(1, stream="other", sha256="b" * 64))
    end(ledger, "pack", sealed=place(7, epoch=2))
    end(ledger, "pack", sealed=place(9))
    ledger.append("trust-change", "note", root_version=2, fingerprint="f2")
    end(ledger, "trust-change", LedgerError("no"), root_version=3, fingerprint="f3")
    ledger.append("load", "begin")
    vendor = Ledger(ledger.path, site="plant-7", clock=ledger._clock, about={"sender": "vendor"})
    end(vendor, "trust-change", root_version=1, fingerprint="v1", settings={"version": 1, "name": "vendor"})
    end(vendor, "load", accepted=place(9))


def test_the_highest_places_the_roots_and_the_time(ledger):
    filled(ledger)
    facts = read_facts(ledger.path)
    assert facts.received == {"edge": Mark(1, 4, "a" * 64), "other": Mark(1, 1, "b" * 64)}
    assert facts.sent == {"edge": Mark(2, 7, "a" * 64)}
    assert facts.roots == {1: "f1", 2: "f2"}
    assert facts.site == "plant-7"
    assert facts.latest_time == START + timedelta(seconds=facts.number)
    assert list(facts.begun.values()) == ["load"]


def test_senders_are_kept_apart_and_a_removed_one_keeps_its_marks(ledger):
    filled(ledger)
    facts = read_facts(ledger.path)
    vendor = facts.of("vendor")
    assert facts.received["edge"].serial == 4
    assert vendor.received == {"edge": Mark(1, 9, "a" * 64)}
    assert vendor.roots == {1: "v1"}
    assert json.loads(vendor.settings)["name"] == "vendor"
    end(ledger, "trust-change", sender="vendor", removed=True)
    removed = read_facts(ledger.path).of("vendor")
    assert (removed.removed, removed.settings, removed.received) == (True, "", vendor.received)
    end(ledger, "trust-change", LedgerError("no"), sender="vendor", root_version=1, fingerprint="v1")
    assert read_facts(ledger.path).of("vendor").removed
    end(ledger, "trust-change", sender="vendor", root_version=1, fingerprint="v1")
    assert not read_facts(ledger.path).of("vendor").removed


def test_a_summary_of_an_older_version_has_no_senders(ledger):
    filled(ledger)
    facts = read_facts(ledger.path)
    fields = json.loads(facts.to_bytes())
    older = {key: fields[key] for key in fields if key not in ("senders", "settings", "removed")}
    read = LedgerFacts.parse(json.dumps(older).encode())
    assert (read.roots, read.received, read.senders) == (facts.roots, facts.received, {})


@pytest.mark.parametrize("lines", range(1, 26, 3))
def test_in_two_parts_it_is_the_same(ledger, lines):
    filled(ledger)
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]))
    first = read_facts(ledger.path)
    ledger.path.write_bytes(whole)
    assert read_facts(ledger.path, LedgerFacts.parse(first.to_bytes())) == read_facts(ledger.path)


def test_there_is_no_ledger(tmp_path):
    assert read_facts(tmp_path / "none") == LedgerFacts()
    with pytest.raises(LedgerError, match="the ledger was cut"):
        read_facts(tmp_path / "none", LedgerFacts(number=3, last=10, offset=20))


@pytest.mark.parametrize("size", [0, 1, 400, -400, -1])
def test_a_ledger_without_the_lines_that_were_summarised(ledger, size):
    filled(ledger)
    facts = read_facts(ledger.path)
    ledger.path.write_bytes(ledger.path.read_bytes()[:size])
    with pytest.raises(LedgerError, match="the ledger was cut or replaced"):
        read_facts(ledger.path, facts)


def test_another_ledger_of_that_length(ledger, tmp_path):
    filled(ledger)
    facts = read_facts(ledger.path)
    ledger.path.write_bytes(ledger.path.read_bytes().replace(b"plant-7", b"plant-8"))
    with pytest.raises(LedgerError, match="cut or replaced"):
        read_facts(ledger.path, facts)


@pytest.mark.parametrize("line", [0, 3, 10])
@pytest.mark.parametrize("how", ["changed", "gone", "twice"])
def test_a_broken_chain(ledger, line, how):
    filled(ledger)
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    if how == "changed":
        lines[line] = lines[line].replace(b"plant-7", b"plant-8")
    else:
        lines[line : line + 1] = [] if how == "gone" else [lines[line]] * 2
    ledger.path.write_bytes(b"".join(lines))
    with pytest.raises(LedgerError, match="broken chain"):
        read_facts(ledger.path)


def test_a_torn_line_is_passed_over(ledger):
    end(ledger, "load", accepted=place(3))
    with ledger.path.open("ab") as file:
        file.write(b'{"seq":3,"prev"')
    assert read_facts(ledger.path).received["edge"].serial == 3
    end(ledger, "load", accepted=place(4))
    assert read_facts(ledger.path).received["edge"].serial == 4


def test_a_person_who_overrides_the_clock(ledger):
    ledger.append("verify", "note")
    Ledger(ledger.path, site="plant-7", clock=lambda: START + timedelta(days=9999)).append("verify", "note")
    assert read_facts(ledger.path).latest_time == START + timedelta(days=9999)
    ledger.append("override", "note", change="files")
    assert read_facts(ledger.path).latest_time == START + timedelta(days=9999)
    ledger.append("override", "note", change="clock")
    assert read_facts(ledger.path).latest_time < START + timedelta(days=1)


def test_no_more_open_attempts_are_kept_than_explain_anything(ledger):
    for _ in range(70):
        ledger.append("load", "begin")
    assert list(read_facts(ledger.path).begun) == list(range(7, 71))


ODD = [{"accepted": 7}, {"accepted": {}}, {"accepted": place("3")}, {"accepted": {**place(3), "stream": 7}}]


@pytest.mark.parametrize("details", ODD, ids=map(str, range(len(ODD))))
def test_what_is_no_place_is_none(ledger, details):
    end(ledger, "load", **details)
    assert read_facts(ledger.path).received == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("number", -1),
        ("head", "x"),
        ("roots", []),
        ("received", {"edge": {"epoch": 1}}),
        ("more", 1),
        ("senders", []),
        ("senders", {"vendor": {"roots": {}}}),
        ("removed", 1),
        ("begun", 3),
    ],
)
def test_a_summary_that_is_none(ledger, key, value):
    filled(ledger)
    fields = json.loads(read_facts(ledger.path).to_bytes())
    with pytest.raises(AirgapError):
        LedgerFacts.parse(json.dumps({**fields, key: value}).encode())


def test_facts_are_the_same_with_and_without_known_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "_UNLEARNED", 0)
    monkeypatch.setattr(forms, "_SEEN", 1)
    ledger = new_ledger(tmp_path)
    for serial in range(4):
        value = {"stream": "edge", "serial": serial, "epoch": 1, "statement_sha256": f"{serial:064x}"}
        for event, details in (("pack", {"sealed": value}), ("load", {"accepted": value}), ("verify", {})):
            with ledger.attempt(event, target="oci:/x") as attempt:
                attempt.add(**details)
        ledger.append("trust-change", "note", change="x", root_version=serial, fingerprint=f"{serial:064x}")
        ledger.append("override", "note", change="clock")
        ledger.append("pack", "begin")
    with_forms = read_facts(ledger.path)
    monkeypatch.setattr(KnownForms, "recognise", lambda *_: None)
    assert with_forms == read_facts(ledger.path)
    assert with_forms.sent["edge"].serial == with_forms.received["edge"].serial == 3
    assert len(with_forms.begun) == 4


def test_facts_of_a_ledger_of_known_forms_need_an_intact_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "_UNLEARNED", 0)
    monkeypatch.setattr(forms, "_SEEN", 1)
    ledger = new_ledger(tmp_path)
    for number in range(6):
        ledger.append("verify", "note", path=f"/media/{number}")
    changed = ledger.path.read_bytes().replace(b"/media/4", b"/media/9")
    ledger.path.write_bytes(changed)
    with pytest.raises(LedgerError, match=r"broken chain: .* line 6"):
        read_facts(ledger.path)


def test_the_lines_about_lost_media_are_in_the_summary(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    for number in range(3):
        ledger.append("verify", "note")
        ledger.append("medium", "note", change="lost", medium={"serial": f"{number}"})
    facts = LedgerFacts.parse(read_facts(ledger.path).to_bytes())
    assert facts.media
    assert entries_on(ledger.path, facts.media) == entries_of(ledger.path, "medium")
    assert [entry.seq for entry in entries_on(ledger.path, facts.media)] == [2, 4, 6]


def test_too_many_lines_about_lost_media_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airgap.audit.facts.MAX_MEDIA_NOTES", 2)
    ledger = new_ledger(tmp_path)
    for _ in range(4):
        ledger.append("medium", "note", change="lost")
    facts = read_facts(ledger.path)
    assert facts.media is None
    assert LedgerFacts.parse(facts.to_bytes()) == facts


def test_a_summary_without_the_lines_about_lost_media_is_made_again(tmp_path: Path) -> None:
    fields = json.loads(read_facts(new_ledger(tmp_path).path).to_bytes())
    del fields["media"]
    assert LedgerFacts.parse(json.dumps(fields).encode()).tree is None
