"""Tables: whole in pipes and with `--wide`, and fitted to the width of a terminal otherwise."""

import re
from collections.abc import Sequence

from airgap.errors import printable
from airgap.values import dataclass

_GAP = "  "
_MIN_COLUMN = 6
"""Characters that a column keeps when it is shortened."""
_DIGEST = re.compile(r"\b(?:sha256:|sha512:)?([0-9a-f]{12})[0-9a-f]{28,116}\b")


@dataclass(frozen=True, slots=True)
class Table:
    """A header and rows, which become lines when the width is known."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]

    def lines(self, width: int | None = None) -> list[str]:
        """Return columns aligned with spaces, so that they also read well in an email.

        Args:
            width: The most characters of a line; None for whole cells. If the cells need more, digests are
                cut to 12 hex digits, empty columns are left out, and the widest columns are shortened.
        """
        texts = [list(self.header)] + [[printable(cell) for cell in row] for row in self.rows]
        if width is not None and _needed(texts) > width:
            texts = _without_empty_columns([[_DIGEST.sub(r"\1", cell) for cell in row] for row in texts])
            limits = _column_limits(texts, width)
            texts = [
                [_shortened(cell, most) for cell, most in zip(row, limits, strict=True)] for row in texts
            ]
        widths = _widths(texts)
        return [
            _GAP.join(cell.ljust(most) for cell, most in zip(row, widths, strict=True)).rstrip()
            for row in texts
        ]


def _widths(texts: list[list[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*texts, strict=True)]


def _needed(texts: list[list[str]]) -> int:
    widths = _widths(texts)
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _without_empty_columns(texts: list[list[str]]) -> list[list[str]]:
    columns = [column for column in zip(*texts, strict=True) if len(texts) == 1 or any(column[1:])]
    return [list(row) for row in zip(*columns, strict=True)]


def _column_limits(texts: list[list[str]], width: int) -> list[int]:
    """Return the most characters of each column: the widest give way first, down to a minimum."""
    limits = _widths(texts)
    excess = _needed(texts) - width
    while excess > 0 and max(limits) > _MIN_COLUMN:
        limits[limits.index(max(limits))] -= 1
        excess -= 1
    return limits


def _shortened(text: str, most: int) -> str:
    """Return both ends of a text: the end of an image's name is its tag, the end of a path its file."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"
