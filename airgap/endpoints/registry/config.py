"""How to talk to a registry, as far as a user can choose it."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from airgap.endpoints.logins import CredentialStore
from airgap.endpoints.registry.proxies import Proxies

DOCKER_CERTS = Path("/etc/docker/certs.d")


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """Times are in seconds, sizes in bytes. The same options may serve several registries."""

    plain_http: bool | None = None
    """HTTP without TLS: True and False decide; None allows it for loopback addresses only, and
    uses it there unless there is a `ca_file` or a `client_cert`."""
    plain_hint: str | None = None
    """What to do when TLS fails because the registry speaks plain HTTP, where it is known better."""
    ca_file: Path | None = None
    """PEM certificates of a private CA, trusted besides the system's own."""
    client_cert: Path | None = None
    """PEM certificate to show to the registry itself, and to no other host."""
    client_key: Path | None = None
    """Its key, PEM and not encrypted; None when it is in the file of `client_cert`."""
    certs_folder: Path = DOCKER_CERTS
    """Docker's own layout: `HOST[:PORT]/ca.crt`, `client.cert`, `client.key` stand in for the three
    options above where these are None."""
    credentials: CredentialStore | None = None
    """Asked only when a registry demands a login; None is always anonymous."""
    mirrors: tuple[str, ...] = ()
    """Asked in this order before the registry itself, for pulls: `[https://]HOST[:PORT][/PREFIX]`,
    or with `http://`. They are believed in what a tag means, as Docker believes them."""
    proxies: Proxies = field(default_factory=lambda: Proxies.of(os.environ))
    connections: int = 8
    """Connections that are kept open, for each host: as many as there are threads."""
    connect_timeout: float = 10
    read_timeout: float = 60
    """The longest silence in the middle of an answer."""
    retries: int = 4
    """Further tries after a failure that may pass, without progress in between."""
    max_skip: int = 64 << 20
    """When a download breaks and the registry cannot go on in the middle, so many bytes are fetched
    once more and thrown away; a longer way is a failure."""
    upload_chunk: int = 0
    """The most bytes in one request of an upload, for registries behind proxies with a limit; 0 is none."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    """For the age of tokens."""
    prefix: str = ""
    """Put before each repository: `mirror/team` makes `acme/api` to `mirror/team/acme/api`."""


def with_docker_certificates(host: str, options: RegistryOptions) -> RegistryOptions:
    """`options`, and for `host` the certificates of `certs_folder` where they name none."""
    folder = options.certs_folder / host
    ca_file = options.ca_file or _readable(folder / "ca.crt")
    certificate, key = options.client_cert, options.client_key
    if certificate is None and (certificate := _readable(folder / "client.cert")) is not None:
        key = key or folder / "client.key"
    return replace(options, ca_file=ca_file, client_cert=certificate, client_key=key)


def _readable(path: Path) -> Path | None:
    return path if os.access(path, os.R_OK) else None
