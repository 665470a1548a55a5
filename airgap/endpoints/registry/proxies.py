"""The proxy for a URL: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, as Go's programs read them
(golang.org/x/net/http/httpproxy). The variables are checked only if a proxy is needed.

ALL_PROXY is not one of them: docker, skopeo and crane do not read it either.
"""

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

from airgap.endpoints.registry.reach import PORTS
from airgap.errors import UsageError
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class Proxy:
    """`url` without a login; `login` is `user:password` or empty, and not in `repr()`."""

    url: str
    login: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """Parse the value of the variable `name`; `proxy:3128` means `http://proxy:3128`."""
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            port = parts.port or PORTS.get(parts.scheme, 0)
            host = parts.hostname if parts.scheme in PORTS else None
        except ValueError:
            raise _not_usable(name, "an address that cannot be parsed") from None
        if not host:
            raise _not_usable(name, f"{parts.scheme}://…")
        login = unquote(parts.netloc.rpartition("@")[0])
        return cls(f"{parts.scheme}://{_bracketed(host)}:{port}", login)

    @property
    def with_login(self) -> str:
        """The URL including the login; a secret."""
        if not self.login:
            return self.url
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{quote(self.login, safe=':')}@{rest}"


def _not_usable(name: str, got: str) -> UsageError:
    hint = f"{name} is an environment variable; NO_PROXY lists the hosts to reach without a proxy"
    if got.startswith("socks"):
        hint = f"SOCKS proxies are not supported; {hint}"
    return UsageError(
        "not a proxy", subject=name, want="http://HOST:PORT or https://HOST:PORT", got=got, hint=hint
    )


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies for plain HTTP and HTTPS as they were written, and the hosts to reach without a proxy."""

    http: str = field(default="", repr=False)
    https: str = field(default="", repr=False)
    without: tuple[str, ...] = ()
    ignored: str = ""
    """The name of ALL_PROXY if it is set, for a hint."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables in either case; lower case takes precedence."""

        def read(name: str) -> str:
            return (environment.get(name.lower()) or environment.get(name) or "").strip()

        names = re.split(r"[,\s]+", read("NO_PROXY").lower())
        ignored = "ALL_PROXY" if read("ALL_PROXY") else ""
        return cls(read("HTTP_PROXY"), read("HTTPS_PROXY"), tuple(filter(None, names)), ignored)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The logins of the proxies, in the forms in which they are sent."""
        logins = [unquote(url.rpartition("://")[2].rpartition("@")[0]) for url in (self.http, self.https)]
        return tuple(
            form
            for login in filter(None, logins)
            for form in (login, login.partition(":")[2], base64.b64encode(login.encode()).decode())
        )

    def choose(self, url: str) -> Proxy | None:
        """Return the proxy for `url`; never one for loopback. Names are not looked up.

        Raises `UsageError` for an unsupported proxy if `url` needs it.
        """
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        proxy = self.https if secure else self.http
        if not proxy or is_loopback(parts.hostname or ""):
            return None
        if any(_covers(name, parts) for name in self.without):
            return None
        return Proxy.parse(proxy, "HTTPS_PROXY" if secure else "HTTP_PROXY")


def is_loopback(name: str) -> bool:
    """Return whether `name` is `localhost`, in 127.0.0.0/8, or ::1; other names are not looked up."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _covers(name: str, parts: SplitResult) -> bool:
    """Return whether an entry of NO_PROXY means the host: `*`, a network, an address, or a name and all below
    it; with a leading dot or `*.` only what is below it. Addresses and names may have a port.
    """
    host = parts.hostname or ""
    if name == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name.strip("[]"), strict=False)
    except ValueError:
        pass
    match = _WITH_PORT.fullmatch(name)
    wanted, port = (match[1], match[2]) if match else (name, "")
    if port and port != str(parts.port or PORTS[parts.scheme]):
        return False
    wanted = wanted.strip("[]").removeprefix("*")
    return host == wanted or host.endswith(wanted if wanted.startswith(".") else f".{wanted}")


_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:]*):([0-9]+)", re.ASCII)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
