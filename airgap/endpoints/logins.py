"""Logins for registries, and the stores that keep them."""

from abc import ABC, abstractmethod
from dataclasses import field
from typing import Protocol

from airgap.errors import EndpointError
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and password, or the identity token that a registry once gave for them (OAuth 2), or a
    bearer token that the registry itself accepts.

    Secrets are not in `repr()`.
    """

    user: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    origin: str = field(default="", compare=False)
    """The file or program that it came from, for messages."""


class HelperError(EndpointError):
    """The program or file that keeps a login cannot be used; public images can still be fetched."""


class CredentialStore(Protocol):
    """Keeps the logins of registries."""

    def get(self, host: str) -> Credentials | None:
        """Return the login for `host` (`docker.io`, `registry.example:5000`), or None if there is none.

        Raises `EndpointError` if the store itself is broken, and `HelperError`.
        """


class NamespacedStore(ABC):
    """A store that may have several logins for one registry."""

    @abstractmethod
    def narrowest_name(self, host: str, repository: str) -> str:
        """Return the name to `get` for a repository: the narrowest name that has its own login
        (`quay.io/org`), or `host`. Raises what `get` raises.
        """
