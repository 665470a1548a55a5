"""Shows the errors that one error stands for."""

from typing import Any

from airgap.errors import AirgapError, IntegrityError, PartialError
from airgap.limits import MAX_LISTED_ERRORS


def part_lines(error: AirgapError) -> list[str]:
    """Return a line for each image or host that failed, or for each wrong file."""
    if isinstance(error, PartialError):
        return [f"failed: {name}: {reason}" for name, reason in error.failures.items()]
    if not isinstance(error, IntegrityError):
        return []
    lines = [f"wrong: {part}" for part in error.parts[:MAX_LISTED_ERRORS]]
    more = len(error.parts) - MAX_LISTED_ERRORS
    return [*lines, f"wrong: {more:,} more"] if more > 0 else lines


def wrong_value(error: IntegrityError) -> dict[str, Any]:
    """Return the JSON keys about wrong files."""
    parts = error.parts or (error,)
    return {"wrong": [str(part) for part in parts[:MAX_LISTED_ERRORS]], "wrong_count": len(parts)}
