"""Which hosts a registry may send us to, and which of them may be given its login. No I/O.

A registry names other hosts: blob storage, token services. From outside it could so have us ask what only we
can reach, or hand its login to somebody else. docker, containerd and skopeo follow all of them. Here a host
must be no further inside than the registry, and a login stays with those that by their name have the same
owner. What else belongs to a registry the user says (`RegistryOptions.trusted_hosts`).
"""

import ipaddress
import re
from enum import IntEnum
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII | re.IGNORECASE)

_TOKEN_SERVICES = {
    "scw.cloud": "api.scaleway.com",
    "nvcr.io": "authn.nvidia.com",
    "dhi.io": "auth.docker.io",
}
"""By the end of the registry's name: those with another domain that are known."""
_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"})
"""Below a country: `co.uk` has no owner."""
_SHARED = (
    "amazonaws.com", "appspot.com", "azurecr.io", "azurewebsites.net", "cloudapp.azure.com", "cloudfront.net",
    "duckdns.org", "fly.dev", "github.io", "gitlab.io", "herokuapp.com", "jfrog.io", "netlify.app",
    "ngrok.app", "ngrok.io", "ngrok-free.app", "nip.io", "onrender.com", "pages.dev", "run.app", "sslip.io",
    "trycloudflare.com", "ts.net", "vercel.app", "web.app", "windows.net", "workers.dev",
)  # fmt: skip
"""Domains that give names to all comers."""


class Place(IntEnum):
    """How far inside an address is."""

    OUTSIDE = 0
    PRIVATE = 1
    MACHINE = 2
    """This machine, or a link to a neighbour: cloud metadata has 169.254.169.254."""


def place_of(host: str) -> Place | None:
    """Of an address or `localhost`; None for another name. Raises `ValueError` for a number that resolvers
    take for an address, and people do not (`127.1`, `0x7f000001`).
    """
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return Place.MACHINE
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        if _NUMERIC.fullmatch(name):
            raise
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        return Place.MACHINE
    return Place.OUTSIDE if address.is_global else Place.PRIVATE


def may_reach(base: str, url: str) -> bool:
    """Whether an answer from `base` may point to `url`, as far as their names tell. Where names lead is seen
    when the connection is there: `may_connect`.
    """
    theirs = place_of(urlsplit(url).hostname or "")
    if theirs in (None, Place.OUTSIDE):
        return True
    ours = place_of(urlsplit(base).hostname or "")
    if theirs is Place.MACHINE:
        return ours is Place.MACHINE and _port(base) == _port(url)
    return ours is not Place.OUTSIDE


def may_connect(own: Place | None, address: str) -> bool:
    """Whether another host may turn out to be at `address`, when the registry itself is at `own`; None where
    that is not known, because of a proxy.
    """
    place = place_of(address)
    return place is Place.OUTSIDE or (place is Place.PRIVATE and own in (Place.PRIVATE, Place.MACHINE))


def is_trusted(url: str, trusted: tuple[str, ...]) -> bool:
    """Whether the user named the host of `url`: `HOST` with any port, or `HOST:PORT`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    written = f"[{host}]" if ":" in host else host
    return bool({host, written, f"{written}:{_port(url)}"} & {each.lower() for each in trusted})


def may_log_in(base: str, url: str) -> bool:
    """Whether the token service at `url` may be given the login of the registry at `base`: at the same host,
    or at one whose name has the same owner.
    """
    ours, theirs = urlsplit(base).hostname or "", urlsplit(url).hostname or ""
    if ours == theirs:
        return True
    if any(f".{ours}".endswith(f".{end}") and theirs == host for end, host in _TOKEN_SERVICES.items()):
        return True
    if place_of(ours) is not None or place_of(theirs) is not None:
        return False
    return _have_one_owner(ours.split("."), theirs.split("."))


def _have_one_owner(ours: list[str], theirs: list[str]) -> bool:
    shared: list[str] = []
    for own, other in zip(reversed(ours), reversed(theirs), strict=False):
        if own != other:
            break
        shared.insert(0, own)
    domain = "." + ".".join(shared)
    if len(shared) < 2 or domain.endswith(tuple(f".{each}" for each in _SHARED)):
        return False
    return len(shared) > 2 or len(shared[1]) > 2 or shared[0] not in _SECOND_LEVEL


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or _PORTS[parts.scheme]
