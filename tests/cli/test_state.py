"""A home that somebody has changed: what the ledger knows better than the files is refused, or an alarm, in the
same run, and each has a command that puts it right.
"""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airgap import ledger_summary, site_check
from airgap.audit.facts import read_facts
from airgap.endpoints.server import ImageServer
from airgap.site import Site
from airgap.site_check import check_site
from airgap.trust.keys import SigningKey
from tests.cli.conftest import Gap, Side, files_of
from tests.support.images import simple_image

Harm = Callable[[Path], object]

NOBODY = 65534


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state") / "made"


@pytest.fixture
def moved(template: Path, tmp_path: Path, gap: Gap) -> Gap:
    """A site that has loaded stack-0002, which brought trust root 2; stack-0001 came before."""
    if not template.exists():
        _make(gap)
        shutil.copytree(gap.folder, template)
        return gap
    shutil.rmtree(tmp_path)
    shutil.copytree(template, tmp_path)
    return gap


def _make(gap: Gap) -> None:
    path = gap.layout(api=simple_image("api"))
    gap.online("pack", path, "--to", gap.stick)
    gap.online("trust", "rotate", "--days", "700")
    path = gap.layout(api=simple_image("newer"))
    gap.online("pack", path, "--to", gap.stick)
    gap.offline("load", gap.stick / "stack-0002", "--to", f"oci:{gap.folder}/out")


def load(gap: Gap, serial: int, code: int, *words: object) -> str:
    """What is said on stderr of a load into a folder, which is as before when it is refused."""
    out = gap.folder / "out"
    before = files_of(out)
    done = gap.offline("load", gap.stick / f"stack-000{serial}", "--to", f"oci:{out}", *words, code=code)
    assert code == 0 or files_of(out) == before
    return done.err


def rewrite(name: str, raw: bytes) -> Harm:
    return lambda home: (home / name).write_bytes(raw)


def remove(name: str) -> Harm:
    def harm(home: Path) -> None:
        path = home / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return harm


def link(name: str, to: str) -> Harm:
    def harm(home: Path) -> None:
        remove(name)(home)
        (home / name).symlink_to(to)

    return harm


def pipe(name: str) -> Harm:
    def harm(home: Path) -> None:
        remove(name)(home)
        os.mkfifo(home / name)

    return harm


def mark(serial: int, sha256: str = "a" * 64) -> bytes:
    return json.dumps({"epoch": 1, "serial": serial, "statement_sha256": sha256}).encode()


# -- marks

MARK = "received/stack.json"
MARKS: dict[str, Harm] = {
    "the folder is gone": remove("received"),
    "the mark is gone": remove(MARK),
    "an older mark": rewrite(MARK, mark(1)),
    "another statement": rewrite(MARK, mark(2)),
    "nothing in it": rewrite(MARK, b""),
    "no mark": rewrite(MARK, b"x" * 100),
    "too large": rewrite(MARK, b" " * (70 << 10)),
    "a link without end": link(MARK, "/dev/zero"),
    "a link to nowhere": link(MARK, "nowhere"),
    "a pipe": pipe(MARK),
}


@pytest.mark.parametrize("harm", MARKS.values(), ids=MARKS)
def test_a_mark_that_was_set_back_is_put_right(moved: Gap, harm: Harm) -> None:
    before = (moved.offline.home / MARK).read_bytes()
    harm(moved.offline.home)
    said = load(moved, 1, 14)
    assert "alarm: " in said
    assert "was restored from the ledger" in said
    assert "older than the last accepted bundle" in said
    assert (moved.offline.home / MARK).read_bytes() == before
    alarms = [record for record in moved.offline.records() if record["event"] == "alarm"]
    assert "was restored" in alarms[0]["alarms"][0]
    assert "alarm" not in load(moved, 2, 0)


@pytest.mark.parametrize("harm", MARKS.values(), ids=MARKS)
def test_reports_tell_of_it_and_change_nothing(moved: Gap, harm: Harm) -> None:
    harm(moved.offline.home)
    moved.offline("audit", "log", code=17)
    for words in (("audit", "verify"), ("audit", "report"), ("audit", "find", "example")):
        done = moved.offline(*words, code=0 if words[1] == "report" else 17)
        assert "alarm: " in done.err
        assert "the ledger records serial 2 in epoch 1" in done.err
    assert "serial 2 in epoch 1" in moved.offline("audit", "report", "--json").json["alarms"][0]


def test_a_mark_that_was_set_forward_is_settled_by_a_person(moved: Gap) -> None:
    """It can only refuse more, for good: a site could be kept from every update."""
    (moved.offline.home / MARK).write_bytes(mark(2**53 - 1))
    said = load(moved, 2, 14)
    assert "alarm: received/stack.json records serial 9007199254740991" in said
    assert "`airgap audit settle ledger`" in said
    moved.offline("audit", "settle", "ledger", code=2)
    assert "now it records serial 2" in moved.offline("audit", "settle", "ledger", "--yes").out
    assert "alarm" not in load(moved, 2, 0)
    assert ("override", "ok", 0) in [
        (r["event"], r.get("result"), r.get("exit_code")) for r in moved.offline.records()
    ]


def test_a_mark_without_a_record_is_settled_by_a_person(moved: Gap) -> None:
    (moved.offline.home / "received" / "other.json").write_bytes(mark(5))
    assert "has no record of it" in load(moved, 2, 0)
    moved.offline("audit", "settle", "files", "--yes")
    assert "alarm" not in load(moved, 2, 0)
    (moved.offline.home / "received" / "odd.json").write_bytes(b"{")
    assert "odd.json" in load(moved, 2, 10)
    moved.offline("audit", "settle", "ledger", "--yes")
    assert "alarm" not in load(moved, 2, 0)


@pytest.mark.parametrize(
    "harm", [remove("sent/stack.json"), remove("sent"), rewrite("sent/stack.json", mark(1))]
)
def test_a_sender_that_forgets_its_place_does_not_seal_it_twice(moved: Gap, harm: Harm) -> None:
    harm(moved.online.home)
    path = moved.layout(api=simple_image("newest"))
    done = moved.online("pack", path, "--to", moved.stick)
    assert "alarm: " in done.err
    statement = json.loads((moved.stick / "stack-0003" / "statement.json").read_bytes())["predicate"]
    old = (moved.stick / "stack-0002" / "statement.json").read_bytes()
    import hashlib

    assert statement["previous"] == {"serial": 2, "statement_sha256": hashlib.sha256(old).hexdigest()}


def test_serving_asks_and_keeps_the_mark(moved: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageServer, "serve_forever", ImageServer.close)
    one, two = moved.stick / "stack-0001", moved.stick / "stack-0002"
    fresh = Side(moved.folder / "fresh", moved.offline.capture)
    shutil.copytree(moved.offline.home, fresh.home)
    (fresh.home / "ledger.jsonl").unlink()
    remove("received")(fresh.home)
    fresh("audit", "settle", "files", "--yes")
    fresh("serve", one, "--port", "0")
    fresh("serve", two, "--port", "0")
    assert Site(fresh.home).received("stack").serial == 2
    assert fresh.records()[-1]["accepted"]["serial"] == 2
    assert "older than the last accepted bundle" in fresh("serve", one, "--port", "0", code=14).err
    assert "older than the last accepted bundle" in fresh("serve", one, two, "--port", "0", code=14).err
    assert "older than" in fresh("load", one, "--to", f"oci:{fresh.home}/x", code=14).err


# -- trust roots

ROOTS: dict[str, Harm] = {
    "the newest is gone": remove("trust/2.root.json"),
    "the first is gone": remove("trust/1.root.json"),
    "nothing in it": rewrite("trust/2.root.json", b""),
    "another one": lambda home: shutil.copy(home / "trust/1.root.json", home / "trust/2.root.json"),
    "a link to another": link("trust/2.root.json", "1.root.json"),
    "a link without end": link("trust/2.root.json", "/dev/zero"),
    "a pipe": pipe("trust/2.root.json"),
    "all are gone": remove("trust"),
}


@pytest.mark.parametrize("harm", ROOTS.values(), ids=ROOTS)
def test_a_root_that_is_gone_is_brought_back_by_a_person(moved: Gap, harm: Harm) -> None:
    before = files_of(moved.offline.home / "trust")
    harm(moved.offline.home)
    for serial in (1, 2):
        said = load(moved, serial, 13)
        assert "root.json" in said
        assert "hint: " in said
    moved.offline("audit", "verify", code=17)
    for version in (1, 2):
        moved.offline("trust", "install", moved.stick / f"stack-0002/trust/{version}.root.json")
    assert files_of(moved.offline.home / "trust") == before
    assert "alarm" not in load(moved, 2, 0)


def test_only_the_very_root_comes_back(moved: Gap) -> None:
    remove("trust")(moved.offline.home)
    other = Side(moved.folder / "other", moved.offline.capture)
    made = other("init", "--owner", "mallory", "--site", "hq", "--json").json
    words = ("trust", "install", made["root"], "--fingerprint", made["fingerprint"])
    assert "another trust root of this version was installed here" in moved.offline(*words, code=13).err
    assert not (moved.offline.home / "trust").exists()
    assert "error: " in moved.online("trust", "install", made["root"], code=13).err


def test_a_sender_whose_roots_are_gone_makes_no_new_ones(moved: Gap) -> None:
    remove("trust")(moved.online.home)
    assert (
        "not the one that was installed"
        in moved.online("init", "--owner", "alice", "--site", "hq", code=13).err
    )


# -- the ledger


def cut(lines: int) -> Harm:
    def harm(home: Path) -> None:
        path = home / "ledger.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))

    return harm


def change_line(home: Path) -> None:
    path = home / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"event":"trust-change"', b'"event":"trust-chance"', 1))


LEDGERS: dict[str, Harm] = {
    "gone": remove("ledger.jsonl"),
    "empty": cut(0),
    "a line is changed": change_line,
    "a line is missing": lambda home: rewrite("ledger.jsonl", (home / "ledger.jsonl").read_bytes().split(b"\n", 1)[1])(home),
    "a link": link("ledger.jsonl", "/dev/null"),
    "a pipe": pipe("ledger.jsonl"),
    "a folder": lambda home: (remove("ledger.jsonl")(home), (home / "ledger.jsonl").mkdir()),
    "others write it": lambda home: (home / "ledger.jsonl").chmod(0o666),
}  # fmt: skip


@pytest.mark.parametrize("harm", LEDGERS.values(), ids=LEDGERS)
def test_a_ledger_that_was_changed_is_refused_before_anything_is_done(moved: Gap, harm: Harm) -> None:
    harm(moved.offline.home)
    said = load(moved, 2, 17)
    assert "ledger" in said
    moved.offline("verify", moved.stick / "stack-0002", code=17)


def test_a_ledger_that_was_cut_leaves_marks_that_it_does_not_know(moved: Gap) -> None:
    cut(2)(moved.offline.home)
    assert "alarm: received/stack.json records serial 2" in load(moved, 2, 0)


@pytest.fixture
def summarised(moved: Gap, monkeypatch: pytest.MonkeyPatch) -> Gap:
    monkeypatch.setattr(site_check, "_SUMMARY_LINES", 1)
    load(moved, 2, 0)
    load(moved, 2, 0)
    assert (moved.offline.home / ledger_summary.SUMMARY).exists()
    return moved


@pytest.mark.parametrize("lines", range(1, 7))
def test_a_ledger_shorter_than_its_summary_was_cut(summarised: Gap, lines: int) -> None:
    cut(lines)(summarised.offline.home)
    said = load(summarised, 2, 17)
    assert "the ledger was cut or replaced" in said
    summarised.offline("audit", "settle", "files", "--yes")
    assert "alarm" not in load(summarised, 2, 0)


def _forged(home: Path) -> None:
    """By somebody who cannot read the site's key."""
    path = home / ledger_summary.SUMMARY
    facts = read_facts(home / "ledger.jsonl")
    facts.received.clear()
    other = Site(home)
    (home / "site.key").rename(home / "real.key")
    SigningKey.generate().save(home / "site.key", None)
    ledger_summary.write_summary(other.home, facts)
    (home / "real.key").replace(home / "site.key")
    assert path.exists()


SUMMARIES: dict[str, Harm] = {
    "gone": remove(ledger_summary.SUMMARY),
    "empty": rewrite(ledger_summary.SUMMARY, b""),
    "a link": link(ledger_summary.SUMMARY, "/dev/zero"),
    "forged": _forged,
}


@pytest.mark.parametrize("harm", SUMMARIES.values(), ids=SUMMARIES)
def test_a_summary_is_never_believed_more_than_the_ledger(summarised: Gap, harm: Harm) -> None:
    harm(summarised.offline.home)
    remove("received")(summarised.offline.home)
    assert "was restored from the ledger" in load(summarised, 1, 14)


def test_a_summary_saves_reading_and_says_the_same(summarised: Gap) -> None:
    home = summarised.offline.home
    first = check_site(home, datetime.now(UTC), recording=False)
    remove("received")(home)
    with_summary = check_site(home, datetime.now(UTC), recording=False)
    remove(ledger_summary.SUMMARY)(home)
    without = check_site(home, datetime.now(UTC), recording=False)
    assert first.alarms == ()
    assert with_summary.alarms == without.alarms
    assert len(without.alarms) == 1
