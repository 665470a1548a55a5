"""Reports everything that is wrong in one step of a check, and not only the first."""

from collections.abc import Sequence

from airgap.errors import IntegrityError


def raise_all(wrong: Sequence[IntegrityError], what: str, *, subject: object, got: str) -> None:
    """Raise the error if there is one; if there are several, one of the first's type that has them all.

    Args:
        wrong: The errors.
        what: What several of them mean together.
        subject: Where they are.
        got: How many there are, in words.
    """
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        raise type(wrong[0]).of_several(wrong, what, subject=subject, got=got)
