"""Logins for registries: what they are, and who keeps them."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and password, or the identity token that a registry once gave for them (OAuth 2).

    Secrets are not in `repr()`.
    """

    user: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


class CredentialStore(Protocol):
    """Keeps the logins of registries."""

    def get(self, host: str) -> Credentials | None:
        """The login for `host` (`docker.io`, `registry.example:5000`), or None when there is none.

        Raises `EndpointError` when the store itself is broken.
        """
