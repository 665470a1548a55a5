"""A search that parses few lines finds what a search of all entries finds."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airgap.audit import lines, search
from airgap.audit.report import LedgerEntry, entries
from airgap.audit.search import entries_of, entries_with, entry_at, words_of
from airgap.errors import LedgerError
from tests.unit.audit.ledgers import new_ledger

SHA256 = "7" * 64


def bundle(serial: int, stream: str = "Edge") -> dict[str, object]:
    return {"stream": stream, "serial": serial, "epoch": 1, "statement_sha256": f"{serial:x}".zfill(64)}


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    made = new_ledger(tmp_path)
    with made.attempt("load", bundle=bundle(70)) as attempt:
        made.append("verify", "note", problem="it came over Straße 5")
        attempt.add(images=[{"reference": "registry.test/One:1", "digest": "sha256:" + "abc1" * 16}])
    made.append("load", "begin", target="docker:never-ended")
    with made.attempt("send", bundle=bundle(12345, "other-1"), to="depot-x"):
        pass
    made.append("load", "end", begin=99, result="ok", target="nobody began it")
    return made.path


def seqs(found: list[LedgerEntry]) -> list[int]:
    return [entry.seq for entry in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sha256:abc1abc1", [1]), ("ONE:1", [1]), ("edge-0070", [1]), ("-0070", [1]), ("never-ended", [4]),
        ("STRASSE", [2]), ("other-1-12345", [5]), ("depot-x", [5]), ("began", [7]), ("nowhere", []),
    ],
)  # fmt: skip
def test_the_entry_is_found_by_what_its_begin_or_its_end_has(
    ledger: Path, text: str, found: list[int]
) -> None:
    candidates = entries_with(ledger, text)
    whole = {entry.seq: entry for entry in entries(ledger)}
    assert set(found) <= set(seqs(candidates))
    assert all(candidate == whole[candidate.seq] for candidate in candidates)


def test_entries_of_events_are_those_of_all_entries(ledger: Path) -> None:
    for events in (("load",), ("verify", "send"), ("pack",)):
        assert entries_of(ledger, *events) == [e for e in entries(ledger) if e.event in events]


def test_each_entry_is_found_by_its_number(ledger: Path) -> None:
    made = new_ledger(ledger.parent)
    made.append("load", "end", begin=1, result="late")  # the begin record has an end already
    made.append("send", "end", begin=4, result="ok")
    with ledger.open("ab") as stream:
        stream.write(b"torn\n")
    whole = {entry.seq: entry for entry in entries(ledger)}
    assert {seq: entry_at(ledger, seq) for seq in range(12)} == {seq: whole.get(seq) for seq in range(12)}
    assert set(whole) == {1, 2, 4, 5, 7, 8, 10}


def test_few_lines_are_parsed(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "entries", None)
    assert seqs(entries_with(ledger, "depot-x")) == [2, 5]  # a line with an escape always counts


@pytest.mark.parametrize("size", [1, 100, 1000])
def test_blocks_of_any_size_have_the_same_lines(
    ledger: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(lines, "_BLOCK_BYTES", size)
    assert b"".join(lines.read_blocks(ledger)) == ledger.read_bytes()
    assert seqs(entries_with(ledger, "depot-x")) == [2, 5]
    assert seqs(entries_with(ledger, "registry.test")) == [1, 2]


def test_entries_of_a_statement_are_found_by_its_digest(ledger: Path) -> None:
    assert seqs(entries_with(ledger, "OPS-12", {f"{70:x}".zfill(64)})) == [1, 2]
    assert seqs(entries_with(ledger, "OPS-12", {SHA256})) == [2]


@pytest.mark.parametrize(
    ("text", "apart", "matches"),
    [
        ("edge-0077", False, True), ("edge-007", False, True), ("edge-00", False, True), ("edge-", False, True),
        ("dge-0771", False, False), ("edge-0078", False, False), ("other-0077", False, False),
        ("77", False, True), ("app:1.5", False, True), ("APP:1.5", False, True), ("app:1.77", False, False),
        ("sha256:1cc8", False, False), ("sha256:1cc8", True, True), ("sha256:1cc9", True, False),
        ("vendor/edge-0077", False, True), ("ops-0012", False, True), ("ops-0013", False, False),
    ],
)  # fmt: skip
def test_what_is_not_a_title_must_be_there_as_one_text(text: str, apart: bool, matches: bool) -> None:
    record = (
        b'"stream":"edge","serial":77,"ref":"app:1.5","name":"blobs/sha256/1cc8","sender":"vendor",'
        b'"ticket":"OPS-0012"'
    )
    may_match = search.matcher(text, apart=apart)
    assert may_match is not None
    assert may_match(record) is matches


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sha256:ABC1", (b"sha256", b"abc1")), ("edge-0007", (b"edge", b"7")), ("-0070", (b"70",)),
        ("vendor/edge-0007", (b"vendor",)), ("a.b/c", (b"a", b"b")), ("000", ()), ("---", ()),
        ("é-app", ()), ("0070a", (b"0070a",)),
    ],
)  # fmt: skip
def test_the_words_that_are_sought_first(text: str, words: tuple[bytes, ...]) -> None:
    assert words_of(text) == words


def test_without_a_word_all_entries_are_read(ledger: Path) -> None:
    assert entries_with(ledger, "000") == entries(ledger)


def test_an_end_that_names_an_end_or_a_later_line_is_an_entry_of_its_own(tmp_path: Path) -> None:
    made = new_ledger(tmp_path)
    made.append("load", "note", target="first")
    made.append("load", "end", begin=1, result="ok", target="wrong")
    made.append("load", "end", begin=3, result="ok", target="wrong")
    made.append("load", "end", begin=0, result="ok", target="wrong")
    assert entries_with(made.path, "wrong") == entries(made.path)[1:]


def test_damaged_lines_do_not_end_the_search(ledger: Path) -> None:
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([lines[0], b'{"begin": torn\n', *lines[1:], b"\xff\xfe"]))
    assert 1 in seqs(entries_with(ledger, "abc1abc1"))


def test_there_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot read the ledger"):
        entries_with(tmp_path / "none", "text")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text("aeEdg-/0157 .ßK", min_size=3, max_size=6), serial=st.integers(0, 20000))
def test_a_title_that_has_the_text_has_the_word(text: str, serial: int) -> None:
    title = f"vendor/edge.g-{serial:04d}"
    record = f'"stream":"edge.g","serial":{serial},"sender":"vendor"'.encode()
    may_match = search.matcher(text)
    if text.casefold() in title.casefold() and may_match is not None:
        assert may_match(record)
        assert search.matcher(text, apart=True)(record)
