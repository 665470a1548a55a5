"""Shows the identities whose keyless signatures the images of a bundle have."""

from typing import TYPE_CHECKING, Any

from airgap.cli import console

if TYPE_CHECKING:
    from airgap.bundle.statement import Statement


def identities_value(statement: "Statement") -> list[dict[str, Any]]:
    """Return the identities as JSON."""
    from airgap.carry.identities import identities_of

    return [
        {
            "reference": str(item.image),
            "issuer": item.identity.issuer,
            "subject": item.identity.subject,
            "checked": item.checked,
        }
        for item in identities_of(statement)
    ]


def identity_lines(statement: "Statement") -> list[str]:
    """Return a line for each identity, and warn on stderr about signatures that were not checked here."""
    from airgap.carry.identities import identities_of
    from airgap.trust.keyless import INSTALL_HINT

    found = identities_of(statement)
    unchecked = [item for item in found if not item.checked]
    if unchecked:
        console.say(
            f"warning: keyless signatures were not checked here, only on the sending side: {len(unchecked)}\n"
            f"hint: {INSTALL_HINT}\n"
        )
    return [
        f"  {item.image}: signed by {item.identity}" + ("" if item.checked else ", not checked here")
        for item in found
    ]
