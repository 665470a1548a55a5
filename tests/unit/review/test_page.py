import base64
import hashlib
import itertools
import re
from dataclasses import replace

import justhtml
import pytest

from airgap.bundle.medium import format_size
from airgap.review.page.markup import Html, element, element_table, facts, markup
from airgap.review.page.render import render
from airgap.review.receipts import import_receipt
from airgap.review.report import make_report
from tests.support.bundles import DAY
from tests.support.reports import sealed_as

HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "end of everything": "</style></title></table></section></main></body></html><h1>fine</h1>",
    "an attribute": "\"' onclick=alert(1) x=",
    "entities": "&lt;b&gt;&#x202e;&amp;",
    "a comment": "<!-- --> ]]> <![CDATA[ <?php",
    "right to left": "edge\u202e1000-\u2066x\u2069\u200f",
    "control characters": "a\x00b\x07c\x1b[31md\x7f\x85\u2028e\ufeff",
    "style": "}} * {display:none} @page { @bottom-left { content: 'root 0' } } \\",
    "half a character": "\ud800",
    "long": "w" * 10_000,
}


def read(text):
    """The page as a browser reads it; whatever is not valid is an error."""
    return justhtml.JustHTML(text, strict=True, sanitize=False)


def words(page):
    return " ".join(page.to_text().split())


@pytest.fixture
def report(answered):
    return make_report(answered.sender, answered.gap.now + DAY)


def spoken_by(report, evil):
    """The report if everybody outside said `evil` wherever they can."""
    transfer = report.review.transfers[0]
    image = replace(transfer.sealed.statement.images[0], source=evil)
    statement = replace(transfer.sealed.statement, transfer={evil: evil, "ticket": evil}, images=(image,))
    medium = dict.fromkeys(("vendor", "product", "label", "serial", "mount_point"), evil)
    entry = replace(
        report.entries[0], result="refused", exit_code=12, user=evil, host=evil,
        details={"error": evil, "path": evil, "media": [medium, medium], "read_back": evil,
                 "bundle": {"stream": evil, "serial": evil, "statement_sha256": transfer.sealed.statement_sha256}},
    )  # fmt: skip
    other = replace(entry, details=entry.details | {"bundle": {"stream": evil, "serial": 1}})
    answers = tuple(
        replace(
            answer, receipt=replace(answer.receipt, operator=evil, target=evil, site=evil, target_engine=evil)
        )
        for answer in transfer.receipts
    )
    changed = replace(transfer, sealed=replace(transfer.sealed, statement=statement), receipts=answers)
    return replace(
        report, site=evil, entries=(entry, other),
        review=replace(report.review, transfers=(changed,), alarms=(evil,), loads=answers),
    )  # fmt: skip


# -- what it shows


def test_the_summary(officers):
    page = read(render(officers))
    tiles = {
        tile.query_one("dt").to_text(): tile.query_one("dd").to_text() for tile in page.query(".tiles > div")
    }
    assert tiles == {
        "Sealed": "5", "Confirmed": "1", "Waiting": "2", "Superseded": "1", "Overdue": "1", "Recalled": "0", "Loaded": "0",
        "Refused": "1", "Alarms": "1",
    }  # fmt: skip
    assert [tile.query_one("dt").to_text() for tile in page.query(".tiles > .bad")] == [
        "Overdue",
        "Refused",
        "Alarms",
    ]


def test_a_card_says_all_about_its_bundle(officers):
    page = read(render(officers))
    card = words(page.query("article")[3])
    transfer = officers.review.transfers[3]
    image = transfer.sealed.statement.images[2]
    for text in (
        "waiting", "4 of 5 answered; not complete: plant-4; missing: plant-5",
        "24 Nov 2026, 09:14 UTC by alice on build-1.example.com", f"{format_size(transfer.sealed.statement.total_bytes)} in 23 files", "trust root 1",
        transfer.sealed.statement_sha256, "alice, key ", "(ecdsa-p256)",
        "approver Dr. Anne Weiß, OT security", "ticket CHG-20417",
        str(image.name), str(image.digest), "linux/arm, linux/amd64, linux/arm64", image.source,
        "TRANSFER-A 4C530001230817 SanDisk Ultra Fit, 62.0 GB /media/a ok",
        "plant-1 confirmed: all images are there 26 Nov 2026, 09:14 UTC operator-1", "plant-4 failed, not complete",
        "plant-5 no answer",
    ):  # fmt: skip
        assert text in card, text
    assert "partial" not in words(page)


def test_a_superseded_bundle_names_the_later_one(officers):
    assert "plant-3 superseded: it confirmed line-control-0043" in words(read(render(officers)))


def test_alarms_and_refusals(officers):
    page = read(render(officers))
    [alarm] = page.query(".alarms li")
    assert (
        "verify line-control-0043 refused (line 71 of the ledger, by dave): wrong digest" in alarm.to_text()
    )
    rows = [words(row) for row in page.query("#refused tbody tr")]
    assert [row.split()[0] for row in rows] == ["71", "73"]


def test_what_is_signed(officers):
    section = words(read(render(officers)).query_one("#signatures"))
    for text in (
        "5 sealed bundles and 0 loads",
        officers.ledger.root,
        "Released I released",
        "Carried I carried",
        "Received I received",
    ):
        assert text in section, text


def test_every_sheet_names_the_root_and_its_number(officers):
    style = read(render(officers)).query_one("style").to_text()
    assert f"root {officers.ledger.root}" in style
    assert 'content: "page " counter(page) " of " counter(pages)' in style
    assert "size: A4 landscape" in style


def test_the_receiving_side(answered):
    page = read(render(make_report(answered.gap.site, answered.gap.now)))
    card = words(page.query_one("article"))
    for text in ("edge-0001", "loaded: ok", "linux/arm, linux/amd64, linux/arm64", "signed by alice"):
        assert text.casefold() in card.casefold(), text
    assert page.query("#sealed") == []


def test_answers_arrive(answered):
    late = words(read(render(make_report(answered.sender, answered.gap.now + 99 * DAY))))
    assert "overdue 0 of 1 answered; missing: plant-7" in late
    import_receipt(answered.sender, answered.receipt, answered.receipt.read_bytes(), answered.gap.now + DAY)
    page = words(read(render(make_report(answered.sender, answered.gap.now + 99 * DAY))))
    assert "confirmed 1 of 1 answered" in page


# -- what it is


def test_it_needs_nothing_else(officers):
    text = render(officers)
    page = read(text)
    elements = page.query("*")
    assert {found.name for found in elements}.isdisjoint(
        {"script", "link", "img", "a", "iframe", "object", "embed", "form", "base", "svg"}
    )
    attributes = {name for found in elements for name in found.attrs}
    assert attributes <= {
        "lang", "charset", "name", "content", "http-equiv", "class", "id", "scope", "datetime", "data-head",
        "aria-labelledby",
    }  # fmt: skip
    assert "url(" not in text
    assert "@import" not in text


def test_its_policy_allows_its_own_style_and_nothing_else(officers):
    page = read(render(officers))
    [policy] = [meta for meta in page.query("meta") if meta.attrs.get("http-equiv")]
    style = page.query_one("style").to_html(pretty=False).removeprefix("<style>").removesuffix("</style>")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.attrs["content"] == f"default-src 'none'; style-src 'sha256-{digest}'"


def test_its_structure(officers):
    page = read(render(officers))
    assert page.query_one("html").attrs["lang"] == "en"
    levels = [int(found.name[1]) for found in page.query("h1, h2, h3, h4")]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for found in page.query("table"):
        assert found.query("caption")
        heads = found.query("thead th")
        assert all(head.attrs["scope"] == "col" for head in heads)
        for row in found.query("tbody tr"):
            assert [row.query("th")[0].attrs["scope"], len(row.query("td"))] == ["row", len(heads) - 1]
    names = [found.attrs["id"] for found in page.query("[id]")]
    assert len(set(names)) == len(names)
    assert {found.attrs["aria-labelledby"] for found in page.query("section")} <= set(names)


# -- what others say


@pytest.mark.parametrize("evil", HOSTILE.values(), ids=HOSTILE)
def test_what_others_say_is_text(answered, report, evil):
    import_receipt(answered.sender, answered.receipt, answered.receipt.read_bytes(), answered.gap.now + DAY)
    report = make_report(answered.sender, report.time)
    harmless, page = read(render(spoken_by(report, "x"))), read(render(spoken_by(report, evil)))
    shape, shown = ([found.name for found in read_.query("*")] for read_ in (harmless, page))
    assert shown == shape
    text = render(spoken_by(report, evil))
    assert text.replace("\n", "").isprintable()
    text.encode()
    styles = [found.query_one("style").to_text() for found in (harmless, page)]
    assert styles[0] == styles[1]


def test_a_long_text_is_cut_and_the_rest_counted():
    assert markup("w" * 12_000).endswith("w… and 2,000 more characters")
    assert markup("w" * 10_000) == "w" * 10_000


def test_a_login_is_masked():
    assert "hunter2" not in markup("https://bob:hunter2@registry.test/x")


def test_five_thousand_bundles(officers):
    """All are there, each with its card; the work grows with their number."""
    first = officers.review.transfers[0]
    short = replace(first, sealed=replace(first.sealed, envelope=None), receipts=(), recipients=())
    bundles = tuple(
        replace(short, sealed=sealed_as(short.sealed, "edge", serial, images=(), destinations=()))
        for serial in range(1, 5_001)
    )
    text = render(replace(officers, review=replace(officers.review, transfers=bundles)))
    titles = re.findall(r"<article><h3>(edge-[0-9]{4}) ", text)
    assert titles == [bundle.sealed.statement.title for bundle in bundles]


# -- markup


def test_text_is_escaped_and_markup_is_not():
    assert markup("<b>", Html("<i>"), 7) == "&lt;b&gt;<i>7"
    assert element("p", Html("<i>") + "x") == "<p>&lt;i&gt;x</p>"
    assert element("td", "x", data_head='"<', class_="a") == '<td data-head="&quot;&lt;" class="a">x</td>'


def test_what_is_empty():
    assert facts((("a", ""), ("b", 0))) == '<dl class="facts"><div><dt>b</dt><dd>0</dd></div></dl>'
    assert facts((("a", ""),)) == ""
    assert element_table("Media", ("a", "b"), []) == '<p class="none">Media: none.</p>'


def test_a_bundle_nobody_knows_the_signer_of(officers):
    page = words(read(render(replace(officers, roots={}))))
    assert "alice, key" not in page
