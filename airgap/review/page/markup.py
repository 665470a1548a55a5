"""Builds HTML. Everything that is not `Html` is text of any origin, and is escaped."""

import html
from collections.abc import Iterable, Sequence
from datetime import datetime

from airgap.errors import printable
from airgap.limits import MAX_PAGE_TEXT_CHARACTERS
from airgap.times import describe_time, format_time

BLANK = "\u2013"
"""A cell without a value."""


class Html(str):
    """Markup that is complete and safe. Adding to it gives a plain `str`, which is escaped as text."""

    __slots__ = ()


def markup(*content: object) -> Html:
    """Return the parts one after the other, with text escaped. Control and bidirectional characters become
    visible escapes, logins are masked, and what is left out of a very long text is counted.
    """
    return Html("".join([part if isinstance(part, Html) else _escape(str(part)) for part in content]))


def _escape(text: str) -> str:
    more = len(text) - MAX_PAGE_TEXT_CHARACTERS
    if more > 0:
        text = f"{text[:MAX_PAGE_TEXT_CHARACTERS]}… and {more:,} more characters"
    return html.escape(printable(text))


def element(name: str, *content: object, **attributes: str) -> Html:
    """Return an element with its end tag. A trailing `_` of an attribute's name is dropped, and other `_`
    become `-`.
    """
    pairs = [f' {key.rstrip("_").replace("_", "-")}="{_escape(value)}"' for key, value in attributes.items()]
    return Html(f"<{name}{''.join(pairs)}>{markup(*content)}</{name}>")


def moment(when: datetime | None) -> Html:
    """Return a time for people and for programs."""
    return element("time", describe_time(when), datetime=format_time(when)) if when else Html()


def code(value: object) -> Html:
    """Return a digest, a path or another text that is compared character by character."""
    return element("code", value) if value else Html()


def stacked(values: Iterable[object]) -> Html:
    """Return values below each other."""
    return markup(*(element("div", value) for value in values))


def facts(pairs: Iterable[tuple[str, object]], kind: str = "facts") -> Html:
    """Return names with their values; those with an empty value are left out."""
    groups = [
        element("div", element("dt", name), element("dd", value)) for name, value in pairs if value != ""
    ]
    return element("dl", *groups, class_=kind) if groups else Html()


def element_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Html:
    """Return a table whose first column names the row; its head is repeated on each printed page. Without
    rows, say that there are none.
    """
    if not rows:
        return element("p", f"{caption}: none.", class_="none")
    head = element("tr", *(element("th", name, scope="col") for name in heads))
    return element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", *(_row(heads, row) for row in rows)),
    )


def _row(heads: Sequence[str], row: Sequence[object]) -> Html:
    first, *others = row
    cells = (element("td", cell, data_head=head) for head, cell in zip(heads[1:], others, strict=True))
    return element("tr", element("th", first, scope="row"), *cells)


def section(identifier: str, title: str, *content: object) -> Html:
    """Return a part of the page under its heading."""
    heading = element("h2", title, id=f"{identifier}-title")
    body = element("section", heading, *content, id=identifier, aria_labelledby=f"{identifier}-title")
    return markup(body, Html("\n"))
