"""The ledger: records, and attempts with their ends."""

import json
import os
from datetime import timedelta, timezone

import pytest

from airgap import errors
from airgap.audit import ledger as module
from airgap.audit.chain import check_ledger
from airgap.audit.ledger import Ledger
from airgap.audit.record import HEAD
from airgap.errors import LedgerError
from airgap.limits import MAX_LEDGER_LINE_BYTES
from tests.unit.audit.ledgers import START, filled, lines_of, new_ledger, records_of, sha256, ticking


def test_the_first_records(tmp_path):
    ledger = new_ledger(tmp_path, ticket="CHG-1", role="releaser")
    first = ledger.append("pack", "note", images=({"reference": "a:1", "digest": "sha256:00"},))
    second = ledger.append("media-write", "note", role="courier")
    lines = lines_of(ledger.path)
    assert [first.line, second.line] == lines
    assert [first.sha256, second.sha256] == [sha256(line) for line in lines]
    assert [first.seq, second.seq] == [1, 2]
    one, two = records_of(ledger.path)
    assert tuple(one)[: len(HEAD)] == HEAD
    assert one | {"boot_id": 0, "host": 0, "user": 0, "tool": 0} == {
        "seq": 1, "prev": "0" * 64, "time": "2026-01-31T12:00:00.000Z", "utc_offset": "+00:00", "boot_id": 0,
        "host": 0, "site": "plant-7", "tool": 0, "user": 0, "event": "pack", "phase": "note",
        "ticket": "CHG-1", "role": "releaser", "images": [{"reference": "a:1", "digest": "sha256:00"}],
    }  # fmt: skip
    assert (two["prev"], two["role"]) == (first.sha256, "courier")
    assert one["host"] == os.uname().nodename
    assert one["tool"].startswith("airgap ")


def test_the_file_is_for_its_owner_and_only_grows(tmp_path):
    path = filled(tmp_path, 3)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    new_ledger(tmp_path).append("pack", "note", name="Zürich \u202e")
    after = path.read_bytes()
    assert after.startswith(before)
    assert after.isascii()
    assert after.endswith(b"\n")


@pytest.mark.parametrize(
    ("hours", "text"), [(0, "+00:00"), (2, "+02:00"), (5.5, "+05:30"), (-3.5, "-03:30"), (-11, "-11:00")]
)
def test_time_is_utc_beside_the_local_offset(tmp_path, hours, text):
    local = START.astimezone(timezone(timedelta(hours=hours)))
    Ledger(tmp_path / "l", site="s", clock=lambda: local).append("pack", "note")
    assert records_of(tmp_path / "l")[0]["time"] == "2026-01-31T12:00:00.000Z"
    assert records_of(tmp_path / "l")[0]["utc_offset"] == text


def test_boot_and_user_are_told_as_far_as_they_are_known(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BOOT_ID", tmp_path / "none")
    monkeypatch.setattr(module.os, "getuid", lambda: 54321)
    monkeypatch.setenv("LOGNAME", "somebody-else")
    record = json.loads(new_ledger(tmp_path).append("pack", "note").line)
    assert (record["boot_id"], record["user"]) == (None, "uid 54321")
    monkeypatch.setattr(module, "_BOOT_ID", tmp_path / "boot")
    (tmp_path / "boot").write_text("b-1\n")
    monkeypatch.undo()
    monkeypatch.setattr(module, "_BOOT_ID", tmp_path / "boot")
    record = json.loads(new_ledger(tmp_path).append("pack", "note").line)
    assert record["boot_id"] == "b-1"
    assert record["user"] == __import__("pwd").getpwuid(os.getuid()).pw_name
    assert "claimed_user" not in record


def test_who_became_this_user_is_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "alice")
    record = json.loads(new_ledger(tmp_path).append("pack", "note", ticket="C-1").line)
    assert list(record)[len(HEAD) - 1 :] == ["phase", "claimed_user", "ticket"]
    assert record["claimed_user"] == "alice"
    with pytest.raises(ValueError, match="claimed_user"):
        new_ledger(tmp_path).append("pack", "note", claimed_user="bob")


@pytest.mark.parametrize(
    ("event", "phase", "details"),
    [
        ("torn", "note", {}),
        ("Pack", "note", {}),
        ("", "note", {}),
        ("pack\n", "note", {}),
        ("pack", "middle", {}),
        ("pack", "note", {"seq": 1}),
        ("pack", "note", {"site": "other"}),
        ("pack", "note", {"token": "x"}),
        ("pack", "note", {"login": {"password": "x"}}),
        ("pack", "note", {"rate": 1.5}),
    ],
)
def test_programming_errors_write_nothing(tmp_path, event, phase, details):
    ledger = new_ledger(tmp_path)
    with pytest.raises(ValueError):
        ledger.append(event, phase, **details)
    assert not ledger.path.exists()


@pytest.mark.parametrize("about", [{"seq": 1}, {"secret": "x"}, {"rate": 1.5}])
def test_programming_errors_in_about(tmp_path, about):
    with pytest.raises(ValueError):
        new_ledger(tmp_path, **about)


def test_a_clock_without_zone_is_a_programming_error(tmp_path):
    with pytest.raises(ValueError, match="time zone"):
        Ledger(tmp_path / "l", site="s", clock=lambda: START.replace(tzinfo=None)).append("pack", "note")


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ({"text": "x" * MAX_LEDGER_LINE_BYTES}, "too large"),
        ({"Time": "x"}, "differ in case only"),
        ({"tags": {"a": 1, "A": 2}}, "differ in case only"),
        ({"number": 2**53}, "integer too large"),
    ],
)
def test_a_record_that_could_not_be_read_back_is_not_written(tmp_path, details, message):
    path = filled(tmp_path, 1)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=message) as caught:
        new_ledger(tmp_path).append("pack", "note", **details)
    assert caught.value.exit_code == 17
    assert path.read_bytes() == before


def test_the_longest_line_can_be_followed(tmp_path):
    ledger = new_ledger(tmp_path)
    ledger.append("pack", "note")
    room = MAX_LEDGER_LINE_BYTES - len(ledger.append("pack", "note", text="").line)
    assert len(ledger.append("pack", "note", text="x" * room).line) == MAX_LEDGER_LINE_BYTES
    with ledger.path.open("ab") as stream:
        stream.write(b"y" * MAX_LEDGER_LINE_BYTES)
    assert ledger.append("pack", "note").seq == 6
    state = check_ledger(ledger.path)
    assert (state.size, state.torn) == (6, (4,))


def a_directory(path):
    path.mkdir()


def a_link(path):
    (path.parent / "elsewhere").write_bytes(b"")
    path.symlink_to("elsewhere")


def no_parent(path):
    path.parent.rmdir()


def a_file_as_parent(path):
    path.parent.rmdir()
    path.parent.write_bytes(b"")


@pytest.mark.parametrize(
    ("obstacle", "got"),
    [
        (a_directory, "Is a directory"),
        (a_link, "symbolic links"),
        (os.mkfifo, "not a regular file"),
        (no_parent, "No such file"),
        (a_file_as_parent, "Not a directory"),
    ],
)
def test_a_ledger_that_cannot_be_written(tmp_path, obstacle, got):
    path = tmp_path / "state" / "ledger.jsonl"
    path.parent.mkdir()
    obstacle(path)
    ran = False
    ledger = Ledger(path, site="s", clock=ticking())
    with pytest.raises(LedgerError, match=got) as caught, ledger.attempt("load"):
        ran = True
    assert not ran, "nothing happens without its record"
    assert caught.value.exit_code == 17
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"root:x:0:0\n" * 20, b"\n" * 100_000, b"x" * 9_000_000, b"\n".join([b"y"] * 30)]
)
def test_a_file_that_is_no_ledger_is_left_alone(tmp_path, data):
    ledger = new_ledger(tmp_path)
    ledger.path.write_bytes(data)
    with pytest.raises(LedgerError, match="no record at the end") as caught:
        ledger.append("pack", "note")
    assert caught.value.hint is not None
    assert ledger.path.read_bytes() == data


# --- attempts


def test_an_attempt(tmp_path):
    ledger = new_ledger(tmp_path, ticket="T")
    with ledger.attempt("load", target="docker") as attempt:
        (begin,) = records_of(ledger.path)
        assert (begin["phase"], begin["target"], begin["ticket"]) == ("begin", "docker", "T")
        attempt.add(images=[], bytes=1)
        attempt.add(bytes=2)
        assert len(lines_of(ledger.path)) == 1
    end = records_of(ledger.path)[1]
    assert {key: end[key] for key in list(end)[len(HEAD) :]} == {
        "ticket": "T", "begin": 1, "result": "ok", "exit_code": 0, "images": [], "bytes": 2,
    }  # fmt: skip
    assert (end["event"], end["phase"]) == ("load", "end")


def test_an_attempt_says_its_result(tmp_path):
    ledger = new_ledger(tmp_path)
    with ledger.attempt("load") as attempt:
        attempt.result, attempt.exit_code = "partial", 3
    assert records_of(ledger.path)[1]["result"] == "partial"
    assert records_of(ledger.path)[1]["exit_code"] == 3


@pytest.mark.parametrize(
    ("error", "result", "exit_code", "text"),
    [
        (errors.UsageError("u"), "failed", 2, "u"),
        (errors.PartialError("p"), "partial", 3, "p"),
        (errors.FormatError("f"), "refused", 10, "f"),
        (errors.AmbiguousError("f"), "refused", 10, "f"),
        (errors.NoSpaceError("full"), "failed", 11, "full"),
        (errors.DigestMismatchError("d", subject="x", want=1, got=2), "refused", 12, "d: x, want 1, got 2"),
        (errors.ThresholdError("t"), "refused", 13, "t"),
        (errors.ExpiredError("late"), "refused", 14, "late"),
        (errors.DestinationError("there"), "refused", 15, "there"),
        (errors.PolicyError("no"), "refused", 16, "no"),
        (errors.LedgerError("l"), "failed", 17, "l"),
        (errors.EndpointError("http://u:pw@h"), "failed", 18, "http://u:***@h"),
        (errors.IncompleteError("i"), "failed", 19, "i"),
        (errors.TransportError("\x1b[31m"), "failed", 20, "\\x1b[31m"),
        (errors.AirgapError("a" * 9999), "failed", 1, "a" * 2048),
        (OSError(5, "bad", "/x"), "failed", 11, "cannot be reached: /x, got bad"),
        (OSError(28, "full"), "failed", 11, "cannot be reached, got full"),
        (KeyError("password"), "failed", 1, "a defect"),
        (SystemExit(4), "failed", 1, "a defect"),
        (KeyboardInterrupt(), "aborted", 130, None),
    ],
)
def test_an_attempt_that_fails(tmp_path, error, result, exit_code, text):
    ledger = new_ledger(tmp_path)
    with pytest.raises(type(error)) as caught, ledger.attempt("verify") as attempt:  # noqa: PT012
        attempt.add(done=1)
        raise error
    assert caught.value is error
    end = records_of(ledger.path)[1]
    assert (end["begin"], end["done"]) == (1, 1)
    assert (end["result"], end["exit_code"], end.get("error")) == (result, exit_code, text)


@pytest.mark.parametrize("key", ["begin", "result", "exit_code", "error", "seq", "phase", "token"])
def test_what_an_attempt_cannot_add(tmp_path, key):
    with new_ledger(tmp_path).attempt("load") as attempt, pytest.raises(ValueError):
        attempt.add(**{key: "x"})


def test_an_end_that_cannot_be_written_is_an_error(tmp_path):
    ledger = new_ledger(tmp_path)
    with pytest.raises(LedgerError, match="Is a directory"), ledger.attempt("load"):  # noqa: PT012
        ledger.path.unlink()
        ledger.path.mkdir()


def test_an_end_that_cannot_be_written_keeps_the_first_error(tmp_path):
    ledger = new_ledger(tmp_path)
    first = errors.EndpointError("engine gone")
    with pytest.raises(LedgerError) as caught, ledger.attempt("load"):  # noqa: PT012
        ledger.path.unlink()
        ledger.path.mkdir()
        raise first
    chain, error = [], caught.value
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    assert first in chain
