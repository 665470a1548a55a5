"""Checks the reason that a person gives for a decision."""

from airgap.errors import UsageError
from airgap.limits import MAX_REASON_CHARACTERS


def checked_reason(text: str) -> str:
    """Return a reason without spaces around it.

    Raises:
        UsageError: It is blank or too long, or has control characters.
    """
    from airgap.trust.recall import is_reason

    reason = text.strip()
    if not is_reason(reason):
        want = f"1 to {MAX_REASON_CHARACTERS} printable characters"
        raise UsageError("not a reason", subject="--reason", want=want, got=repr(text[:80]))
    return reason
