"""What people see: sizes, tables, progress in lines, and no control character."""

import io
import json
import re
import sys

import pytest
import typer

from airgap.cli.console import (
    error_value,
    show_error,
    show_partial_result,
    show_result,
    size,
)
from airgap.cli.options import Output, TableOutput
from airgap.cli.progress_output import Bars, Lines, host_board, make_progress
from airgap.cli.tables import Table
from airgap.errors import IntegrityError
from airgap.limits import MAX_LISTED_ERRORS
from airgap.progress import Silent, phase_unless


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_900, "999.9 kB"),
        (1_234_567, "1.2 MB"),
        (2_147_483_648, "2.1 GB"),
        (5e15, "5000000.0 GB"),
    ],
)
def test_sizes(count, text):
    assert size(count) == text


def test_results(capsys):
    show_result({"a": [1]}, ["line \x1b[2J"], Output())
    assert capsys.readouterr().out == "line \\x1b[2J\n"
    show_result({"a": "\x1b"}, ["line"], Output(json=True))
    assert capsys.readouterr().out == '{\n  "a": "\\u001b"\n}\n'


def test_tables_are_short_on_a_terminal_only(capsys, monkeypatch):
    table = Table(("IMAGE", "DIGEST"), [("a" * 60, f"sha256:{'0' * 64}")])
    monkeypatch.setenv("COLUMNS", "60")
    show_result({}, [table], TableOutput())
    assert capsys.readouterr().out.splitlines() == table.lines()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_result({}, [table], TableOutput())
    assert capsys.readouterr().out.splitlines() == table.lines(60)
    show_result({}, [table], TableOutput(wide=True))
    assert capsys.readouterr().out.splitlines() == table.lines()


def test_a_partial_result_has_its_first_error_and_exit_code(capsys):
    failures = [IntegrityError("one"), IntegrityError("two")]
    with pytest.raises(typer.Exit) as caught:
        show_partial_result({}, ["line"], Output(), failures)
    assert caught.value.exit_code == 12
    assert capsys.readouterr() == ("line\n", "error: one\nerror: two\n")
    show_partial_result({"a": 1}, [], Output(json=True), [])
    assert json.loads(capsys.readouterr().out) == {"a": 1, "error": None}


def test_errors(capsys):
    error = IntegrityError("wrong\n", subject="x\x1b", want=1, got=2, hint="do\x07")
    show_error(error, debug=False)
    assert capsys.readouterr().err == "error: wrong\\n: x\\x1b, want 1, got 2\nhint: do\\x07\n"
    assert error_value(error) == {
        "kind": "IntegrityError",
        "message": "wrong\\n: x\\x1b, want 1, got 2",
        "hint": "do\x07",
        "exit_code": 12,
        "wrong": ["wrong\\n: x\\x1b, want 1, got 2"],
        "wrong_count": 1,
    }


def test_all_parts_of_an_error_up_to_a_limit(capsys):
    parts = [IntegrityError(f"wrong {number}") for number in range(MAX_LISTED_ERRORS + 2)]
    parts[1].hint = "repair it"
    error = IntegrityError.of_several(parts, "damaged", subject="stick", got="102 wrong blobs")
    value = error_value(error)
    assert (len(value["wrong"]), value["wrong_count"], value["hint"]) == (100, 102, "repair it")
    show_error(error, debug=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "wrong: wrong 0"
    assert lines[-3:] == ["wrong: 2 more", "error: damaged: stick, got 102 wrong blobs", "hint: repair it"]


def test_where_an_error_arose(capsys):
    with pytest.raises(IntegrityError) as caught:
        raise IntegrityError("wrong")
    show_error(caught.value, debug=True)
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert "test_where_an_error_arose" in err
    assert err.endswith("error: wrong\n")


def test_the_kind_of_progress(monkeypatch):
    assert isinstance(make_progress(quiet=True), Silent)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert isinstance(make_progress(quiet=False), Lines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(make_progress(quiet=False), Bars)


def test_lines():
    out = io.StringIO()
    lines = Lines(out)
    with lines.phase("fetching", 3000) as advance:
        advance(1000)
        lines.note("a note\r")
        advance(2000)
    first, note, last = out.getvalue().splitlines()
    assert first == "fetching: 3.0 kB"
    assert note == "a note\\r"
    assert re.fullmatch(r"fetching: done, 3\.0 kB in \d+\.\d s \(\d+\.\d [kMG]B/s\)", last)


def test_lines_now_and_then(monkeypatch):
    monkeypatch.setattr("airgap.cli.progress_output._PLAIN_INTERVAL", 0.0)
    out = io.StringIO()
    with Lines(out).phase("fetching", 4000) as advance:
        advance(1000)
        advance(9000)
    _, first, second, _ = out.getvalue().splitlines()
    assert re.fullmatch(r"fetching: 1\.0 kB of 4\.0 kB, .+/s, \d+ s left", first)
    assert re.fullmatch(r"fetching: 4\.0 kB of 4\.0 kB, .+/s, 0 s left", second)


def test_lines_without_a_total(monkeypatch):
    monkeypatch.setattr("airgap.cli.progress_output._PLAIN_INTERVAL", 0.0)
    out = io.StringIO()
    with Lines(out).phase("saving", 0) as advance:
        advance(5)
    first, then, last = out.getvalue().splitlines()
    assert first == "saving"
    assert re.fullmatch(r"saving: 5 B, .+/s", then)
    assert last.startswith("saving: done, 5 B")


def test_lines_of_a_phase_that_counts_nothing():
    out = io.StringIO()
    with Lines(out).phase("loading", 0):
        pass
    assert re.fullmatch(r"loading: done in \d+\.\d s", out.getvalue().splitlines()[-1])


def test_lines_of_a_phase_that_fails():
    out = io.StringIO()
    with pytest.raises(ZeroDivisionError), Lines(out).phase("fetching", 10):
        raise ZeroDivisionError
    assert out.getvalue() == "fetching: 10 B\nfetching: not complete, stopped\n"


def test_a_phase_of_which_a_part_failed_is_never_done():
    out = io.StringIO()
    with phase_unless(Lines(out), "loading", 10, lambda: True) as advance:
        advance(10)
    assert out.getvalue() == "loading: 10 B\nloading: not complete, stopped at 10 B of 10 B\n"
    with phase_unless(Lines(out), "loading", 10, list) as advance:
        advance(10)
    assert "loading: done, 10 B" in out.getvalue()


@pytest.mark.parametrize("make", [Bars, lambda: Lines(sys.stderr)], ids=["bars", "lines"])
def test_content_that_is_sent_twice_counts_once(monkeypatch, capsys, make):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with make().phase("loading", 4_000_000) as advance:
        advance(3_000_000)
        advance(3_000_000)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "6.0 MB" not in shown
    assert "4.0 MB" in shown


def test_bars_without_a_terminal_do_not_fail(capsys):
    bars = Bars()
    with bars.phase("fetching \x1b[31m", 10) as advance:
        advance(4)
        bars.note("note\x1b")
    with bars.phase("saving", 0) as advance:
        advance(4)
    err = capsys.readouterr().err
    assert "note\\x1b" in err
    assert "fetching \\x1b[31m" in err


def test_a_bar_that_ends_early_says_so(monkeypatch, capsys):
    """Volumes that are not here are left out without an exception: the bar may not claim them."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Bars().phase("copying", 19_000_000) as advance:
        advance(7_000_000)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "7.0/19.0 MB" in shown
    assert "19.0/19.0 MB" not in shown


def test_hosts_in_lines(capsys):
    with host_board(["a", "b\x1b"], quiet=False) as board:
        board("a").note("connecting")
        with board("b\x1b").phase("sending", 10) as advance:
            advance(10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["a: connecting", "b\\x1b: sending: 10 B"]
    assert lines[2].startswith("b\\x1b: sending: done, 10 B in ")


def test_quiet_hosts(capsys):
    with host_board(["a"], quiet=True) as board, board("a").phase("sending", 1) as advance:
        board("a").note("x")
        advance(1)
    assert capsys.readouterr() == ("", "")


def test_hosts_in_a_table(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with host_board(["plant-a", "plant-b\x1b[2J"], quiet=False) as board:
        with board("plant-a").phase("sending", 2000) as advance:
            advance(1000)
            advance(1000)
        board("plant-a").note("sent")
        board("plant-b\x1b[2J").note("failed: [red]x[/red]")
    err = capsys.readouterr().err
    assert "\x1b[2J" not in err
    for text in ("plant-a", "sent", "plant-b\\x1b[2J", "failed: [red]x[/red]"):
        assert text in err
