"""The page that an officer signs, judged by Chromium: accessibility, layout on screens and on paper, and no requests.

axe-core checks what it can of WCAG 2.1 A and AA, contrast included, in a light and a dark theme. Chromium's own
accessibility tree must have the tables with their heads.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from airgap.audit.chain import check_ledger
from airgap.endpoints.layout import Layout
from airgap.offline.load_bundle import load_bundle
from airgap.progress import Silent
from airgap.review.page.render import render
from airgap.review.records import Kept
from airgap.review.report import Report, make_report
from airgap.site import Site
from tests.support.bundles import RECEIVER, make_gap
from tests.support.chromium import Page, start_chromium
from tests.support.parts import require_tool, run
from tests.support.reports import officer_report

pytestmark = pytest.mark.e2e

AXE = """axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}).then(found => ({
    violations: found.violations.map(rule => [rule.id, rule.nodes.map(node => node.html)]),
    passes: found.passes.map(rule => rule.id)}))"""
EVIL = (
    "</style></td></table><script>document.title='owned'</script><img src=http://127.0.0.1:9/>" + "w" * 9_000
)
NOW = datetime(2026, 11, 30, 9, 14, tzinfo=UTC)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """What officers of both sides get, and what they get if others write what they like."""
    gap = make_gap(tmp_path_factory.mktemp("gap"), options=f"destinations: [{RECEIVER}]\n")
    load_bundle(
        gap.bundle, gap.site, Layout(gap.folder / "out"), gap.now,
        jobs=1, progress=Silent(),
    )  # fmt: skip
    sender = Site(gap.folder / "online")
    kept, ledger = Kept.of(sender), check_ledger(sender.ledger_path)
    sending = officer_report(kept.sealed[0], Kept.of(gap.site).receipts[0], kept.roots, NOW, ledger)
    first = sending.review.transfers[0]
    statement = replace(
        first.sealed.statement, transfer={"ticket": EVIL, EVIL: "x"}, destinations=(EVIL, "w" * 300)
    )
    written = replace(first, sealed=replace(first.sealed, statement=statement))
    review = replace(sending.review, transfers=(written,), alarms=(EVIL,))
    hostile = replace(sending, site=EVIL, review=review)
    return {"sending": sending, "receiving": make_report(gap.site, gap.now), "hostile": hostile}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with start_chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def shown(browser: Page, reports: dict[str, Report], tmp_path: Path, request: pytest.FixtureRequest) -> Page:
    """The page of a report, in Chromium."""
    path = tmp_path / "page.html"
    path.write_text(render(reports[request.param]), encoding="utf-8")
    browser.requests.clear()
    browser.log.clear()
    browser.open(path)
    return browser


def of(*names: str) -> Any:
    return pytest.mark.parametrize("shown", names, indirect=True)


@of("sending", "receiving", "hostile")
def test_only_the_page_is_read_and_no_script_runs(shown: Page) -> None:
    assert [url for url in shown.requests if not url.endswith("/page.html")] == []
    assert shown.log == []  # the policy had nothing to refuse
    assert shown.evaluate("document.title").startswith("Transfers of ")
    assert shown.evaluate("document.scripts.length") == 0
    assert shown.evaluate("getComputedStyle(document.querySelector('.tiles')).display") == "grid"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@of("sending", "receiving")
def test_axe_finds_nothing(shown: Page, dark: bool) -> None:
    shown.look(1280, 900, dark=dark)
    background = shown.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert background == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
    shown.evaluate(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8") + "; null")
    found = shown.evaluate(AXE)
    assert found["violations"] == []
    wanted = {"color-contrast", "document-title", "html-has-lang", "heading-order", "region"}
    assert wanted <= set(found["passes"])


@of("sending")
def test_a_screen_reader_gets_tables_with_their_heads(shown: Page) -> None:
    """On a phone too, where the cells of a row are shown below each other."""
    for width in (1280, 390):
        shown.look(width, 844)
        nodes = [node for node in shown.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        roles = [node["role"]["value"] for node in nodes]
        for role, selector in (
            ("table", "table"), ("columnheader", "thead th"), ("rowheader", "tbody th"), ("cell", "td"),
        ):  # fmt: skip
            assert roles.count(role) == shown.evaluate(f"document.querySelectorAll({selector!r}).length"), (
                role
            )
        assert {"main", "banner", "contentinfo", "region", "article"} <= set(roles)
        headings = [node["name"]["value"] for node in nodes if node["role"]["value"] == "heading"]
        assert headings[:3] == ["Transfers of hq", "Summary", "Alarms"]


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
@of("sending", "hostile")
def test_nothing_is_cut_off_on_a_screen(shown: Page, width: int) -> None:
    shown.look(width, 900)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width


@of("sending", "hostile")
def test_on_paper(shown: Page, reports: dict[str, Report], tmp_path: Path) -> None:
    """A4 landscape, the ledger's root and the number on each sheet, and heads of tables that go on."""
    path = tmp_path / "page.pdf"
    path.write_bytes(shown.pdf())
    assert re.search(
        rb"Page size: +841\.\d+ x 594\.\d+ pts \(A4\)", run(require_tool("pdfinfo"), path).stdout
    )
    text = run(require_tool("pdftotext"), "-layout", path, "-").stdout.decode()
    sheets = text.removesuffix("\f").split("\f")
    assert len(sheets) > 3
    for number, sheet in enumerate(sheets, 1):
        assert f"page {number} of {len(sheets)}" in sheet
        assert f"root {reports['sending'].ledger.root}" in sheet
    assert "Each signature is for all pages of this record" in text


@of("sending")
def test_a_table_that_goes_on_has_its_head_again(shown: Page, tmp_path: Path) -> None:
    path = tmp_path / "page.pdf"
    path.write_bytes(shown.pdf())
    sheets = run(require_tool("pdftotext"), "-layout", path, "-").stdout.decode().split("\f")
    heads = r"\s*(Bundle +Sealed|Done +Time|Site +Answer|Name +Digest) "
    assert any(re.match(heads, sheet) for sheet in sheets)
