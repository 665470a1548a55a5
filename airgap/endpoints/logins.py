"""Logins for registries: what they are, and who keeps them."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from airgap.errors import EndpointError


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and password, or the identity token that a registry once gave for them (OAuth 2), or a
    bearer token that the registry itself takes.

    Secrets are not in `repr()`.
    """

    user: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    origin: str = field(default="", compare=False)
    """The file or the program that it came from, for people."""


class HelperError(EndpointError):
    """The program or the file that keeps a login cannot be used: what is public can be had all the same."""


class CredentialStore(Protocol):
    """Keeps the logins of registries."""

    def get(self, host: str) -> Credentials | None:
        """The login for `host` (`docker.io`, `registry.example:5000`), or None when there is none.

        Raises `EndpointError` when the store itself is broken, and `HelperError` as that says.
        """


@runtime_checkable
class NamespacedStore(Protocol):
    """A store that may have several logins for one registry."""

    def place(self, host: str, repository: str) -> str:
        """What to `get` for a repository: the narrowest name that has a login of its own (`quay.io/org`),
        or `host`. Raises as `get` does.
        """
