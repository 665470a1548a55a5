import html.parser
from dataclasses import replace
from datetime import timedelta

import pytest

from airgap.audit.report import entries
from airgap.review.html_report import Report, complete_line, render, written_rows
from airgap.review.receipts import import_receipt
from airgap.review.records import Kept
from airgap.review.transfers import review
from airgap.review.witness import check_witnessed
from tests.support.bundles import DAY, SENDER


def report_of(site, name, now):
    state, witnesses = check_witnessed(site, Kept.of(site))
    found = review(Kept.of(site), name, now, timedelta(days=14))
    return Report(
        site=name,
        time=now,
        ledger=state,
        witnesses=witnesses,
        review=found,
        entries=tuple(entries(site.ledger_path)),
    )


class Texts(html.parser.HTMLParser):
    """The page as a reader sees it, and the elements that it has."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.tags, self.attributes = [], set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.texts.append(data.strip())


@pytest.fixture
def report(answered):
    return report_of(answered.sender, SENDER, answered.gap.now + DAY)


def test_a_bundle_on_its_way(report):
    page = Texts(render(report))
    assert {"edge-0001", "waiting: plant-7", "Approved", "None."} <= set(page.texts)
    assert page.texts.count("None.") == 3  # alarms, loads, oddities


def test_it_needs_nothing_else(report):
    page = Texts(render(report))
    assert page.tags.isdisjoint({"script", "link", "img", "a", "iframe", "object", "form"})
    assert page.attributes <= {"lang", "charset", "class"}


def test_overdue_and_answered(answered):
    late = Texts(render(report_of(answered.sender, SENDER, answered.gap.now + 99 * DAY)))
    assert "overdue: plant-7" in late.texts
    import_receipt(answered.sender, answered.receipt, answered.receipt.read_bytes(), answered.gap.now + DAY)
    page = Texts(render(report_of(answered.sender, SENDER, answered.gap.now + 99 * DAY)))
    assert "received" in page.texts
    assert any(text.startswith("plant-7 ok 2026-") for text in page.texts)


def test_what_a_medium_or_a_site_says_is_text(report):
    evil = "<script>alert(1)</script>\u202e&"
    transfer = report.review.transfers[0]
    statement = replace(transfer.sealed.statement, transfer={"ticket": evil})
    odd = replace(transfer, sealed=replace(transfer.sealed, statement=statement))
    entry = replace(report.entries[0], result="refused", details={"error": evil}, user=evil)
    changed = replace(
        report, review=replace(report.review, transfers=(odd,), alarms=(evil,)), entries=(entry,), site=evil
    )
    raw = render(changed)
    assert "<script" not in raw
    assert "\u202e" not in raw
    assert any("<script>alert(1)</script>" in text for text in Texts(raw).texts)


def test_what_somebody_should_look_at(report):
    refused = replace(report.entries[0], seq=77, result="refused", details={"error": "wrong digest"})
    changed = replace(report, entries=(*report.entries, refused))
    assert report.odd == ()
    assert changed.odd == (refused,)
    assert {"77", "wrong digest"} <= set(Texts(render(changed)).texts)


def test_media(report):
    medium = {"vendor": "SanDisk", "serial": "4C53"}
    written = replace(report.entries[0], details={"media": [medium], "target": "x"})
    rows = written_rows(replace(report, entries=(written, report.entries[0])))
    assert [row[4:] for row in rows][:1] == [("x", "SanDisk 4C53")]


def test_one_is_not_many(report):
    assert "compared with 1 signed checkpoint in" in complete_line(report)
    assert "compared with 2 signed checkpoints in" in complete_line(replace(report, witnesses=2))
    assert "1 line," in complete_line(replace(report, ledger=replace(report.ledger, size=1)))
