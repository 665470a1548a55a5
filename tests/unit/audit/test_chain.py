import json
import subprocess
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airgap.audit.chain import SHELL_CHECK, check_ledger, checkpoint
from airgap.audit.lines import read_ledger
from airgap.audit.merkle import MerkleTree
from airgap.errors import LedgerError
from airgap.limits import MAX_LEDGER_LINE_BYTES
from airgap.oci.strict_json import dump
from tests.unit.audit.ledgers import START, Ledger, filled, lines_of, new_ledger, sha256, ticking

COUNT = 50


@pytest.fixture(scope="module")
def fifty(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("fifty"), COUNT)


def rewritten(path, lines):
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def judged_by_shell(path):
    return subprocess.run(
        ["sh", "-c", SHELL_CHECK], cwd=path.parent, capture_output=True, text=True, check=True, timeout=600
    ).stdout


def test_a_whole_ledger(fifty):
    state = check_ledger(fifty)
    lines = lines_of(fifty)
    tree = MerkleTree()
    for line in lines:
        tree.add(line)
    assert (state.size, state.head, state.root) == (COUNT, sha256(lines[-1]), tree.root())
    assert (state.open, state.torn, state.backwards) == ((), (), ())
    assert (state.first_time, state.last_time) == ("2026-01-31T12:00:00.000Z", "2026-01-31T12:00:49.000Z")
    assert checkpoint(state) == {"origin": "plant-7", "size": COUNT, "root": tree.root()}


def test_an_empty_ledger(tmp_path):
    (tmp_path / "l").touch()
    state = check_ledger(tmp_path / "l")
    assert (state.size, state.head, state.site, state.first_time) == (0, "0" * 64, "", None)
    assert state.root == sha256(b"")


def delete(lines, i):
    del lines[i]


def duplicate(lines, i):
    lines.insert(i, lines[i])


def swap(lines, i):
    lines[i], lines[i + 1] = lines[i + 1], lines[i]


def edit(lines, i):
    lines[i] = lines[i].replace(b'"stream":"edge"', b'"stream":"edgy"')


def garble(lines, i):
    lines[i] = lines[i][1:]


def insert_forged(lines, i):
    forged = json.loads(lines[i])
    lines.insert(i, dump({**forged, "site": "other"}))


def insert_blank(lines, i):
    lines.insert(i, b"")


def forge_torn(lines, i):
    """Hide a line behind a torn record that names other bytes."""
    record = json.loads(lines[i + 1])
    lines[i] = b"x"
    lines[i + 1] = dump(
        {**record, "prev": sha256(b"x"), "event": "torn", "offset": 0, "size": 1, "sha256": "0" * 64}
    )


@pytest.mark.parametrize("at", range(COUNT - 1))
@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (delete, 1, "gap in seq: .* want {want}, got {next}"),
        (duplicate, 2, "repeated seq: .* want {next}, got {want}"),
        (swap, 1, "gap in seq: .* want {want}, got {next}"),
        (edit, 2, "broken chain: .* want prev {sum}, got [0-9a-f]{{64}}"),
        (garble, 1, "not a record: .* got not JSON"),
        (insert_forged, 2, "repeated seq"),
        (insert_blank, 1, "not a record"),
        (forge_torn, 2, "torn record of other bytes"),
    ],
)
def test_a_change_before_the_last_line(fifty, tmp_path, at, change, line, message):
    lines = lines_of(fifty)
    change(lines, at)
    path = rewritten(tmp_path / "ledger.jsonl", lines)
    wanted = message.format(want=at + 1, next=at + 2, sum=sha256(lines[at]))
    with pytest.raises(LedgerError, match=wanted) as caught:
        check_ledger(path)
    assert caught.value.subject == f"{path} line {at + line}"
    assert caught.value.exit_code == 17


def cut_last(lines):
    del lines[-1]


def edit_last(lines):
    edit(lines, -1)


@pytest.mark.parametrize("change", [cut_last, edit_last])
def test_a_change_at_the_end_shows_in_the_checkpoint_only(fifty, tmp_path, change):
    lines = lines_of(fifty)
    change(lines)
    state = check_ledger(rewritten(tmp_path / "l", lines))
    assert state.torn == ()
    assert checkpoint(state) != checkpoint(check_ledger(fifty))
    assert state.head != check_ledger(fifty).head


def test_a_copied_or_garbled_last_line_shows(fifty, tmp_path):
    lines = lines_of(fifty)
    with pytest.raises(LedgerError, match="repeated seq"):
        check_ledger(rewritten(tmp_path / "l", [*lines, lines[-1]]))
    assert check_ledger(rewritten(tmp_path / "l", [*lines[:-1], lines[-1][1:]])).torn == (COUNT,)


def test_a_cut_at_every_byte(tmp_path):
    path = filled(tmp_path, 3)
    data = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    roots = {checkpoint(check_ledger(path))["root"]}
    whole = check_ledger(path)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        state = check_ledger(path)
        full = sum(end <= length for end in ends)
        if length in (0, *ends):
            assert (state.size, state.torn) == (full, ()), "a cut at a line's end is no fault of the chain"
            assert state.root not in roots, "but the checkpoint differs"
            assert state.size < whole.size
        else:
            assert (state.size, state.torn) == (full + 1, (full + 1,))
            assert len(list(read_ledger(path))) == full + 1
        after = new_ledger(tmp_path).append("verify", "note")
        mended = check_ledger(path)
        assert path.read_bytes().startswith(data[:length]), "nothing is dropped"
        assert mended.torn == state.torn, "and the tear stays on record"
        assert after.seq == mended.size == state.size + (2 if state.torn else 1)


def test_a_torn_record_names_the_bytes(tmp_path):
    path = filled(tmp_path, 2)
    data = path.read_bytes()
    path.write_bytes(data + b'{"seq":3,"pr')
    new_ledger(tmp_path).append("pack", "note")
    torn = records_of_readable(path)[2]
    assert (torn["event"], torn["phase"], torn["seq"]) == ("torn", "note", 4)
    assert (torn["offset"], torn["size"], torn["sha256"]) == (len(data), 12, sha256(b'{"seq":3,"pr'))
    line = list(read_ledger(path))[2]
    assert (line.number, line.raw, line.ended, line.fields) == (3, b'{"seq":3,"pr', True, None)
    assert "not JSON" in line.problem


def records_of_readable(path):
    return [line.fields for line in read_ledger(path) if line.fields is not None]


def test_a_tear_in_the_record_of_a_tear(tmp_path):
    path = filled(tmp_path, 1)
    whole = path.read_bytes()
    path.write_bytes(whole + b"torn")
    new_ledger(tmp_path).append("pack", "note")
    mended = path.read_bytes()
    end = mended.index(b"\n", len(whole) + 5)
    for length in range(len(whole) + 1, end + 1):
        path.write_bytes(mended[:length])
        before = check_ledger(path)
        new_ledger(tmp_path).append("pack", "note")
        after = check_ledger(path)
        assert after.torn == before.torn
        assert 2 in after.torn


def test_open_attempts_and_a_clock_set_back(tmp_path):
    times = iter([START.replace(second=s) for s in (5, 6, 7, 1, 2)])
    ledger = Ledger(tmp_path / "l", site="s", clock=lambda: next(times))
    with ledger.attempt("pack"):
        with ledger.attempt("sign"):
            pass
        ledger.append("load", "begin")
    state = check_ledger(ledger.path)
    assert [record.seq for record in state.open] == [4]
    assert state.open[0].line == lines_of(ledger.path)[3]
    assert state.backwards == (4,)
    assert (state.first_time, state.last_time) == ("2026-01-31T12:00:05.000Z", "2026-01-31T12:00:02.000Z")


@pytest.mark.parametrize("begin", [None, "1", True, 99])
def test_an_end_that_names_no_begin_ends_nothing(tmp_path, begin):
    ledger = new_ledger(tmp_path)
    ledger.append("load", "begin")
    ledger.append("load", "end", begin=begin)
    assert [record.seq for record in check_ledger(ledger.path).open] == [1]


# --- reading


def test_no_ledger_is_not_an_empty_ledger(tmp_path):
    with pytest.raises(LedgerError, match="cannot read") as caught:
        check_ledger(tmp_path / "none")
    assert "airgap init" in (caught.value.hint or "")


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(LedgerError, match="not a regular file"):
        check_ledger(tmp_path)
    (tmp_path / "link").symlink_to(filled(tmp_path, 1))
    with pytest.raises(LedgerError, match="symbolic links"):
        check_ledger(tmp_path / "link")


@pytest.mark.parametrize("end", [b"", b"\n", b"\nmore\n"])
def test_a_line_that_is_too_long(tmp_path, end):
    path = filled(tmp_path, 1)
    with path.open("ab") as stream:
        stream.write(b"x" * (MAX_LEDGER_LINE_BYTES + 1) + end)
    with pytest.raises(LedgerError, match=r"line too long: .* line 2"):
        check_ledger(path)


def test_a_file_that_shrinks_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("airgap.audit.lines._BLOCK_BYTES", 1)
    path = filled(tmp_path, 400)
    lines = read_ledger(path)
    next(lines)
    path.write_bytes(b"")
    with pytest.raises(LedgerError, match="became shorter"):
        list(lines)


def test_a_reader_sees_one_moment_and_holds_nobody_up(tmp_path):
    path = filled(tmp_path, 3)
    ledger = new_ledger(tmp_path)
    seen = 0
    for _ in read_ledger(path):
        writer = threading.Thread(target=ledger.append, args=("pack", "note"))
        writer.start()
        writer.join(120)
        assert not writer.is_alive()
        seen += 1
    assert seen == 3
    assert check_ledger(path).size == 6


# --- judged without our code


def test_the_shell_agrees_with_a_whole_ledger(fifty):
    assert judged_by_shell(fifty) == ""


def test_the_shell_takes_every_character(tmp_path):
    ledger = new_ledger(tmp_path)
    ledger.append("pack", "note", text="".join(map(chr, range(0x250))) + "%s\\n\\0 $x `y` ' 🚢")
    ledger.append("pack", "note")
    assert judged_by_shell(ledger.path) == ""


@pytest.mark.parametrize("change", [delete, duplicate, swap, edit, garble, insert_forged, insert_blank])
def test_the_shell_finds_each_kind_of_change(fifty, tmp_path, change):
    lines = lines_of(fifty)[:6]
    change(lines, 2)
    assert "chain is broken" in judged_by_shell(rewritten(tmp_path / "ledger.jsonl", lines))


def test_the_shell_reports_a_torn_line_once(tmp_path):
    path = filled(tmp_path, 2)
    with path.open("ab") as stream:
        stream.write(b'{"seq":3,"pr')
    new_ledger(tmp_path).append("pack", "note")
    assert judged_by_shell(path).splitlines() == ["line 3: torn, or the chain is broken"]


def test_the_shell_check_is_three_lines():
    assert len(SHELL_CHECK.splitlines()) == 3


# --- properties

EVENTS = st.sampled_from(["pack", "load", "verify"])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(EVENTS, st.text(max_size=20), st.none() | st.binary(max_size=30)), max_size=6)
)
def test_tears_and_appends_in_any_order(tmp_path, steps):
    """Whatever a crash leaves (up to a few lines of it), the ledger goes on and keeps every byte."""
    path = tmp_path / "ledger.jsonl"
    path.unlink(missing_ok=True)
    ledger = Ledger(path, site="s", clock=ticking())
    for event, text, tear in steps:
        before = path.read_bytes() if path.exists() else b""
        record = ledger.append(event, "note", text=text)
        assert path.read_bytes().startswith(before)
        assert check_ledger(path).size == record.seq
        if tear is not None and tear.count(b"\n") < 15:
            with path.open("ab") as stream:
                stream.write(tear)
            check_ledger(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_other_byte_anywhere_shows(fifty, tmp_path, data):
    raw = bytearray(fifty.read_bytes()[:3000])
    del raw[raw.rindex(b"\n") + 1 :]
    clean = tmp_path / "clean"
    clean.write_bytes(raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "l"
    path.write_bytes(raw)
    try:
        state = check_ledger(path)
    except LedgerError:
        return
    assert state.torn or state.root != check_ledger(clean).root
