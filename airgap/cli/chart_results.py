"""Output about what was found in charts; used by `lock`, `plan` and `pack`."""

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airgap.manifest import Lock
    from airgap.online.expand import Expanded

_MAX_LINES = 50


def charts_value(expanded: "Expanded") -> dict[str, Any]:
    """Return the JSON of what was found in charts beside the images that are carried."""
    return {
        "guesses": [
            {"chart": str(guess.chart), "reference": str(guess.reference), "place": guess.place}
            for found in expanded.found
            for guess in found.guesses
        ],
        "chart_problems": expanded.problems,
        "provenance": [
            {"chart": str(signed.chart), "fingerprint": signed.fingerprint} for signed in expanded.signed
        ],
    }


def chart_lines(lock: "Lock", expanded: "Expanded") -> list[str]:
    """Return lines about signatures, the number of images of each chart, guesses and problems."""
    counts = Counter(str(image.brought.chart) for image in lock.images if image.brought is not None)
    lines = [f"images of {chart}: {count}, not listed in the manifest" for chart, count in counts.items()]
    lines += map(str, expanded.signed)
    guesses = [guess for found in expanded.found for guess in found.guesses]
    lines += [f"not carried: {g.reference} ({g.place})" for g in guesses[:_MAX_LINES]]
    if len(guesses) > _MAX_LINES:
        lines.append(f"not carried: {len(guesses) - _MAX_LINES} more guesses")
    return lines + expanded.problems[:_MAX_LINES]
