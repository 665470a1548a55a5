"""The URLs that may be requested: HTTPS, and plain HTTP only on loopback or if the user allows it."""

import re
from urllib.parse import urljoin, urlsplit

from airgap.endpoints.registry.config import TRUSTED_HOSTS, RegistryOptions
from airgap.endpoints.registry.proxies import is_loopback
from airgap.endpoints.registry.reach import PORTS, is_trusted, may_reach
from airgap.errors import EndpointError
from airgap.oci.reference import DOCKER_HUB

_SERVERS = {DOCKER_HUB: "registry-1.docker.io"}
_URL_CHARACTERS = re.compile(r"[\x21-\x7e]{1,8192}", re.ASCII)


def base_url(host: str, options: RegistryOptions) -> str:
    """Return the URL, without a path, of the registry that image references call `host`.

    Does not find out by trying: a registry that should use TLS is never asked without it.
    """
    plain = options.plain_http
    if plain is None:
        name = urlsplit(f"//{host}").hostname or ""
        plain = is_loopback(name) and options.ca_file is None and options.client_cert is None
    return f"{'http' if plain else 'https'}://{_SERVERS.get(host, host)}"


def follow(base: str, location: str | None, options: RegistryOptions, subject: str) -> str:
    """Return the URL that an answer from `base` points to (Location, or a token service's realm).

    Raises `EndpointError` for a URL that is not HTTP, contains a login, is further inside than `base` (see
    `may_reach`), or gives up TLS: plain HTTP is followed only from plain HTTP, and then only to loopback or
    with `plain_http`.
    """
    unusable = EndpointError("the registry points to an unusable address", subject=subject)
    if location is None or not _URL_CHARACTERS.fullmatch(location):
        unusable.got = "no address" if location is None else repr(location[:80].partition("?")[0])
        raise unusable
    try:
        url = urljoin(base, location)
        parts = urlsplit(url)
        usable = parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0
        reachable = usable and (is_trusted(url, options.trusted_hosts) or may_reach(base, url))
    except ValueError as error:
        raise unusable from error
    if not usable or "@" in parts.netloc:
        unusable.got = f"{parts.scheme}:…"
        raise unusable
    may_be_plain = urlsplit(base).scheme == "http" and (
        options.plain_http is True or is_loopback(parts.hostname or "")
    )
    if parts.scheme == "http" and not may_be_plain:
        raise EndpointError(
            "the registry points to plain HTTP, which is refused",
            subject=subject,
            want="https",
            got=f"http://{parts.hostname}",
            hint="if a proxy terminates TLS for this registry, make it send X-Forwarded-Proto: https",
        )
    if not reachable:
        raise internal_address_error(url, subject)
    return url


def internal_address_error(url: str, subject: str) -> EndpointError:
    """Return the error for a registry that points to an address that only this machine can reach."""
    host = urlsplit(url).netloc
    return EndpointError(
        "the registry points to an internal address, which is refused",
        subject=subject,
        want="an address as public as the registry's own",
        got=host,
        hint=f"if that is the registry's storage, set {TRUSTED_HOSTS}=REGISTRY={host}",
    )


def follow_upload(own: str, base: str, location: str | None, options: RegistryOptions, subject: str) -> str:
    """Return the URL of the next step of an upload, as `follow` does. `own` is the registry's URL.

    A registry behind a proxy often does not know its own URL: it names its host with plain HTTP instead of
    HTTPS, or without the port. Then the path is requested from the origin that is already in use, to which
    the login belongs; no plain text is sent.
    """
    url = _at_origin(own, location or "")
    return follow(base, location if url is None else url, options, subject)


def _at_origin(own: str, location: str) -> str | None:
    """Return `location` at the origin of `own` if it names that host with HTTP or without its port."""
    if not _URL_CHARACTERS.fullmatch(location):
        return None
    try:
        ours, theirs = urlsplit(own), urlsplit(location)
        same = theirs.hostname == ours.hostname and "@" not in theirs.netloc
        downgrade = ours.scheme == "https" and theirs.scheme == "http"
        portless = theirs.port is None and ours.port is not None and theirs.scheme == ours.scheme
    except ValueError:
        return None
    if not (same and theirs.path.startswith("/v2/") and (downgrade or portless)):
        return None
    return theirs._replace(scheme=ours.scheme, netloc=ours.netloc).geturl()
