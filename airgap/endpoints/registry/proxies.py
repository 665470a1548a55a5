"""Which proxy a URL is asked through: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, as Go's programs read them."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from airgap.errors import UsageError

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """`url` without a login; `login` is `user:password` or empty, and not in `repr()`."""

    url: str
    login: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """From the value of the variable `name`; `proxy:3128` is `http://proxy:3128`."""
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            port = parts.port or _PORTS.get(parts.scheme, 0)
            host = parts.hostname if parts.scheme in _PORTS else None
        except ValueError:
            host = None
        if not host:
            raise UsageError("not a proxy", subject=name, want="http://HOST:PORT or https://HOST:PORT")
        login = unquote(parts.netloc.rpartition("@")[0])
        return cls(f"{parts.scheme}://{_bracketed(host)}:{port}", login)


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies for plain HTTP and for HTTPS, and the hosts that are asked without."""

    http: Proxy | None = None
    https: Proxy | None = None
    without: tuple[str, ...] = ()

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """From the variables in either case, lower case first. Raises `UsageError` for what is no proxy."""

        def read(name: str) -> str:
            return environment.get(name.lower()) or environment.get(name) or ""

        def proxy(name: str) -> Proxy | None:
            return Proxy.parse(read(name), name) if read(name) else None

        names = [name.strip().lower() for name in read("NO_PROXY").split(",")]
        return cls(proxy("HTTP_PROXY"), proxy("HTTPS_PROXY"), tuple(filter(None, names)))

    def choose(self, url: str) -> Proxy | None:
        """The proxy for `url`; never one for loopback. Names are not looked up."""
        parts = urlsplit(url)
        found = self.https if parts.scheme == "https" else self.http
        if found is None or is_loopback(parts.hostname or ""):
            return None
        return None if any(_covers(name, parts) for name in self.without) else found


def is_loopback(name: str) -> bool:
    """`localhost`, 127.0.0.0/8 and ::1; other names are not looked up."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _covers(name: str, parts: SplitResult) -> bool:
    """Whether an entry of NO_PROXY means the host: `*`, a network, an address, or a name and all below it."""
    host = parts.hostname or ""
    if name == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name.strip("[]"), strict=False)
    except ValueError:
        pass
    wanted, _, port = name.rpartition(":") if name.count(":") == 1 else (name, "", "")
    if port and port != str(parts.port or _PORTS[parts.scheme]):
        return False
    below = "." + wanted.removeprefix("*").removeprefix(".")
    return host == wanted or host.endswith(below)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
