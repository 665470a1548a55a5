"""The page as a whole."""

import base64
import hashlib
from importlib.resources import files

from airgap import __version__
from airgap.errors import printable
from airgap.review.export import statement_of
from airgap.review.media import NOT_ENCRYPTED
from airgap.review.page.cards import MEDIA, badge, loaded_card, media_rows, sent_card
from airgap.review.page.markup import (
    BLANK,
    Html,
    code,
    element,
    element_table,
    facts,
    markup,
    moment,
    section,
    stacked,
)
from airgap.review.report import Report, by_statement, compared_with

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{hash}'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
"""
_BAD = ("overdue", "recalled", "refused", "alarms")
"""The counts that need attention if they are not 0."""


def render(report: Report) -> str:
    """Return the page as self-contained HTML. It allows nothing but its own style, whatever it contains."""
    style = _style(report)
    title = markup(f"Transfers of {report.site}")
    sha256 = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    main = element(
        "main", _summary(report), _alarms(report), _overview(report), _sent(report), _loaded(report),
        _lost_media(report), _other_media(report), _odd(report), _signatures(report),
    )  # fmt: skip
    head = _HEAD.format(hash=sha256, title=title, style=style)
    return f"{head}{_header(report)}\n{main}\n{_footer()}\n</body>\n</html>\n"


def _style(report: Report) -> str:
    """Return the style, with the ledger's root at the foot of each printed page. The root is 64 hex digits:
    no text from outside is part of the style.
    """
    root = "".join(c for c in report.ledger.root if c in "0123456789abcdef")
    foot = f"ledger: {report.ledger.size:d} lines, root {root}"
    style = files("airgap.review.page").joinpath("style.css").read_text("utf-8")
    return f'{style}@page {{ @bottom-left {{ content: "{foot}"; }} }}\n'


def _header(report: Report) -> Html:
    since = markup(", entries since ", moment(report.since)) if report.since else Html()
    return element(
        "header",
        element("p", "airgap: record of transfers", class_="kind"),
        element("h1", f"Transfers of {report.site}"),
        element("p", "As of ", moment(report.time), since, ". All times are in UTC."),
    )


def _footer() -> Html:
    return element("footer", element("p", f"Written by airgap {printable(__version__)}."))


def _summary(report: Report) -> Html:
    state = report.ledger
    tiles = [
        element(
            "div",
            element("dt", name.capitalize()),
            element("dd", count),
            class_="bad" if name in _BAD and count else "plain",
        )
        for name, count in report.counts.items()
    ]
    ledger = (
        ("Ledger", f"complete, {_number(state.size, 'line')}, {compared_with(report)}"),
        ("Root of the ledger", code(state.root)),
    )
    return section("summary", "Summary", element("dl", *tiles, class_="tiles"), facts(ledger, "facts ledger"))


def _alarms(report: Report) -> Html:
    if not report.alarms:
        return section("alarms", "Alarms", element("p", "None.", class_="none"))
    items = [element("li", line) for line in report.alarms]
    return section("alarms", "Alarms", element("ul", *items, class_="alarms"))


def _overview(report: Report) -> Html:
    rows = [
        (
            transfer.sealed.statement.title,
            moment(transfer.sealed.statement.created),
            transfer.audience,
            transfer.sealed.statement.transfer.get("ticket", BLANK),
            len(transfer.sealed.statement.images),
            badge(transfer.state),
            transfer.answers,
        )
        for transfer in report.review.transfers
    ]
    heads = ("Bundle", "Sealed", "For", "Ticket", "Images", "State", "Answers")
    table = element_table("Bundles", heads, rows)
    return section("overview", "All bundles sealed here", table) if rows else Html()


def _sent(report: Report) -> Html:
    entries = by_statement(report.entries)
    cards = [
        sent_card(transfer, entries.get(transfer.sealed.statement_sha256, ()), report)
        for transfer in report.review.transfers
    ]
    return section("sealed", "Each bundle sealed here", *cards) if cards else Html()


def _loaded(report: Report) -> Html:
    entries = by_statement(report.entries)
    cards = [
        loaded_card(load, entries.get(load.receipt.statement_sha256, ()), report)
        for load in report.review.loads
    ]
    return section("loaded", "Loaded here", *cards) if cards else Html()


def _other_media(report: Report) -> Html:
    known = {transfer.sealed.statement_sha256 for transfer in report.review.transfers}
    known |= {load.receipt.statement_sha256 for load in report.review.loads}
    others = [entry for entry in report.period if statement_of(entry) not in known]
    rows = [(entry.title or entry.event, *row) for entry in others for row in media_rows([entry])]
    table = element_table("Media", ("Bundle", *MEDIA), rows)
    return section("media", "Other media", table) if rows else Html()


def _lost_media(report: Report) -> Html:
    rows = [
        (
            lost.title, moment(lost.since), lost.reason, stacked(bundle.title for bundle in lost.bundles),
            stacked(bundle.arrival for bundle in lost.bundles),
        )
        for lost in report.lost
    ]  # fmt: skip
    table = element_table("Lost media", ("Medium", "Lost since", "Reason", "Bundles", "Confirmed by"), rows)
    return section("lost", "Lost media", element("p", NOT_ENCRYPTED), table) if rows else Html()


def _odd(report: Report) -> Html:
    rows = [
        (
            entry.seq, moment(entry.time), entry.user, entry.event, entry.result, entry.title or BLANK,
            stacked(filter(None, (entry.reason, code(entry.place)))),
        )
        for entry in report.odd
    ]  # fmt: skip
    heads = ("Line", "Time", "User", "Command", "Result", "Bundle", "Reason and place")
    table = element_table("Entries of the ledger", heads, rows)
    return section("refused", "Refused, failed, unfinished or overridden", table)


_RELEASED = (
    "I released the bundles that are listed as sealed, with these images and digests, for the sites that are "
    "named. I have read the alarms, and what was refused."
)
_CARRIED = (
    "I carried the media that are listed, with these labels and serial numbers, and handed them over as I "
    "received them."
)
_RECEIVED = (
    "I received the media that are listed. For each bundle, the SHA-256 of the statement that airgap showed "
    "at the receiving site is the one in this record."
)


def _signatures(report: Report) -> Html:
    sealed = _number(len(report.review.transfers), "sealed bundle")
    loads = _number(len(report.review.loads), "load")
    about = element(
        "p",
        f"Each signature is for all pages of this record, with {sealed} and {loads}, as of ",
        moment(report.time),
        ", root of the ledger ",
        code(report.ledger.root),
        ".",
    )
    blocks = (_block("Released", _RELEASED), _block("Carried", _CARRIED), _block("Received", _RECEIVED))
    return section("signatures", "Signatures", about, element("div", *blocks, class_="signatures"))


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _block(title: str, sentence: str) -> Html:
    names = ("Name", "Date and time", "Signature")
    blanks = (element("div", element("dt", name), element("dd")) for name in names)
    return element(
        "div", element("h3", title), element("p", sentence), element("dl", *blanks), class_="block"
    )
