"""How to talk to a registry, as far as a user can choose it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airgap.endpoints.logins import CredentialStore


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """Times are in seconds. The same options may serve several registries."""

    plain_http: bool | None = None
    """HTTP without TLS: True and False decide; None allows it for loopback addresses only, and
    uses it there unless there is a `ca_file`."""
    ca_file: Path | None = None
    """PEM certificates of a private CA, trusted besides the system's own."""
    credentials: CredentialStore | None = None
    """Asked only when a registry demands a login; None is always anonymous."""
    connect_timeout: float = 10
    read_timeout: float = 60
    """The longest silence in the middle of an answer."""
    retries: int = 4
    """Further tries after a failure that may pass."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    """For the age of tokens."""
    prefix: str = ""
    """Put before each repository: `mirror/team` makes `acme/api` to `mirror/team/acme/api`."""
