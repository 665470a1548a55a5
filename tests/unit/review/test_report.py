from dataclasses import replace
from datetime import timedelta

import pytest

from airgap.review.report import (
    by_statement,
    complete_line,
    make_report,
    sent_rows,
    summary_line,
    written_rows,
)
from tests.support.bundles import DAY, RECEIVER


@pytest.fixture
def report(answered):
    return make_report(answered.sender, answered.gap.now + DAY)


def with_entries(report, *entries):
    return replace(report, entries=entries)


def refused(report, code=12, event="verify", result="refused", **details):
    return replace(
        report.entries[0], seq=77, event=event, result=result, exit_code=code, user="jo",
        details={"error": "wrong digest", **details},
    )  # fmt: skip


def test_media(report):
    medium = {"vendor": "SanDisk", "serial": "4C53"}
    written = replace(report.entries[0], details={"media": [medium, "x"], "target": "x"})
    rows = written_rows(with_entries(report, written, report.entries[0]))
    assert [row[4:] for row in rows][:1] == [("x", "SanDisk 4C53")]


def test_one_is_not_many(report):
    report = replace(report, witnesses=1)
    assert "compared with 1 signed checkpoint in" in complete_line(report)
    assert "compared with 2 signed checkpoints in" in complete_line(replace(report, witnesses=2))
    assert "1 line," in complete_line(replace(report, ledger=replace(report.ledger, size=1)))


def test_what_somebody_should_look_at(report):
    entry = refused(report)
    assert report.odd == ()
    assert with_entries(report, *report.entries, entry).odd == (entry,)


def test_the_period_limits_entries_and_not_bundles(report):
    old, torn = replace(report.entries[0], time=report.time - 9 * DAY), replace(report.entries[0], time=None)
    limited = replace(report, entries=(old, torn), since=report.time - 2 * DAY)
    assert limited.period == (torn,)
    assert limited.counts["sealed"] == 1


@pytest.mark.parametrize("code", [12, 13, 14])
def test_the_refusal_of_what_does_not_agree_is_an_alarm(report, code):
    [alarm] = with_entries(report, refused(report, code)).alarms
    assert alarm.endswith("verify refused (line 77 of the ledger, by jo): wrong digest")


@pytest.mark.parametrize(
    ("code", "event", "result"),
    [
        (12, "verify", "ok"),
        (11, "verify", "failed"),
        (15, "load", "refused"),
        (13, "sign", "refused"),
        (13, "receipt", "alarm"),
    ],
)
def test_what_is_no_alarm(report, code, event, result):
    assert with_entries(report, refused(report, code, event, result)).alarms == ()


def test_every_bundle_is_counted_once(officers):
    counts = officers.counts
    assert counts == {
        "sealed": 5, "confirmed": 1, "waiting": 2, "superseded": 1, "overdue": 1, "recalled": 0,
        "loaded": 0, "refused": 1, "alarms": 1,
    }  # fmt: skip
    assert summary_line(officers).startswith("sealed 5, confirmed 1, waiting 2, superseded 1, overdue 1, ")
    assert [row[5] for row in sent_rows(officers)] == [
        "confirmed: 3 of 3 answered", "overdue: no site answered",
        "superseded: 2 of 3 answered; superseded: plant-3",
        "waiting: 4 of 5 answered; not complete: plant-4; missing: plant-5",
        "waiting: 0 of 1 answered; missing: plant-4",
    ]  # fmt: skip


def test_a_receiving_side_counts_its_loads(answered):
    found = make_report(answered.gap.site, answered.gap.now, timedelta(days=1))
    assert (found.site, found.counts["loaded"], found.counts["sealed"]) == (RECEIVER, 1, 0)


def test_entries_of_a_bundle(report):
    found = by_statement(report.entries)
    assert list(found) == [report.review.transfers[0].sealed.statement_sha256]
