"""The hosts that a registry may send us to, and those that may get its login. No I/O.

A registry names other hosts: blob storage, token services. A hostile registry could make us request addresses
that only this machine can reach, or send its login to others. docker, containerd and skopeo follow all of
them. Here a host must not be further inside than the registry, and a login goes only to hosts whose names
have the same owner. The user names other hosts that belong to a registry (`RegistryOptions.trusted_hosts`).
"""

import ipaddress
import re
from enum import IntEnum
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII | re.IGNORECASE)

_TOKEN_SERVICES = {
    "scw.cloud": "api.scaleway.com",
    "nvcr.io": "authn.nvidia.com",
    "dhi.io": "auth.docker.io",
}
"""Known token services in another domain, by the end of the registry's name."""
_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"})
"""Second-level names below a country: `co.uk` has no owner."""
_SHARED = (
    "amazonaws.com", "appspot.com", "azurecr.io", "azurewebsites.net", "cloudapp.azure.com", "cloudfront.net",
    "duckdns.org", "fly.dev", "github.io", "gitlab.io", "herokuapp.com", "jfrog.io", "netlify.app",
    "ngrok.app", "ngrok.io", "ngrok-free.app", "nip.io", "onrender.com", "pages.dev", "run.app", "sslip.io",
    "trycloudflare.com", "ts.net", "vercel.app", "web.app", "windows.net", "workers.dev",
)  # fmt: skip
"""Domains that give names to anyone."""

Origin = tuple[str, str, int]


class Zone(IntEnum):
    """How private an address is."""

    OUTSIDE = 0
    PRIVATE = 1
    MACHINE = 2
    """This machine, or a link to a neighbour: cloud metadata has 169.254.169.254."""


def origin(url: str) -> Origin:
    """Return scheme, host and port, to which a login belongs."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme]


def zone_of(host: str) -> Zone | None:
    """Return the zone of an address or `localhost`; None for another name. Raises `ValueError` for a number
    that resolvers read as an address, and people do not (`127.1`, `0x7f000001`).
    """
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return Zone.MACHINE
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        if _NUMERIC.fullmatch(name):
            raise
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        return Zone.MACHINE
    return Zone.OUTSIDE if address.is_global else Zone.PRIVATE


def may_reach(base: str, url: str) -> bool:
    """Return whether an answer from `base` may point to `url`, as far as their names show. The address behind
    a name is checked after connecting: `may_connect`.
    """
    theirs = zone_of(urlsplit(url).hostname or "")
    if theirs in (None, Zone.OUTSIDE):
        return True
    ours = zone_of(urlsplit(base).hostname or "")
    if theirs is Zone.MACHINE:
        return ours is Zone.MACHINE and origin(base)[2] == origin(url)[2]
    return ours is not Zone.OUTSIDE


def may_connect(own: Zone | None, address: str) -> bool:
    """Return whether another host may turn out to be at `address`, if the registry itself is at `own`; None
    if that is not known, because of a proxy.
    """
    zone = zone_of(address)
    return zone is Zone.OUTSIDE or (zone is Zone.PRIVATE and own in (Zone.PRIVATE, Zone.MACHINE))


def is_trusted(url: str, trusted: tuple[str, ...]) -> bool:
    """Return whether the user named the host of `url`: `HOST` with any port, or `HOST:PORT`."""
    _, host, port = origin(url)
    written = f"[{host}]" if ":" in host else host
    return bool({host, written, f"{written}:{port}"} & {name.lower() for name in trusted})


def may_log_in(base: str, url: str) -> bool:
    """Return whether the token service at `url` may be given the login of the registry at `base`: at the same
    host, or at one whose name has the same owner.
    """
    ours, theirs = urlsplit(base).hostname or "", urlsplit(url).hostname or ""
    if ours == theirs:
        return True
    if any(f".{ours}".endswith(f".{end}") and theirs == host for end, host in _TOKEN_SERVICES.items()):
        return True
    if zone_of(ours) is not None or zone_of(theirs) is not None:
        return False
    return _have_one_owner(ours.split("."), theirs.split("."))


def _have_one_owner(ours: list[str], theirs: list[str]) -> bool:
    shared: list[str] = []
    for own, other in zip(reversed(ours), reversed(theirs), strict=False):
        if own != other:
            break
        shared.insert(0, own)
    domain = "." + ".".join(shared)
    if len(shared) < 2 or domain.endswith(tuple(f".{name}" for name in _SHARED)):
        return False
    return len(shared) > 2 or len(shared[1]) > 2 or shared[0] not in _SECOND_LEVEL
