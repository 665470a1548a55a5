"""The options of the connection to a registry that a user can choose."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from pathlib import Path

from airgap.endpoints.logins import CredentialStore
from airgap.endpoints.registry.proxies import Proxies
from airgap.limits import FAST_BYTES_PER_SECOND, MIN_ANSWER_BYTES_PER_SECOND, PIECE_BYTES
from airgap.values import dataclass

TRUSTED_HOSTS = "AIRGAP_TRUSTED_HOSTS"
"""The environment variable of `trusted_hosts`: `REGISTRY=HOST[:PORT]`, several separated by commas."""
DOCKER_CERTS = Path("/etc/docker/certs.d")
CONTAINERS_CERTS = (Path("~/.config/containers/certs.d"), Path("/etc/containers/certs.d"))
"""The folders of podman and skopeo, in order (containers-certs.d(5)); Docker's comes before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryOptions:
    """The options. Times are in seconds, sizes in bytes. Several registries may share the same options."""

    plain_http: bool | None = None
    """HTTP without TLS: True and False decide; None allows it for loopback addresses only, and
    uses it there unless there is a `ca_file` or a `client_cert`."""
    plain_hint: str | None = None
    """The hint if TLS fails because the registry speaks plain HTTP; None for the general one."""
    ca_file: Path | None = None
    """PEM certificates of a private CA, trusted besides the system's own."""
    more_ca_files: tuple[Path, ...] = ()
    """Further files of such certificates."""
    client_cert: Path | None = None
    """PEM certificate to show to the registry itself, and to no other host."""
    client_key: Path | None = None
    """Its key, PEM and not encrypted; None if it is in the file of `client_cert`."""
    certs_folder: Path = DOCKER_CERTS
    """Docker's own layout: `HOST[:PORT]/*.crt`, `client.cert` and `client.key` are used for those of the
    three options above that are None."""
    credentials: CredentialStore | None = None
    """Asked only when a registry demands a login; None is always anonymous."""
    mirrors: tuple[str, ...] = ()
    """Asked in this order before the registry itself, for pulls: `[https://]HOST[:PORT][/PREFIX]`, or with
    `http://`. They are trusted to resolve tags, as Docker trusts them."""
    proxies: Proxies = field(default_factory=lambda: Proxies.of(os.environ))
    trusted_hosts: tuple[str, ...] = ()
    """`HOST[:PORT]` of storage and token services that belong to the registry, wherever they are: it may
    point to them, and they may be given its login."""
    connections: int = 8
    """Connections that are kept open, for each host: as many as there are threads. Half as many requests for
    attachments are sent at the same time."""
    piece_connections: int = 6
    """Connections for the pieces of large blobs, for all such blobs together; fewer than 2 means none."""
    piece_size: int = PIECE_BYTES
    """Bytes of a piece; a blob of at least four is large."""
    fast_rate: float = FAST_BYTES_PER_SECOND
    """A connection brings a large blob alone as long as the wait for its bytes is shorter than at this many
    bytes a second; infinity means never."""
    connect_timeout: float = 10
    read_timeout: float = 60
    """The longest silence in the middle of an answer."""
    min_rate: float = MIN_ANSWER_BYTES_PER_SECOND
    """Bytes a second below which an answer is abandoned: in all, the wait for it may take two read timeouts
    and the time of its bytes at this rate. A layer of 5 GB may take twelve days."""
    retries: int = 4
    """Further tries after a temporary failure, without progress in between. Twice as many after 429 (too many
    requests) without a Retry-After header."""
    max_wait: float = 3600
    """The longest total time that a registry can make us wait with Retry-After headers. These waits are not
    counted as tries."""
    optional_silence: float = 20
    """As `read_timeout`, for requests that are not needed to carry an image."""
    notice: Callable[[str], object] = lambda _text: None
    """Called with one line when the registry asks us to wait."""
    max_skip: int = 64 << 20
    """If a download breaks and the registry cannot resume it, up to this many bytes are fetched again and
    discarded; more is a failure."""
    upload_chunk: int = 0
    """The most bytes in one request of an upload, for registries behind proxies with a limit; 0 means no
    limit."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    """For the age of tokens, waits and the durations in logs."""
    prefix: str = ""
    """Put before each repository: `mirror/team` turns `acme/api` into `mirror/team/acme/api`."""


def trusted_hosts(registry: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the trusted hosts of `registry` from the variable `TRUSTED_HOSTS`."""
    pairs = [text.strip().partition("=") for text in environment.get(TRUSTED_HOSTS, "").split(",")]
    return tuple(host for name, _, host in pairs if name == registry and host)


def with_docker_certificates(host: str, options: RegistryOptions) -> RegistryOptions:
    """Return `options` with the certificates for `host` from `certs_folder` where `options` names none, or
    from the folders of podman and skopeo if Docker's has none.
    """
    folders = [options.certs_folder / host]
    if options.certs_folder == DOCKER_CERTS:
        folders += [Path(os.path.expanduser(folder)) / host for folder in CONTAINERS_CERTS]  # noqa: PTH111
    folder = next((folder for folder in folders if os.access(folder, os.R_OK | os.X_OK)), folders[0])
    by_name = sorted(filter(_readable, folder.glob("*.crt")), key=lambda path: (path.name != "ca.crt", path))
    authorities = (options.ca_file,) if options.ca_file else tuple(by_name)
    certificate, key = options.client_cert, options.client_key
    if certificate is None:
        certificate = next(filter(_readable, sorted(folder.glob("*.cert"))), None)
        key = key or (certificate.with_suffix(".key") if certificate else None)
    return replace(
        options,
        ca_file=authorities[0] if authorities else None,
        more_ca_files=(*options.more_ca_files, *authorities[1:]),
        client_cert=certificate,
        client_key=key,
    )


def _readable(path: Path) -> bool:
    return os.access(path, os.R_OK)
