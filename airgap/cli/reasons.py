"""The reason that a person gives for a decision, as several commands take it."""

from airgap.errors import UsageError
from airgap.limits import MAX_REASON_CHARACTERS


def checked_reason(text: str) -> str:
    """Return a reason without spaces around it.

    Raises:
        UsageError: It is blank or too long, or has control characters.
    """
    reason = text.strip()
    if not reason or len(reason) > MAX_REASON_CHARACTERS or not reason.isprintable():
        want = f"1 to {MAX_REASON_CHARACTERS} printable characters"
        raise UsageError("not a reason", subject="--reason", want=want, got=repr(text[:80]))
    return reason
